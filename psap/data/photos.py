"""Photographs: images of any size that stay in their files, listed and verified once, decoded when they are needed."""

import hashlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from psap.data.images import CHUNK, damaged, in_threads
from psap.data.prepared import Index
from psap.errors import PsapError

if TYPE_CHECKING:
    from torch import Tensor


class Listing(NamedTuple):
    """Files below a root, and the label of each."""

    files: list[Path]
    labels: list[int]


class Files(Sequence[Path]):
    """Files that do not all fit into memory as `Path`s: a root and an array of names, indexed as images are."""

    def __init__(self, root: Path, names: NDArray[np.bytes_]) -> None:
        self._root, self._names = root, names

    @classmethod
    def of(cls, root: Path, lines: NDArray[np.uint8]) -> "Files":
        """From names as an index holds them: one text, a line each."""
        return cls(root, np.array(lines.tobytes().split(b"\n")))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: "int | Tensor") -> "Path | Files":  # type: ignore[override]
        if isinstance(index, int):
            return self._root / os.fsdecode(bytes(self._names[index]))
        return Files(self._root, self._names[index.numpy()])


def index(root: Path, train: Listing, test: Listing) -> Index:
    """Read every file whole and decode it (JPEG at an eighth of its size, which reads all of it all the same).

    Raises PsapError for the first file that is no image, is truncated, or cannot be decoded.
    """
    parts = [_verified(root, listing.files, split) for listing, split in ((train, "train"), (test, "test"))]
    labels = [np.asarray(listing.labels, np.int64) for listing in (train, test)]
    return Index(parts[0][0], parts[0][1], labels[0], parts[1][0], parts[1][1], labels[1])


def _verified(root: Path, files: list[Path], split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The names below `root` as one text, a line each, and the SHA-256 (N, 32) of every file."""
    digests = np.empty((len(files), 32), np.uint8)

    def verify(start: int) -> None:
        for i, file in enumerate(files[start : start + CHUNK], start):
            digests[i] = np.frombuffer(_digest(file), np.uint8)

    in_threads(verify, range(0, len(files), CHUNK), f"read {root.name}/{split}", os.cpu_count() or 1)
    names = [os.fsencode(file.relative_to(root).as_posix()) for file in files]
    if bad := next((name for name in names if b"\n" in name), None):
        raise PsapError(f"{root}: a line break in the file name {os.fsdecode(bad)!r}; rename the file")
    return np.frombuffer(b"\n".join(names), np.uint8), digests


def _digest(file: Path) -> bytes:
    content = file.read_bytes()
    try:
        with Image.open(BytesIO(content)) as image:
            image.draft("RGB", (image.width // 8, image.height // 8))
            image.load()
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, zlib.error, ...
        raise damaged(file, error) from None
    return hashlib.sha256(content).digest()


def decode(file: Path) -> Image.Image:
    """Decode one photograph to RGB. Raises PsapError where it has been damaged since it was verified."""
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except Exception as error:
        raise damaged(file, error) from None


def labelled(classes: dict[str, list[Path]], label: dict[str, int]) -> Listing:
    """All files of `classes`, class by class, each with the label of its class."""
    files = [file for images in classes.values() for file in images]
    return Listing(files, [label[name] for name, images in classes.items() for _ in images])
