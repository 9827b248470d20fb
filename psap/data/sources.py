"""Where data come from: `digits`, `cifar10`, `imagenet`, or a `folder` of images; checked at once, prepared once."""

import os
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from psap.data import cifar10, imagenet, photos, prepared
from psap.data.decoding import LARGEST
from psap.data.digits import digits
from psap.data.images import layout, read_folder, scan
from psap.errors import LONGEST_NAME, PsapError
from psap.utils.files import reading, regular, sha256

__all__ = ["check_changed", "check_images", "check_source", "find_folder", "fingerprint", "prepare", "prepared_with"]

SOURCES = ("digits", "cifar10", "imagenet", "folder")


def find_folder(source: str, path: str | None) -> Path | None:
    """The folder of images to read: `path` with environment variables put in, else that of $PSAP_DATA; None if there is
    none, as where the data are embedded or downloaded.

    Raises PsapError for a variable that is not set.
    """
    if path:
        expanded = os.path.expandvars(path)
        if "$" in expanded:
            raise PsapError(f"path {path}: the environment variable in it is not set")
        try:
            return Path(expanded).expanduser()
        except RuntimeError:
            raise PsapError(f"path {path}: there is no such user; write the folder in full") from None
    base = os.environ.get("PSAP_DATA")
    usual = Path(base, source) if base else None
    return usual if source in ("cifar10", "imagenet") and usual and usual.is_dir() else None


def check_source(source: str, path: str | None, classes: int | None = None) -> None:
    """Raise PsapError where `prepare` could not begin; opens no image and needs no network.

    An unknown source; a path missing, or given to `digits`; a folder without train/ or test/, with classes that
    differ between the two, or with a class without images; for `cifar10` a folder with other classes than its ten; for
    `imagenet` one with strangers among its classes, or not `classes` of them (if given).
    """
    if source not in SOURCES:
        close = get_close_matches(source[:LONGEST_NAME], SOURCES, n=1)
        hint = f"did you mean {close[0]}" if close else f"known are {', '.join(SOURCES)}"
        raise PsapError(f"unknown data source {source!r}; {hint}")
    if source == "digits" and path is not None:
        raise PsapError("data source digits comes with scikit-learn and takes no path")
    folder = find_folder(source, path)
    if source == "folder":
        if folder is None:
            raise PsapError("data source folder needs the path of a folder with train/<class>/* and test/<class>/*")
        scan(folder)
    if source == "cifar10" and folder:
        cifar10.check_folder(folder)
    if source == "imagenet":
        if folder is None:
            raise PsapError("data source imagenet needs a path, or $PSAP_DATA/imagenet, with train/ and val/")
        imagenet.check_folder(folder, classes)


def prepare(
    source: str, path: str | None, out: Path, raw: Path = Path("data/raw"), as_photos: bool = False
) -> dict[str, Any]:
    """Decode and verify a data set, write it to `out` (`<key>.safetensors` and its .json), return the manifest.

    A download goes to `raw`. `as_photos`: the images of a folder stay where they are (those of imagenet always do).
    Raises PsapError as `check_source` does, and for what only reading shows: an image that is damaged or truncated,
    images of different sizes, a failed download.
    """
    check_source(source, path)
    mark = fingerprint(source, path, out, as_photos)
    stamps = _stamps(source, path)
    return prepared.write(_read(source, path, raw, as_photos), source, out, mark, stamps).model_dump()


def fingerprint(source: str, path: str | None, out: Path, as_photos: bool = False) -> str:
    """Digest of a folder's images, to tell whether `out`, prepared from it, is up to date.

    It is one of names, sizes and contents. They are read only where a name, a size or a time of change is another than
    when `out` was prepared: an image that is replaced by one of the same size and time is not noticed. Of photographs,
    which are verified whenever they are decoded, it is one of names and sizes; of imagenet's, of names: to ask a server
    for the sizes of a million files takes minutes. Where there is no folder to look at (an embedded set, a download, a
    folder that is gone since) it is the one that `out` was prepared with: what is prepared stays good.
    """
    root = find_folder(source, path)
    if root is None or not root.exists():
        return prepared_with(out) or ""
    if source == "imagenet":
        lines = [file.relative_to(root).as_posix() for part in imagenet.listings(root) for file in part.files]
        return sha256("\n".join(lines).encode())
    files = _files(root)
    with reading(root):
        lines = [f"{file.relative_to(root).as_posix()} {file.stat().st_size}" for file in files]
    outside = sha256(os.fsencode("\n".join(lines)))  # names of files need not be UTF-8
    before = _described(out)
    if as_photos or (before and before.fingerprint == outside):  # before contents counted, it was prepared so
        return outside
    if before and before.stamps == _stamps(source, path):
        return before.fingerprint
    with ThreadPoolExecutor() as threads:
        contents = threads.map(_content, files)
        told = (f"{line} {content}" for line, content in zip(lines, contents, strict=True))
        return sha256(os.fsencode("\n".join(told)))


def _content(file: Path) -> str:
    """Digest of what is in `file`; of one that cannot be read nothing, since whoever reads the image says so."""
    try:
        return sha256(regular(file, LARGEST))
    except (OSError, PsapError):
        return ""


def _files(root: Path) -> list[Path]:
    return [file for part in scan(root) for images in part.values() for file in images]


def _stamps(source: str, path: str | None) -> str:
    """Digest of the names, sizes and times of change of a folder's images; "" where none are looked at."""
    root = find_folder(source, path)
    if root is None or not root.exists() or source == "imagenet":
        return ""
    stamps = [(file.relative_to(root).as_posix(), file.stat()) for file in _files(root)]
    return sha256(os.fsencode("\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stamps)))


def prepared_with(out: Path) -> str | None:
    """The fingerprint that `out` was prepared with; None where it is not prepared, or cannot be told any more."""
    before = _described(out)
    return before.fingerprint if before else None


def _described(out: Path) -> prepared.Manifest | None:
    try:
        return prepared.describe(out)
    except PsapError:
        return None


def check_changed(source: str, path: str | None, out: Path, mark: str) -> None:
    """Read every image of a folder whose fingerprint `mark` is another than when `out` was prepared from it.

    A job that fails takes its old files with it, and whatever was trained on them is trained again: so images that went
    bad must not come so far. Raises PsapError as `prepare` does.
    """
    if prepared_with(out) not in (None, mark):
        check_images(source, path, as_photos=False)


def check_images(source: str, path: str | None, as_photos: bool) -> None:
    """Read and decode every image of a folder, and keep nothing. Raises PsapError as `prepare` does.

    What comes embedded, or is downloaded, has nothing to be read yet.
    """
    if find_folder(source, path):
        _read(source, path, Path(), as_photos)


def _read(source: str, path: str | None, raw: Path, as_photos: bool) -> prepared.Raw:
    root = find_folder(source, path)
    if source == "digits":
        return digits()
    if source == "cifar10":
        return cifar10.from_folder(root) if root else cifar10.download(raw)
    assert root, "check_source lets no other source pass without a folder"
    if source == "imagenet":
        return imagenet.from_folder(root)
    return _from_folder(root, as_photos)


def _from_folder(root: Path, as_photos: bool) -> prepared.Raw:
    arrays: prepared.Arrays | prepared.Index
    if as_photos:
        parts = scan(root)
        classes = list(parts[0])
        label = {name: i for i, name in enumerate(classes)}
        arrays = photos.index(root, *(photos.labelled(part, label) for part in parts))
    else:
        arrays, classes, _ = read_folder(root)
    images = len(arrays.train_labels) + len(arrays.test_labels)
    return prepared.Raw(
        arrays,
        classes,
        label=f"{root.resolve().name} (image folder, {images:,} images, {len(classes):,} classes)",
        origin=f"image folder, {layout(root)}",
        licence="that of the folder's owner",
    )
