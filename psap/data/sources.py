"""Where data come from: `digits`, `cifar10`, or a `folder` of images; checked at once, prepared once."""

import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from psap.data import cifar10, prepared
from psap.data.cifar10 import find_cifar10
from psap.data.digits import digits
from psap.data.images import read_folder, scan
from psap.errors import PsapError
from psap.files import sha256

__all__ = ["check_changed", "check_source", "find_cifar10", "fingerprint", "prepare"]

SOURCES = ("digits", "cifar10", "folder")


def check_source(source: str, path: str | None) -> None:
    """Raise PsapError where `prepare` could not begin; opens no image and needs no network.

    An unknown source; a path missing, or given to `digits`; a folder without train/ or test/, with classes that
    differ between the two, or with a class without images; for `cifar10` a folder with other classes than its ten.
    """
    if source not in SOURCES:
        close = get_close_matches(source, SOURCES, n=1)
        hint = f"did you mean {close[0]}" if close else f"known are {', '.join(SOURCES)}"
        raise PsapError(f"unknown data source {source!r}; {hint}")
    if source == "digits" and path is not None:
        raise PsapError("data source digits comes with scikit-learn and takes no path")
    if source == "folder":
        if path is None:
            raise PsapError("data source folder needs the path of a folder with train/<class>/* and test/<class>/*")
        scan(Path(path))
    if source == "cifar10" and (folder := find_cifar10(path)):
        cifar10.check_folder(folder)


def prepare(source: str, path: str | None, out: Path, raw: Path = Path("data/raw")) -> dict[str, Any]:
    """Decode and verify a data set, write it to `out` (`<key>.safetensors` and its .json), return the manifest.

    A download goes to `raw`. Raises PsapError as `check_source` does, and for what only reading shows: an image that
    is damaged or truncated, images of different sizes, a failed download.
    """
    check_source(source, path)
    mark = fingerprint(source, path, out)
    return prepared.write(_read(source, path, raw), source, out, mark).model_dump()


def fingerprint(source: str, path: str | None, out: Path) -> str:
    """Digest of the names and sizes of a folder's images, to tell whether `out`, prepared from it, is up to date.

    Where there is no folder to look at (an embedded set, a download, a folder that is gone since) it is the one that
    `out` was prepared with: what is prepared stays good.
    """
    root = find_cifar10(path) if source == "cifar10" else Path(path) if path else None
    if root is None or not root.exists():
        described = out.with_suffix(".json")
        return json.loads(described.read_text()).get("fingerprint", "") if described.exists() else ""
    files = [file for part in scan(root) for images in part.values() for file in images]
    lines = [f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files]
    return sha256("\n".join(lines).encode())


def check_changed(source: str, path: str | None, out: Path, mark: str) -> None:
    """Read every image of a folder whose fingerprint `mark` is another than when `out` was prepared from it.

    A job that fails takes its old files with it, and whatever was trained on them is trained again: so images that went
    bad must not come so far. Raises PsapError as `prepare` does.
    """
    described = out.with_suffix(".json")
    if described.exists() and mark != json.loads(described.read_text())["fingerprint"]:
        _read(source, path, out.parent / "raw")


def _read(source: str, path: str | None, raw: Path) -> prepared.Raw:
    if source == "digits":
        return digits()
    if source == "cifar10":
        folder = find_cifar10(path)
        return cifar10.from_folder(folder) if folder else cifar10.download(raw)
    root = Path(str(path))
    arrays, classes, _ = read_folder(root)
    images = len(arrays.train_images) + len(arrays.test_images)
    return prepared.Raw(
        arrays,
        classes,
        label=f"{root.resolve().name} (image folder, {images:,} images)",
        origin="image folder, train/<class>/* and test/<class>/*",
        licence="that of the folder's owner",
    )
