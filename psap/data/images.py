"""Folders of images, `train/<class>/*` and `test/<class>/*`: a quick check, then decoding that verifies every image.

`val/` may stand for `test/`; of a folder with neither, `<class>/*`, a part of each class is held out.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psap.data.decoding import SUFFIXES, BadImage, for_each, opened, refuse, upright
from psap.data.encoding import encoding
from psap.data.prepared import Arrays
from psap.errors import PsapError
from psap.utils.files import free_memory, reading, sha256

THREADS = 4  # large images gain from more, small ones lose: their decoding is mostly Python
PARTS = 5  # of a class, one is held out where the folder does not say which images are for testing
_KINDS = 8  # of files passed over that are told
_AS_PHOTOS = (
    "leave them as they are, to be decoded when they are needed (photos: {size: 224} in a suite's data, --photos of "
    "`psap data`)"
)

Classes = dict[str, list[Path]]


def scan(root: Path) -> tuple[Classes, Classes]:
    """List the image files for training and for testing by class, sorted, without opening any.

    Raises PsapError, naming the folder: no train/ or test/, classes that differ between the two, a class without
    images, or with too few to hold some out. Files of other kinds and hidden ones are passed over.
    """
    with reading(root):
        if not root.is_dir():
            raise PsapError(f"{root}: no such folder; give one with train/<class>/* and test/<class>/*")
        if not (held_out := _held_out(root)):
            return _cut(classes_in(root))
        train, test = (classes_in(root / split) for split in ("train", held_out))
    if differing := sorted(train.keys() ^ test.keys()):
        where = ", ".join(f"{name} only in {'train' if name in train else held_out}/" for name in differing)
        raise PsapError(f"{root}: train/ and {held_out}/ must have the same classes ({where})")
    return train, test


def _held_out(root: Path) -> str:
    """The folder of the images for testing; empty where there is neither that nor one for training."""
    if (root / "val").is_dir() and not (root / "test").is_dir():
        return "val"
    return "test" if any((root / split).is_dir() for split in ("train", "test")) else ""


def layout(root: Path) -> str:
    """How the images of `root` are split, in words."""
    held_out = _held_out(root)
    return (
        f"train/<class>/* and {held_out}/<class>/*" if held_out else f"<class>/*, one in {PARTS} held out for testing"
    )


def _cut(classes: Classes) -> tuple[Classes, Classes]:
    """Hold out every image of a class that comes among the first fifth by the digest of its name: for ever the same."""
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < PARTS:
            raise PsapError(
                f"{files[0].parent}: {len(files)} images are too few to hold out one in {PARTS} for testing; add "
                "images, or sort all into train/<class>/* and test/<class>/*"
            )
        ranked = sorted(files, key=lambda file: sha256(os.fsencode(file.name)))
        count = len(files) // PARTS
        test[name], train[name] = sorted(ranked[:count]), sorted(ranked[count:])
    return train, test


def classes_in(folder: Path) -> Classes:
    """The image files of `folder`/<class>/*, by class. Raises PsapError for classes and images that are none."""
    if not folder.is_dir():
        raise PsapError(f"{folder}: no such folder; images belong in train/<class>/* and test/<class>/*")
    with reading(folder):
        entries = [entry for entry in sorted(folder.iterdir()) if not entry.name.startswith(".")]
        subfolders = [entry for entry in entries if entry.is_dir()]
        refuse([BadImage(entry, "a link that leads nowhere") for entry in entries if not entry.exists()])
    if not subfolders:
        raise PsapError(f"{folder}: empty; it must hold one folder for each class")
    for subfolder in subfolders:
        _check_name(subfolder)
    return images_in(*subfolders)


def images_in(*folders: Path) -> Classes:
    """The image files of each folder, by the folder's name, sorted.

    Raises PsapError for a folder without any, and for folders, pipes, devices and links to nowhere of such a name.
    """
    found: Classes = {}
    bad: list[BadImage] = []
    for folder in folders:
        with reading(folder), os.scandir(folder) as entries:
            named = sorted((entry for entry in entries if _is_image(entry.name)), key=lambda entry: entry.name)
        found[folder.name] = [folder / entry.name for entry in named]
        if not named:
            raise PsapError(f"{folder}: no image in it ({', '.join(SUFFIXES)})")
        bad += [BadImage(folder / entry.name, why) for entry in named if (why := _not_a_file(entry))]
    refuse(bad)
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _not_a_file(entry: os.DirEntry[str]) -> str:
    """What `entry` is in place of a file; empty for a file. Asks the system about links only."""
    with suppress(OSError):  # links in a loop
        if entry.is_file():
            return ""
        if entry.is_dir():
            return "a folder"
    return "a link that leads nowhere" if entry.is_symlink() else "a pipe, socket or device"


def _check_name(folder: Path) -> None:
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise PsapError(f"{str(folder)!a}: the name of a class must be UTF-8; rename the folder") from None


def tell_passed_over(root: Path, files: Iterable[Path]) -> None:
    """Say on stderr which entries beside the images in `files` are no images by their names; hidden ones are not."""
    kinds: Counter[str] = Counter()
    for folder in {file.parent for file in files}:
        with reading(folder), os.scandir(folder) as entries:
            others = [entry for entry in entries if not (entry.name.startswith(".") or _is_image(entry.name))]
        kinds.update("folders" if entry.is_dir() else Path(entry.name).suffix or "no suffix" for entry in others)
    if kinds:
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(_KINDS))
        print(
            f"{root}: {kinds.total():,} files that are no images by their names passed over ({told})", file=sys.stderr
        )


def read_folder(root: Path) -> tuple[Arrays, list[str], set[str]]:
    """Decode all images of `root` to RGB; give the arrays, the class names and the encodings of the files.

    Raises PsapError as `scan` does, for images that cannot be decoded whole, and for images of different sizes.
    """
    train, test = scan(root)
    files = [file for part in (train, test) for images in part.values() for file in images]
    tell_passed_over(root, files)
    pixels, encodings = _decode(files, f"decode {root.name}")
    labels = [np.repeat(np.arange(len(part)), [len(images) for images in part.values()]) for part in (train, test)]
    count = len(labels[0])
    arrays = Arrays(pixels[:count], labels[0], pixels[count:], labels[1])
    return arrays, list(train), encodings


def _decode(files: list[Path], what: str) -> tuple[NDArray[np.uint8], set[str]]:
    first, (width, height) = _first_size(files)
    needed, there = 3 * width * height * len(files), free_memory()
    if needed > there:
        raise PsapError(
            f"{len(files):,} images of {width} x {height} need {needed / 2**30:.1f} GiB of memory, and "
            f"{there / 2**30:.1f} GiB are free; {_AS_PHOTOS}"
        )
    pixels, encodings = np.empty((len(files), height, width, 3), np.uint8), set()

    def decode(number: int, file: Path) -> None:
        with opened(file) as image:
            encodings.add(encoding(image))
            decoded = upright(image)
        if decoded.size != (width, height):
            sizes = f"{first} has {width} x {height}, {file} has {decoded.width} x {decoded.height}"
            raise PsapError(f"images of different sizes: {sizes}; resize them to one size, or {_AS_PHOTOS}")
        pixels[number] = np.asarray(decoded)

    for_each(files, decode, what, THREADS)
    return pixels, encodings


def _first_size(files: list[Path]) -> tuple[Path, tuple[int, int]]:
    """The first file that can be decoded, and its size; a size of nothing where none can."""
    for file in files:
        with suppress(BadImage), opened(file) as image:
            return file, upright(image).size
    return files[0], (0, 0)
