"""A prepared data set in memory, and the ways to cut it: balanced subsets and stratified validation splits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from psap.data import prepared
from psap.data.photos import Files
from psap.data.prepared import Arrays, Index
from psap.data.seeds import generator
from psap.errors import PsapError

_Images = TypeVar("_Images", Tensor, Files)


@dataclass(frozen=True)
class Split(Generic[_Images]):
    """Images uint8 (N, H, W, C), or the files of photographs, and labels int64 (N,)."""

    images: _Images
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split[_Images]":
        """The images at `index`, in its order."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """Train and test images, class names, mean and standard deviation by channel (pixels in 0..1), digest, label.

    Of photographs mean and standard deviation are empty: the suite says what they are normalised by.
    """

    train: Split[Any]
    test: Split[Any]
    classes: list[str]
    mean: list[float]
    std: list[float]
    digest: str
    label: str

    @property
    def channels(self) -> int:
        """Colour channels of an image."""
        return len(self.mean) or 3


def load(file: Path, root: Path | None = None) -> DataSet:
    """Read the prepared data set `<key>.safetensors`; `root` is the folder that photographs lie in.

    Raises PsapError when it is missing or damaged.
    """
    arrays, manifest = prepared.read(file)
    return DataSet(
        train=_split(arrays, "train", root),
        test=_split(arrays, "test", root),
        classes=manifest.classes,
        mean=manifest.mean,
        std=manifest.std,
        digest=manifest.digest,
        label=manifest.label,
    )


def _split(arrays: Arrays | Index, name: str, root: Path | None) -> Split[Any]:
    tensors = arrays._asdict()
    labels = torch.from_numpy(tensors[f"{name}_labels"])
    if isinstance(arrays, Arrays):
        return Split(torch.from_numpy(tensors[f"{name}_images"]), labels)
    assert root, "photographs stay in their folder"
    return Split(Files.of(root, tensors[f"{name}_names"], tensors[f"{name}_digests"]), labels)


def subset(split: Split[_Images], count: int, seed: int) -> Split[_Images]:
    """Draw `count` images, equally many of each class, in the order they have in `split`.

    Raises PsapError when `count` cannot be shared equally, or a class has too few images.
    """
    classes = len(torch.unique(split.labels))
    if count < 1 or count % classes:
        raise PsapError(f"a balanced subset of {count} images: not a multiple of the {classes} classes")
    share = count // classes

    def size(images: int) -> int:
        if images < share:
            raise PsapError(f"a balanced subset of {count} images: {share} a class wanted, but a class has {images}")
        return share

    chosen = _draw(split, size, seed)
    return split.take(chosen.nonzero().flatten())


def cut_validation(split: Split[_Images], share: float, seed: int) -> tuple[Split[_Images], Split[_Images]]:
    """Cut off `share` (0..1) of each class for validation: (rest, validation), both in the order of `split`.

    The number for a class is rounded; PsapError where that leaves a class without an image on either side.
    """

    def size(images: int) -> int:
        wanted = round(share * images)
        if not 0 < wanted < images:
            raise PsapError(f"a validation share of {share}: takes {wanted} of the {images} images of a class")
        return wanted

    chosen = _draw(split, size, seed)
    return split.take((~chosen).nonzero().flatten()), split.take(chosen.nonzero().flatten())


def _draw(split: Split[Any], size: Callable[[int], int], seed: int) -> Tensor:
    """Mark `size(images of the class)` images of every class, drawn with `seed`."""
    numbers = generator(seed)
    chosen = torch.zeros(len(split), dtype=torch.bool)
    for label in torch.unique(split.labels):
        members = (split.labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=numbers)
        chosen[members[order[: size(len(members))]]] = True
    return chosen
