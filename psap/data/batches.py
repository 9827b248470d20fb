"""Batches of small images from memory: uint8 on the device, augmented and normalised batch by batch."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from psap.data.dataset import Split
from psap.data.seeds import generator
from psap.data.sharding import Shard


class Batches:
    """Iterate over `split` in batches (x, y): x (B, C, H, W) floating, channels last, normalised; y int64 (B,).

    Training (`train`): a new order each epoch, an incomplete last batch left out unless it is the only one, and the
    standard augmentation (He et al., arXiv:1512.03385, section 4.2) with `pad` > 0 (black, then a random crop of the
    original size) and `flip` (mirrored with probability 1/2). Order and augmentation are functions of (`seed`,
    epoch) alone. Evaluation: in order, everything once, no augmentation.

    `mean` and `std` are by channel, of pixels in 0..1. `shard`: what this process takes of it, where there are several.
    """

    def __init__(
        self,
        split: Split[Tensor],
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        seed: int = 0,
        train: bool,
        pad: int = 0,
        flip: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        shard: Shard | None = None,
    ) -> None:
        self.seed, self.train, self.flip, self.dtype = seed, train, flip, dtype
        self._slices, self.accumulation_steps = (shard or Shard()).slices(len(split), batch_size, train)
        self.count, self.height, self.width, self.channels = split.images.shape
        self.pad = pad if train else 0
        self.labels = split.labels.to(device)
        self.rows = self._rows(split.images.to(device))
        # Repeated over a whole image, because adding three numbers to runs of three is six times as slow on a CPU.
        area = self.height * self.width
        self.shift = (255 * torch.tensor(mean, device=device)).repeat(area)
        self.scale = (1 / (255 * torch.tensor(std, device=device))).repeat(area)

    def _rows(self, images: Tensor) -> Tensor:
        """Every run of `width` pixels, by the number of its first pixel, as a view (pixels, width * C).

        The pixels are those of the padded images, followed, if images are to be mirrored, by their mirror images:
        so a batch is one gather of short contiguous runs, several times as fast as one of single pixels.
        """
        images = torch.nn.functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        if self.train and self.flip:
            images = torch.cat([images, images.flip(2)])
        images = images.contiguous()
        starts = images.numel() // self.channels - self.width + 1
        return images.as_strided((starts, self.width * self.channels), (self.channels, 1))

    def __len__(self) -> int:
        """Micro-batches an epoch."""
        return len(self._slices)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of epoch `epoch` (any number, in any order of calls)."""
        index, corner = (draw.to(self.labels.device) for draw in self._draws(epoch))
        down = torch.arange(self.height, device=corner.device) * (self.width + 2 * self.pad)
        for part in self._slices:
            crops = self.rows.index_select(0, (corner[part, None] + down).flatten())
            yield self._normalise(crops), self.labels[index[part]]

    def _draws(self, epoch: int) -> tuple[Tensor, Tensor]:
        """For each place in the epoch: the number of the image, and of the pixel where its crop begins."""
        width = self.width + 2 * self.pad
        area = (self.height + 2 * self.pad) * width
        if not self.train:
            index = torch.arange(self.count)
            return index, index * area
        numbers = generator(self.seed, epoch)
        index = torch.randperm(self.count, generator=numbers)
        down, right = torch.randint(2 * self.pad + 1, (2, self.count), generator=numbers)
        mirrored = torch.randint(1 + self.flip, (self.count,), generator=numbers)
        return index, (index + mirrored * self.count) * area + down * width + right

    def _normalise(self, crops: Tensor) -> Tensor:
        x = crops.view(-1, len(self.shift)).float().sub_(self.shift).mul_(self.scale).to(self.dtype)
        return x.view(-1, self.height, self.width, self.channels).permute(0, 3, 1, 2)
