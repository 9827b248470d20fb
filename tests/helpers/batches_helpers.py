"""Few small images to train on."""

import torch

from psap.data.batches import Batches
from psap.data.dataset import Split


def batches(dtype: torch.dtype = torch.float32, device: str = "cpu") -> Batches:
    """Three batches of 32 random images (3, 8, 8) in ten classes, augmented; the same ones at each call."""
    numbers = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (96, 8, 8, 3), generator=numbers, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (96,), generator=numbers))
    return Batches(split, 32, (0.5,) * 3, (0.25,) * 3, train=True, flip=True, pad=1, dtype=dtype, device=device)
