"""What git has of a suite's results: whether these are it, and a copy of it."""

import io
import shutil
import tarfile
from pathlib import Path

from psap.errors import PsapError
from psap.workflow.tools import git


def is_unchanged(folder: Path) -> bool:
    """Whether git has all that is in `folder`, and nothing else there; False without git."""
    return _git(Path(), "status", "--porcelain", "--", str(folder)) == b""


def write_committed(folder: Path, copy: Path) -> bool:
    """Write `folder` as the last commit has it to `copy`, in place of what is there; False where none has it.

    All files get one time: Snakemake compares times, and none of these was made from another one here.
    """
    found = _git(Path(), "rev-parse", "--show-toplevel", f"HEAD:./{folder.as_posix()}")
    if found is None:
        return False
    top, tree = found.decode().splitlines()
    packed = _git(Path(top), "archive", tree)
    if packed is None:
        return False
    shutil.rmtree(copy, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(copy, filter="data")
    return True


def _git(where: Path, verb: str, *options: str) -> bytes | None:
    """Output of a git command in the folder `where`; None outside a checkout, without git, or where it fails."""
    try:
        return git(where, verb, *options)
    except PsapError:
        return None
