"""Folders of images, `train/<class>/*` and `test/<class>/*`: a quick check, then decoding that verifies every image.

`val/` may stand for `test/`; of a folder with neither, `<class>/*`, a part of each class is held out.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from psap.data.encoding import encoding
from psap.data.prepared import Arrays
from psap.errors import PsapError
from psap.files import sha256

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
THREADS = 4  # large images gain from more, small ones lose: their decoding is mostly Python
PARTS = 5  # of a class, one is held out where the folder does not say which images are for testing
CHUNK = 256  # images a task: enough to hide the cost of a task, few enough for a lively progress bar

Classes = dict[str, list[Path]]


def scan(root: Path) -> tuple[Classes, Classes]:
    """List the image files for training and for testing by class, sorted, without opening any.

    Raises PsapError, naming the folder: no train/ or test/, classes that differ between the two, a class without
    images, or with too few to hold some out. Files of other kinds and hidden ones are passed over.
    """
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
    """The image files of `folder`/<class>/*, by class."""
    if not folder.is_dir():
        raise PsapError(f"{folder}: no such folder; images belong in train/<class>/* and test/<class>/*")
    subfolders = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not subfolders:
        raise PsapError(f"{folder}: empty; it must hold one folder for each class")
    return {subfolder.name: _images(subfolder) for subfolder in subfolders}


def _images(folder: Path) -> list[Path]:
    names = sorted(f.name for f in os.scandir(folder) if f.name.lower().endswith(SUFFIXES) and f.name[0] != ".")
    if not names:
        raise PsapError(f"{folder}: no image in it ({', '.join(SUFFIXES)})")
    return [folder / name for name in names]


def read_folder(root: Path) -> tuple[Arrays, list[str], set[str]]:
    """Decode all images of `root` to RGB; give the arrays, the class names and the encodings of the files.

    Raises PsapError as `scan` does, for an image that cannot be decoded whole, and for images of different sizes.
    """
    train, test = scan(root)
    files = [file for part in (train, test) for images in part.values() for file in images]
    pixels, encodings = _decode(files, f"decode {root.name}")
    labels = [np.repeat(np.arange(len(part)), [len(images) for images in part.values()]) for part in (train, test)]
    count = len(labels[0])
    arrays = Arrays(pixels[:count], labels[0], pixels[count:], labels[1])
    return arrays, list(train), encodings


def _decode(files: list[Path], what: str) -> tuple[NDArray[np.uint8], set[str]]:
    first, kind = _read(files[0])
    pixels, encodings = np.empty((len(files), *first.shape), np.uint8), {kind}

    def decode_chunk(start: int) -> None:
        for i, file in enumerate(files[start : start + CHUNK], start):
            image, kind = _read(file)
            if image.shape != first.shape:
                sizes = f"{files[0]} has {_size(first)}, {file} has {_size(image)}"
                raise PsapError(f"images of different sizes: {sizes}; resize them to one size")
            pixels[i] = image
            encodings.add(kind)

    in_threads(decode_chunk, range(0, len(files), CHUNK), what, THREADS)
    return pixels, encodings


def in_threads(work: Callable[[int], None], tasks: range, what: str, threads: int) -> None:
    """Run all tasks; the first error, in their order, cancels those that have not begun."""
    pool, console = ThreadPoolExecutor(threads), Console(stderr=True)
    try:
        for _ in track(pool.map(work, tasks), what, len(tasks), console=console, disable=len(tasks) < 10):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _read(file: Path) -> tuple[NDArray[np.uint8], str]:
    """Decode one file to (H, W, 3) and name its encoding."""
    try:
        with Image.open(file) as image:
            mode, kind = image.mode, encoding(image)
            pixels = np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, zlib.error, ...
        raise damaged(file, error) from None
    check_mode(file, mode)
    return pixels, kind


def check_mode(file: Path, mode: str) -> None:
    """Raise PsapError for an image that eight bits a channel would not hold."""
    if mode not in EIGHT_BIT_MODES:
        raise PsapError(f"{file}: more than 8 bits a channel (mode {mode}); convert it to 8-bit RGB")


def damaged(file: Path, error: Exception) -> PsapError:
    """What to say of an image that cannot be decoded."""
    return PsapError(f"{file}: damaged, truncated or not an image ({error}); replace or remove it")


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
