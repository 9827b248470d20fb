"""A network to look at or hand on, and an input that it takes: from a saved folder, or by its name."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.models import build
from psap.models.architecture import DESCRIPTION, IMAGE_SIZE, read
from psap.models.names import split
from psap.models.saved import load
from psap.models.state_dicts import fill
from psap.models.state_dicts import read as read_tensors
from psap.utils.mappings import JsonObject


class Network(NamedTuple):
    """`model` on the CPU in evaluation mode: the network `name` for `classes` classes, of full or fewer widths.

    `images` is an input that it takes, zeros of shape (1, C, H, W).
    """

    name: str
    classes: int
    model: nn.Module
    images: Tensor

    def dense(self) -> "Network":
        """The same network at full width, with fresh weights."""
        return self._replace(model=build(self.name, self.classes, self.images.shape[1]).eval())


def open_network(
    source: str, size: int | None = None, classes: int | None = None, weights: Path | None = None
) -> Network:
    """Open the folder `source` if there is one (or it is written as a path), else the network of that name."""
    folder = Path(source)
    if not folder.is_dir() and len(folder.parts) == 1:
        return open_named(source, size, classes, weights)
    if classes or weights:
        raise PsapError(f"{source}: a saved network has its own classes and weights; leave --classes and --weights out")
    return open_saved(folder, size)


def open_saved(folder: Path, size: int | None = None) -> Network:
    """Load the network saved in `folder`, for square images of `size` pixels or of the size that the folder names.

    Raises PsapError where neither names one, and for whatever `load` refuses.
    """
    described, model = read(folder), load(folder).eval()
    height, width = (size, size) if size else _image_size(folder, described.extra)
    images = torch.zeros(1, described.in_channels, height, width)
    return Network(described.name, described.classes, model, images)


def open_named(name: str, size: int | None = None, classes: int | None = None, weights: Path | None = None) -> Network:
    """Build the network `name` with fresh weights, or with those of the file `weights`.

    Square images of `size` pixels and `classes` classes: if not given, 32 and 10 for our own networks, 224 and 1000 for
    those of timm and torchvision. Raises PsapError for an unknown name, or a file that does not fit.
    """
    library, _ = split(name)
    usual_size, usual_classes = (224, 1000) if library else (32, 10)
    size, classes = size or usual_size, classes or usual_classes
    model = build(name, classes)
    if weights:
        fill(model, read_tensors(weights), f"{name} with {classes} classes", weights)
    return Network(name, classes, model.eval(), torch.zeros(1, 3, size, size))


def _image_size(folder: Path, extra: JsonObject) -> tuple[int, int]:
    match extra.get(IMAGE_SIZE):
        case [int(height), int(width)] if height > 0 and width > 0:
            return height, width
        case None:
            raise PsapError(f"{folder / DESCRIPTION}: does not say the size of the images; give it with --size")
        case other:
            raise PsapError(f"{folder / DESCRIPTION}: extra.{IMAGE_SIZE} is {other!r}, not [height, width] in pixels")
