"""What is not needed any more: runs that no suite has, and what complete runs would have resumed from."""

import shutil
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from psap.plan import load_grids
from psap.suite import CHECKPOINTS, RESULTS, STATE
from psap.tracking import journal


def tidy(state: Path) -> None:
    """Delete the checkpoints of complete runs below `state`; to be called when a workflow has ended well.

    Not before: Snakemake deletes the files of a run whose end it did not live to note, and the job that is then started
    again writes them anew from the last checkpoint.
    """
    for path in state.rglob("journal.jsonl"):
        with suppress(Timeout), FileLock(path.with_name("lock"), timeout=0):
            record = journal.read(path)
            if record and record.end and record.end.status == "FINISHED":
                for checkpoint in path.parent.glob("epoch-*.pt"):
                    checkpoint.unlink()


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
