"""The network that `psap prune` starts from: fresh, or with weights that were given, whose head may be for others."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from psap.errors import PsapError
from psap.models import architecture, build, saved
from psap.models.published_weights import tensors_of
from psap.models.state_dicts import fill, misfit, named_alike, read
from psap.standalone.request import PUBLISHED, PruneRequest
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
        saved = source.is_dir() and request.weights != PUBLISHED
    if saved:
        return Start(_saved(request, source, classes, channels), True, str(source))
    model = build(request.model, classes, channels)
    tensors, origin = tensors_of(request.model) if request.weights == PUBLISHED else (read(source), str(source))
    tensors = named_alike(model, tensors, origin)
    head = _head(request, classes, channels)
    others = {key: tensor for key, tensor in tensors.items() if key not in head}
    if misfit(model, tensors) and not misfit(model, others | head):
        fill(model, others | head, request.model, origin)
        return Start(model, False, f"{origin}, but for the head, which is new")
    fill(model, tensors, f"{request.model} with {classes} classes", origin)
    return Start(model, True, origin)


def _saved(request: PruneRequest, folder: Path, classes: int, channels: int) -> nn.Module:
    model, found = saved.load(folder, expect_name=request.model), architecture.read(folder)
    if (found.classes, found.in_channels) != (classes, channels):
        raise PsapError(
            f"{folder}: for {found.classes} classes and {found.in_channels} colour channels; the data have {classes} "
            f"and {channels}"
        )
    return model


def _head(request: PruneRequest, classes: int, channels: int) -> dict[str, torch.Tensor]:
    """The fresh tensors whose shapes depend on the number of classes."""
    more = build(request.model, classes + 1, channels).state_dict()
    fresh = build(request.model, classes, channels).state_dict()
    return {key: tensor for key, tensor in fresh.items() if tensor.shape != more[key].shape}
