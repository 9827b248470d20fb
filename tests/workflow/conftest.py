import os
from pathlib import Path

import pytest
from filelock import FileLock
from fixture_types import Flip
from project_helpers import Project


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Project:
    return Project(root, tmp_path)


@pytest.fixture(scope="session")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose suite ran to its end, one for all workers of pytest-xdist; tests work on copies of it."""
    base = tmp_path_factory.getbasetemp()
    ready = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "trained"
    with FileLock(f"{ready}.lock"):
        if not ready.exists():
            project = Project(root, tmp_path_factory.mktemp("training"))
            done = project.psap("reproduce", "tiny")
            assert done.returncode == 0, done.stdout + done.stderr
            project.folder.rename(ready)
    return Project(root, ready)


@pytest.fixture
def finished(trained: Project, tmp_path: Path) -> Project:
    """A copy of it that is the test's own."""
    return trained.copied(tmp_path / "finished")


@pytest.fixture
def flip() -> Flip:
    """Flip the lowest bit of the byte after `mark` in a file, as a bad disk does."""

    def change(file: Path, mark: bytes = b"") -> None:
        data = bytearray(file.read_bytes())
        place = data.rindex(mark) + len(mark) if mark else len(data) - 5
        data[place] ^= 1
        file.write_bytes(bytes(data))

    return change
