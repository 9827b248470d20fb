from pathlib import Path

import pytest
from project import Project


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Project:
    return Project(root, tmp_path)
