"""The network that `psap prune` starts from: fresh, or with weights that were given, whose head may be for others."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from psap.errors import PsapError
from psap.models import build
from psap.models import saved as architecture
from psap.models.state_dicts import fill, misfit, read
from psap.standalone.request import PruneRequest
from psap.utils.files import reading


class Start(NamedTuple):
    """`fits`: whether weights were given and all of them are for these classes; `description`: where they come from."""

    model: nn.Module
    fits: bool
    description: str


def initial_model(request: PruneRequest, classes: int, channels: int) -> Start:
    """The request's network for `classes` classes, with its weights. Raises PsapError where they are another's."""
    torch.manual_seed(request.seed)
    if request.weights is None:
        return Start(build(request.model, classes, channels), False, "fresh: it is trained from nothing")
    source = Path(request.weights)
    with reading(source):
        saved = source.is_dir()
    if saved:
        found = architecture.read(source)
        if (found.classes, found.in_channels) != (classes, channels):
            raise PsapError(
                f"{source}: for {found.classes} classes and {found.in_channels} colour channels; the data have "
                f"{classes} and {channels}"
            )
        return Start(architecture.load(source, expect_name=request.model), True, str(source))
    model, tensors = build(request.model, classes, channels), read(source)
    head = _head(request, classes, channels)
    others = {key: tensor for key, tensor in tensors.items() if key not in head}
    if misfit(model, tensors) and not misfit(model, others | head):
        fill(model, others | head, request.model, source)
        return Start(model, False, f"{source}, but for the head, which is new")
    fill(model, tensors, f"{request.model} with {classes} classes", source)
    return Start(model, True, str(source))


def _head(request: PruneRequest, classes: int, channels: int) -> dict[str, torch.Tensor]:
    """The fresh tensors whose shapes depend on the number of classes."""
    more = build(request.model, classes + 1, channels).state_dict()
    fresh = build(request.model, classes, channels).state_dict()
    return {key: tensor for key, tensor in fresh.items() if tensor.shape != more[key].shape}
