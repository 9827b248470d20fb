"""Fresh weights for a network of any widths: how a compacted architecture starts when it is trained from scratch."""

import math

import torch
from torch import nn

from psap.errors import PsapError


@torch.no_grad()
def initialise(model: nn.Module) -> None:
    """Re-initialise every parameter and batch-norm buffer of `model` in place, from torch's global generator.

    Convolutions: Kaiming normal by fan-out (He et al., arXiv:1502.01852, the initialisation of the CIFAR networks
    of arXiv:1512.03385), bias 0; batch-norm: scale 1, shift 0, running mean 0 and variance 1; linear and other
    layers: torch's own default. A shortcut's wiring (PadShortcut) is architecture and stays. Raises PsapError for
    a layer with parameters of its own and no known default.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            _initialise_conv(module)
        elif callable(reset := getattr(module, "reset_parameters", None)):
            reset()
        elif any(True for _ in module.parameters(recurse=False)):
            raise PsapError(f"cannot initialise layer {name!r}: {type(module).__name__} has no known default")


def _initialise_conv(conv: nn.Conv2d) -> None:
    # Per group: a depthwise channel feeds one output map, where torch's own fan-out would count all of them.
    fan_out = conv.weight.shape[0] // conv.groups * math.prod(conv.kernel_size)
    nn.init.normal_(conv.weight, 0.0, math.sqrt(2.0 / fan_out))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
