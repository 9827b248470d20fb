"""What is not needed any more: runs that no suite has, and what complete runs would have resumed from."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from psap.errors import PsapError
from psap.models import architecture
from psap.suites.beside_rows import CORRECT, SENSITIVITY
from psap.suites.grid import load_grids
from psap.suites.paths import CHECKPOINTS, RESULTS, STATE
from psap.tracking import journal
from psap.utils.mappings import JsonObject
from psap.utils.validation import read_json


def delete_finished_checkpoints(state: Path) -> None:
    """Delete the checkpoints of runs below `state` that go on no more; to be called when a workflow has ended well.

    Not before: Snakemake deletes the files of a run whose end it did not live to note, and the job that is then started
    again writes them once more from the last checkpoint.
    """
    for path in state.rglob("journal.jsonl"):
        with suppress(Timeout), FileLock(path.with_name("lock"), timeout=0):
            record = journal.read(path)
            if record and record.end and record.end.for_good:
                for checkpoint in path.parent.glob("epoch-*.pt"):
                    checkpoint.unlink()


def leftovers(params: Path) -> dict[Path, list[Path]]:
    """The folders of runs that no suite in `params` has, sorted, each with the files in it that a run wrote.

    A folder is a run's only where a file in it says so: a name alone, or files of somebody else, make none. Raises
    PsapError when a suite is wrong.
    """
    known = {path for grid in load_grids(params).values() for path in grid.runs}
    found = {}
    for top, own in ((RESULTS, _results), (CHECKPOINTS, _networks), (STATE, _state)):
        for folder in sorted(folder for folder in top.rglob("seed*") if folder.is_dir() and not folder.is_symlink()):
            path = folder.relative_to(top).as_posix()
            if path not in known and (files := sorted(own(folder, path))):
                found[folder] = files
    return dict(sorted(found.items()))


def summary(found: dict[Path, list[Path]], params: Path) -> str:
    """What `found` amounts to, in a line, and of which suites it is all because their file is not in `params`."""
    runs = {folder.relative_to(folder.parts[0]).as_posix() for folder in found}
    size = sum(file.stat().st_size for files in found.values() for file in files) / 1e6
    gone = sorted({suite for run in runs if not (params / f"{(suite := run.split('/')[0])}.yaml").exists()})
    whole = f"; among them all of {', '.join(gone)}, of which {params}/ has no file" if gone else ""
    return f"{len(found)} folders of {len(runs)} runs that no suite has, {size:.1f} MB{whole}"


def remove(found: dict[Path, list[Path]]) -> None:
    """Delete the files of `found`, and every folder that is empty then, but the top folder."""
    for folder, files in found.items():
        for file in files:
            file.unlink(missing_ok=True)
        for parent in [*{file.parent for file in files if file.parent != folder}, folder, *list(folder.parents)[:-2]]:
            with suppress(OSError):  # not empty
                parent.rmdir()


def _results(folder: Path, path: str) -> Iterator[Path]:
    with suppress(OSError, PsapError):
        if read_json(folder / "run.json", JsonObject, "").get("run") == path:
            yield from _there(folder, "run.json", "epochs.csv", "history.csv", CORRECT, SENSITIVITY)


def _networks(folder: Path, path: str) -> Iterator[Path]:
    with suppress(PsapError):
        architecture.read(folder)
        yield from _there(folder, architecture.WEIGHTS, architecture.DESCRIPTION)


def _state(folder: Path, path: str) -> Iterator[Path]:
    for record in folder.glob("*/journal.jsonl"):
        head = journal.read(record)
        if head and head.head.run == path:
            yield from _there(record.parent, "epoch-*.pt", "journal*.jsonl", "track*", "lock")
            yield from _there(folder, "lock")


def _there(folder: Path, *names: str) -> Iterator[Path]:
    return (file for name in names for file in folder.glob(name) if file.is_file())
