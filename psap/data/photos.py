"""Photographs: images of any size that stay in their files, listed and verified once, decoded when they are needed."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from psap.data.decoding import LARGEST, BadImage, for_each, opened, upright
from psap.data.images import tell_passed_over
from psap.data.prepared import Index
from psap.errors import PsapError
from psap.utils.files import regular

if TYPE_CHECKING:
    from torch import Tensor


class Listing(NamedTuple):
    """Files below a root, and the label of each."""

    files: list[Path]
    labels: list[int]


class Files:
    """The photographs of a split: a root, their names and the SHA-256 of each; indexed as images in memory are."""

    def __init__(self, root: Path, names: NDArray[np.bytes_], digests: NDArray[np.uint8]) -> None:
        self._root, self._names, self._digests = root, names, digests

    @classmethod
    def of(cls, root: Path, lines: NDArray[np.uint8], digests: NDArray[np.uint8]) -> "Files":
        """From an index: names as one text, a line each, and digests (N, 32)."""
        return cls(root, np.array(lines.tobytes().split(b"\n")), digests)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: "Tensor") -> "Files":
        return Files(self._root, self._names[index.numpy()], self._digests[index.numpy()])

    def path(self, number: int) -> Path:
        """Where photograph `number` lies."""
        return self._root / os.fsdecode(bytes(self._names[number]))

    def decode(self, number: int) -> Image.Image:
        """Photograph `number` in RGB. Raises PsapError unless its file is there and as it was when it was verified."""
        file = self.path(number)
        try:
            content = regular(file, LARGEST).read_bytes()
        except OSError as error:
            raise PsapError(f"{file}: cannot be read ({error.strerror}); restore it") from None
        if hashlib.sha256(content).digest() != self._digests[number].tobytes():
            raise PsapError(f"{file}: not as it was when the data were prepared; restore it, or prepare the data again")
        with opened(file, content) as image:
            return upright(image)


def index(root: Path, train: Listing, test: Listing) -> Index:
    """Read every file whole and decode it (JPEG at an eighth of its size, which reads all of it all the same).

    Raises PsapError for files that are no images, are truncated, or cannot be decoded.
    """
    files = [*train.files, *test.files]
    tell_passed_over(root, files)
    digests = np.empty((len(files), 32), np.uint8)

    def verify(number: int, file: Path) -> None:
        digests[number] = np.frombuffer(_digest(file), np.uint8)

    for_each(files, verify, f"read {root.name}", os.cpu_count() or 1)
    count = len(train.files)
    labels = [np.asarray(listing.labels, np.int64) for listing in (train, test)]
    names = [_lines(root, listing.files) for listing in (train, test)]
    return Index(names[0], digests[:count], labels[0], names[1], digests[count:], labels[1])


def _lines(root: Path, files: list[Path]) -> NDArray[np.uint8]:
    """The names below `root` as one text, a line each."""
    names = [os.fsencode(file.relative_to(root).as_posix()) for file in files]
    if bad := next((name for name in names if b"\n" in name), None):
        raise PsapError(f"{root}: a line break in the file name {os.fsdecode(bad)!r}; rename the file")
    return np.frombuffer(b"\n".join(names), np.uint8)


def _digest(file: Path) -> bytes:
    try:
        content = regular(file, LARGEST).read_bytes()
    except OSError as error:
        raise BadImage(file, f"cannot be read ({error.strerror})") from None
    with opened(file, content) as image:
        image.draft("RGB", (image.width // 8, image.height // 8))
        image.load()
    return hashlib.sha256(content).digest()


def labelled(classes: dict[str, list[Path]], label: dict[str, int]) -> Listing:
    """All files of `classes`, class by class, each with the label of its class."""
    files = [file for images in classes.values() for file in images]
    return Listing(files, [label[name] for name, images in classes.items() for _ in images])
