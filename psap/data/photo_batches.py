"""Batches of photographs: decoded and cut by worker processes as uint8, mirrored and normalised on the device."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from psap.data.dataset import Split
from psap.data.photos import Files
from psap.data.seeds import generator
from psap.data.sharding import Shard
from psap.errors import PsapError

_MIDDLE = 0.875  # of the short side that evaluation looks at: 224 of 256 pixels
_RATIO = math.log(4 / 3)  # width to height of a training cut lies between 3/4 and 4/3

Key = tuple[int, int]  # epoch (-1 in evaluation) and number of the image


class PhotoBatches:
    """Iterate over `split` in batches (x, y): x (B, 3, size, size) floating, channels last, normalised; y int64 (B,).

    As `psap.data.batches.Batches`: in training a new order each epoch, a random cut of every image and, with `flip`,
    its mirror image with probability 1/2, all of it a function of (`seed`, epoch, image) alone, whatever the number of
    `workers` (0: decode in this process). `photos`: the suite's section (psap.suites.schema.Photos) as a mapping.
    """

    def __init__(
        self,
        split: Split[Files],
        batch_size: int,
        photos: Mapping[str, Any],
        *,
        seed: int = 0,
        train: bool,
        flip: bool = False,
        workers: int = 0,
        device: torch.device | str = "cpu",
        shard: Shard | None = None,
    ) -> None:
        self.seed, self.train, self.flip, self.device = seed, train, flip and train, torch.device(device)
        self.labels = split.labels
        self._slices, self.accumulation_steps = (shard or Shard()).slices(len(split), batch_size, train)
        self._keys = _Keys()
        _transforms()  # here, so that no worker has to import it
        self._loader = DataLoader(
            _Cuts(split.images, photos["size"], photos["min_area"], seed),
            batch_sampler=self._keys,
            num_workers=workers,
            persistent_workers=train and workers > 0,
            pin_memory=self.device.type == "cuda",
        )
        shape = (1, 3, 1, 1)
        self._shift = 255 * torch.tensor(photos["mean"], device=self.device).view(shape)
        self._scale = 1 / (255 * torch.tensor(photos["std"], device=self.device).view(shape))

    def __len__(self) -> int:
        """Micro-batches an epoch."""
        return len(self._slices)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of epoch `epoch`. Raises PsapError for an image that cannot be decoded any more."""
        index, mirrored = self._draws(epoch)
        self._keys.batches = [[(epoch if self.train else -1, i) for i in index[part].tolist()] for part in self._slices]
        for part, cuts in zip(self._slices, self._cuts(), strict=True):
            x = cuts.to(self.device, non_blocking=True)
            if self.flip:
                x = torch.where(mirrored[part, None, None, None].to(self.device), x.flip(3), x)
            x = x.float().sub_(self._shift).mul_(self._scale)
            yield x.contiguous(memory_format=torch.channels_last), self.labels[index[part]].to(self.device)

    def _draws(self, epoch: int) -> tuple[Tensor, Tensor]:
        """For each place in the epoch: the number of the image, and whether it is mirrored."""
        count = len(self.labels)
        if not self.train:
            return torch.arange(count), torch.zeros(count, dtype=torch.bool)
        numbers = generator(self.seed, epoch)
        return torch.randperm(count, generator=numbers), torch.rand(count, generator=numbers) < 0.5

    def _cuts(self) -> Iterator[Tensor]:
        try:
            yield from self._loader
        except PsapError as error:  # a worker's own arrives with its traceback around it
            raise PsapError(str(error).strip().splitlines()[-1].removeprefix("psap.errors.PsapError: ")) from None


@contextmanager
def lost_workers() -> Iterator[None]:
    """Turn the death of a worker, which torch raises wherever this process is just then, into a PsapError."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise PsapError(
            f"a process that decodes images was killed ({error}); run the same command again to resume"
        ) from None


def _transforms() -> Any:
    """torchvision's transforms: most trainings are not of photographs, and need not wait for its import."""
    from torchvision.transforms.v2 import functional

    return functional


class _Keys(Sampler[list[Key]]):
    """The keys of an epoch's batches; set before each epoch, since the workers outlive it."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Cuts(Dataset[Tensor]):
    """The square cut, uint8 (3, size, size), of an image by its key."""

    def __init__(self, files: Files, size: int, min_area: float, seed: int) -> None:
        self._files, self._size, self._min_area, self._seed = files, size, min_area, seed

    def __getitem__(self, key: Key) -> Tensor:
        epoch, number = key
        transforms = _transforms()
        image = transforms.pil_to_tensor(self._files.decode(number))
        size = [self._size, self._size]
        if epoch < 0:
            image = transforms.resize(image, [round(self._size / _MIDDLE)], antialias=True)
            return torch.as_tensor(transforms.center_crop(image, size))
        height, width = image.shape[1:]
        box = random_resized_crop(height, width, self._min_area, generator(self._seed, epoch, number))
        return torch.as_tensor(transforms.resized_crop(image, *box, size, antialias=True))


def random_resized_crop(
    height: int, width: int, min_area: float, numbers: torch.Generator
) -> tuple[int, int, int, int]:
    """A random part (top, left, height, width) of an image: `min_area` to all of its area, 3/4 to 4/3 as wide as high.

    Szegedy et al., arXiv:1409.4842, section 6, as torchvision's RandomResizedCrop draws it, but from `numbers`: ten
    attempts, then the largest part in the middle.
    """
    draws = torch.rand(10, 4, generator=numbers, dtype=torch.float64).tolist()
    for area, ratio, down, right in draws:
        share = height * width * (min_area + (1 - min_area) * area)
        stretch = math.exp(_RATIO * (2 * ratio - 1))
        h, w = round(math.sqrt(share / stretch)), round(math.sqrt(share * stretch))
        if 0 < h <= height and 0 < w <= width:
            return int(down * (height - h + 1)), int(right * (width - w + 1)), h, w
    h, w = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w
