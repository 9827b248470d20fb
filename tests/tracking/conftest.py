"""Real MLflow stores: a migrated sqlite file, which takes seconds to make, and copies of it."""

import shutil
from pathlib import Path

import pytest

from psap.tracking.store import Store


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("migrated") / "mlflow.db"
    Store(f"sqlite:///{database}")
    return database


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Path:
    """An empty store of this test's own; its address is `sqlite:///{database}`."""
    return Path(shutil.copy(migrated, tmp_path))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where this test's journal goes; its folder is there."""
    path = tmp_path / "state" / "run" / "journal.jsonl"
    path.parent.mkdir(parents=True)
    return path
