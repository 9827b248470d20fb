"""The standard networks, and any classification network of timm or torchvision, by name.

Importing this package imports neither torch nor a library of networks; building one does.
"""

from typing import TYPE_CHECKING, Any

from psap.errors import PsapError
from psap.models.names import check_name, split

if TYPE_CHECKING:
    from torch import nn

    from psap.models.init import initialise

__all__ = ["build", "check_name", "initialise"]

# Their training output is a tuple with auxiliary heads, which no loss of ours expects.
_WITHOUT_AUXILIARY = {"googlenet", "inception_v3"}


def __getattr__(name: str) -> Any:
    """Import torch only when something of it is asked for."""
    if name != "initialise":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from psap.models.init import initialise

    return initialise


def build(name: str, classes: int, in_channels: int = 3) -> "nn.Module":
    """Build a network with fresh weights (never pretrained ones).

    Args:
        name: `resnet{8,20,32,56,110}` (shortcut option A), the same with `_b` (option B), `vgg16_bn`,
            `vgg11_bn_quarter` (a quarter of its channels), `timm:<name>` or `torchvision:<name>`.
        classes: Number of classes.
        in_channels: Channels of an image.

    Returns:
        A network from images (N, in_channels, H, W) to scores (N, classes).

    Raises:
        PsapError: For an unknown name, and for a torchvision network of other than 3 input channels.
    """
    check_name(name)
    library, entry = split(name)
    if library == "timm":
        import timm

        model: nn.Module = timm.create_model(entry, num_classes=classes, in_chans=in_channels)
        return model
    if library == "torchvision":
        return _torchvision(entry, classes, in_channels)
    if entry.startswith("vgg"):
        from psap.models.vgg import VGG

        return VGG(entry, classes, in_channels)
    from psap.models.cifar_resnet import CifarResNet

    depth = int(entry.removeprefix("resnet").removesuffix("_b"))
    return CifarResNet(depth, "B" if entry.endswith("_b") else "A", classes, in_channels)


def _torchvision(entry: str, classes: int, in_channels: int) -> "nn.Module":
    from torchvision import models

    if in_channels != 3:
        raise PsapError(f"torchvision:{entry} takes 3 input channels, not {in_channels}; use a timm network")
    options: dict[str, Any] = {"num_classes": classes}
    if entry in _WITHOUT_AUXILIARY:
        options |= {"aux_logits": False, "init_weights": True}
    model: nn.Module = models.get_model(entry, weights=None, **options)
    return model
