"""Folders of images, `train/<class>/*` and `test/<class>/*`: a quick check, then decoding that verifies every image."""

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

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
THREADS = 4  # large images gain from more, small ones lose: their decoding is mostly Python
CHUNK = 256  # images a task: enough to hide the cost of a task, few enough for a lively progress bar

Classes = dict[str, list[Path]]


def scan(root: Path) -> tuple[Classes, Classes]:
    """List the image files of train/ and test/ by class, sorted, without opening any.

    Raises PsapError, naming the folder: no train/ or test/, classes that differ between the two, a class without
    images. Files of other kinds and hidden ones are passed over.
    """
    if not root.is_dir():
        raise PsapError(f"{root}: no such folder; give one with train/<class>/* and test/<class>/*")
    train, test = (classes_in(root / split) for split in ("train", "test"))
    if differing := sorted(train.keys() ^ test.keys()):
        where = ", ".join(f"{name} only in {'train' if name in train else 'test'}/" for name in differing)
        raise PsapError(f"{root}: train/ and test/ must have the same classes ({where})")
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
