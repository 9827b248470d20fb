"""A prepared data set in memory, and the ways to cut it: balanced subsets and stratified validation splits."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from psap.data import prepared
from psap.data.seeds import generator
from psap.errors import PsapError


@dataclass(frozen=True)
class Split:
    """Images uint8 (N, H, W, C) and labels int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Split":
        """The images at `index`, in its order."""
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class DataSet:
    """Train and test images, class names, mean and standard deviation by channel (pixels in 0..1), digest, label."""

    train: Split
    test: Split
    classes: list[str]
    mean: list[float]
    std: list[float]
    digest: str
    label: str


def load(file: Path) -> DataSet:
    """Read the prepared data set `<key>.safetensors`. Raises PsapError when it is missing or damaged."""
    arrays, manifest = prepared.read(file)
    tensors = [torch.from_numpy(array) for array in arrays]
    return DataSet(
        train=Split(*tensors[:2]),
        test=Split(*tensors[2:]),
        classes=manifest.classes,
        mean=manifest.mean,
        std=manifest.std,
        digest=manifest.digest,
        label=manifest.label,
    )


def subset(split: Split, count: int, seed: int) -> Split:
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


def cut_validation(split: Split, share: float, seed: int) -> tuple[Split, Split]:
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


def _draw(split: Split, size: Callable[[int], int], seed: int) -> Tensor:
    """Mark `size(images of the class)` images of every class, drawn with `seed`."""
    numbers = generator(seed)
    chosen = torch.zeros(len(split), dtype=torch.bool)
    for label in torch.unique(split.labels):
        members = (split.labels == label).nonzero().flatten()
        order = torch.randperm(len(members), generator=numbers)
        chosen[members[order[: size(len(members))]]] = True
    return chosen
