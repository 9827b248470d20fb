"""Runs of an older grid: what lies below results/, checkpoints/ and state/ and belongs to no suite any more."""

import shutil
from pathlib import Path

from psap.plan import load_grids
from psap.suite import CHECKPOINTS, RESULTS, STATE


def leftovers(params: Path) -> list[Path]:
    """The folders of runs that no suite in `params` has, sorted. Raises PsapError when a suite is wrong."""
    known = {path for grid in load_grids(params).values() for path in grid.runs}
    found = (folder for top in (RESULTS, CHECKPOINTS, STATE) for folder in top.rglob("seed*") if folder.is_dir())
    return sorted(folder for folder in found if folder.relative_to(folder.parts[0]).as_posix() not in known)


def remove(folders: list[Path]) -> None:
    """Delete `folders`, and every folder above them that is empty then."""
    for folder in folders:
        shutil.rmtree(folder)
        for parent in list(folder.parents)[:-2]:  # not the top folder itself
            if not any(parent.iterdir()):
                parent.rmdir()
