"""The folder that a request writes: marked as `psap prune`'s own before anything else, or not touched at all."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from psap.data.sources import find_folder
from psap.errors import PsapError
from psap.standalone.request import PruneRequest
from psap.utils.files import os_errors_as_psap_error, write_text
from psap.utils.validation import read_json

MARKER, RESULT, STATE, DENSE = ".psap-prune", "result.json", "state", "dense"
_TEXT = "psap prune made this folder: it replaces the files that it wrote here, and removes those in state/.\n"
# What it writes to state/: the prepared data, a download, the network to start from, checkpoints by their key.
_TEMPORARY = ("lock", "data.*", ".data.*", "raw", "start", "[0-9a-f]" * 16)
_OTHER = "name a folder that is new or empty"


def is_finished(request: PruneRequest) -> bool:
    """Whether the request was carried out before; nothing is written.

    Raises PsapError where its folder cannot be made, or holds anything that `psap prune` did not write.
    """
    out = Path(request.out)
    _check_name(request)
    with os_errors_as_psap_error(out):
        marked = _is_own(out)
        if not marked and os.path.lexists(out) and (out.is_symlink() or not out.is_dir() or any(out.iterdir())):
            raise PsapError(f"{out}: exists already, and was not made by psap prune; {_OTHER}")
        above = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
        if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
            raise PsapError(f"{out}: cannot be made, since {above} is not a folder that can be written to; {_OTHER}")
        return marked and _holds(out, request)


def claim(out: Path) -> None:
    """Mark `out` as a folder of `psap prune`, before anything else is written to it."""
    if not _is_own(out):
        write_text(out / MARKER, _TEXT)


def clear(out: Path) -> None:
    """Delete what `psap prune` wrote to the state of `out`. A file of the user's own stays, and state/ with it."""
    for pattern in _TEMPORARY:
        for found in (out / STATE).glob(pattern):
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)
            else:
                found.unlink()
    with suppress(OSError):
        (out / STATE).rmdir()


def _check_name(request: PruneRequest) -> None:
    if not request.out.strip() or "\0" in request.out:
        raise PsapError(f"out: {request.out!r} is no name of a folder; {_OTHER}")
    place = Path(os.path.realpath(request.out))  # Path.resolve raises on links in a loop
    if Path.cwd().is_relative_to(place):
        raise PsapError(f"out: {request.out} is the folder in which psap runs, or one above it; {_OTHER}")
    images = find_folder("folder", request.data) if request.photographs() else None
    if images and place != (root := Path(os.path.realpath(images))) and place.is_relative_to(root):
        raise PsapError(f"out: {request.out} lies in the folder of the images, {images}; name a folder outside of it")


def _is_own(out: Path) -> bool:
    """Whether `out` has the marker. Raises PsapError where a part of it is a link, or no folder."""
    if not (out / MARKER).is_file():
        return False
    for part in (out / STATE, out / DENSE):
        if part.is_symlink() or (part.exists() and not part.is_dir()):
            raise PsapError(f"{part}: not a folder that psap prune made; remove it, or name another `out`")
    return True


class _Result(BaseModel, extra="allow"):
    """What must be in a result.json to resume from it; the rest is for people."""

    key: str
    request: dict[str, Any]


def result(folder: Path) -> dict[str, Any]:
    """What the result in `folder` tells; empty where there is none. Raises PsapError for one that cannot be read."""
    with suppress(FileNotFoundError):
        again = "delete it and run the same command again"
        return read_json(folder / RESULT, _Result, again).model_dump()
    return {}


def _holds(out: Path, request: PruneRequest) -> bool:
    """Whether `out` has the result of `request`. Raises PsapError where it is another's."""
    asked, found = request.model_dump(mode="json", exclude={"out"}), result(out)
    if found and (differing := next((key for key in asked if found["request"].get(key) != asked[key]), None)):
        raise PsapError(
            f"{out}: holds the network of another request (its {differing} differs); name another folder, or delete "
            "this one"
        )
    return bool(found)
