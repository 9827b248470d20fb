"""What can be counted of a suite before anything is run: its images, and the multiply-adds of its networks."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, Field

from psap.data.schema import Data
from psap.data.sources import find_folder
from psap.errors import PsapError
from psap.suites.paths import data_file
from psap.utils.bounds import Count
from psap.utils.validation import read_json

Shape = tuple[int, int, int]


class Images(NamedTuple):
    """Shape (C, H, W) of an image as the network sees it, classes, and the images of both splits."""

    shape: Shape
    classes: int
    train: int
    test: int


class Network(NamedTuple):
    """Multiply-adds of one image's forward pass, parameters, and how many numbers its layers put out on the way.

    `layers` are the names of all that has tensors of its own.
    """

    macs: int
    params: int
    outputs: int
    layers: tuple[str, ...]


class _Counts(BaseModel):
    """What a prepared data set's description tells of that; psap.data.prepared has all of it, and imports more."""

    image_shape: tuple[Count, Count, Count] | tuple[()]
    classes: list[str]
    counts: dict[Literal["train", "test"], dict[str, Annotated[int, Field(ge=0)]]] = Field(min_length=2)


# The sets that are the same everywhere.
_KNOWN = {
    "digits": Images((1, 8, 8), 10, 1347, 450),
    "cifar10": Images((3, 32, 32), 10, 50_000, 10_000),
    "imagenet": Images((3, 224, 224), 1000, 1_281_167, 50_000),
}


def images_of(data: Data) -> Images:
    """The images of `data`: as they were prepared, else as the folder has them, else as they are known to be.

    Of a folder that is not here nothing is known: it counts as CIFAR-10. Raises PsapError for a damaged manifest.
    """
    manifest = data_file(data).with_suffix(".json")
    if manifest.exists():
        found = _prepared(manifest)
    elif data.source == "folder" and (counted := _in_folder(data)):
        found = counted
    else:
        found = _KNOWN.get(data.source, _KNOWN["cifar10"])
        if data.classes:  # some of ImageNet's, all about as large; networks know all of them
            part = data.classes / found.classes
            found = found._replace(train=round(part * found.train), test=round(part * found.test))
    return found._replace(shape=(3, data.photos.size, data.photos.size)) if data.photos else found


def _prepared(manifest: Path) -> Images:
    told = read_json(manifest, _Counts, "prepare the data set again")
    height, width, channels = told.image_shape or (0, 0, 3)  # photographs have no common size
    train, test = (sum(told.counts[split].values()) for split in ("train", "test"))
    return Images((channels, height, width), len(told.classes), train, test)


def _in_folder(data: Data) -> Images | None:
    """Counts every file, and opens one unless they are photographs; None where the folder is not as it should be."""
    from psap.data.decoding import opened, upright
    from psap.data.images import scan

    try:
        splits = scan(find_folder("folder", data.path) or Path())
    except PsapError:
        return None
    train, test = (sum(map(len, classes.values())) for classes in splits)
    width = height = 0  # photographs have no common size
    if not data.photos:
        with opened(next(iter(splits[0].values()))[0]) as image:
            width, height = upright(image).size
    return Images((3, height, width), len(splits[0]), train, test)


@cache
def count(model: str, classes: int, shape: Shape) -> Network:
    """Count the network `model` for images of `shape` (C, H, W): nothing is computed, no weight has memory.

    Raises PsapError where the network does not take such images.
    """
    import torch

    from psap.models import build
    from psap.pruning.cost import count_macs, count_params

    outputs = 0

    def note(layer: Any, inputs: Any, output: Any) -> None:
        nonlocal outputs
        outputs += output.numel() if isinstance(output, torch.Tensor) else 0

    try:
        with torch.device("meta"):
            network = build(model, classes, shape[0])
            for layer in network.modules():
                if next(layer.children(), None) is None:
                    layer.register_forward_hook(note)
            macs = count_macs(network, torch.empty(1, *shape))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        size = " x ".join(map(str, shape))
        raise PsapError(f"model {model!r} does not take images of {size} (channels, height, width): {reason}") from None
    layers = dict.fromkeys(name.rpartition(".")[0] for name in network.state_dict())
    return Network(macs, count_params(network), outputs, tuple(layers))


@cache
def launches_of_a_step(model: str, classes: int, shape: Shape) -> int:
    """Kernels that a GPU launches at least for a forward and a backward pass of `model` on images of `shape` (C, H, W).

    0 where that cannot be told without computing.
    """
    import torch

    from psap.models import build
    from psap.utils.launches import launches

    with torch.device("meta"):
        network, images = build(model, classes, shape[0]), torch.empty(2, *shape)
        try:
            return launches(lambda: network(images).square().mean().backward())
        except (NotImplementedError, RuntimeError):
            return 0
