"""The network that `psap prune` starts from: fresh, or with weights that were given, whose head may be for others."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from psap.errors import PsapError
from psap.models import build
from psap.models import saved as architecture
from psap.models.published_weights import tensors_of
from psap.models.state_dicts import fill, misfit, named_alike, read
from psap.standalone.request import PUBLISHED, Order
from psap.utils.files import reading


class Start(NamedTuple):
    """`fits`: whether weights were given and all of them are for these classes; `told`: where they come from."""

    model: nn.Module
    fits: bool
    told: str


def starting(order: Order, classes: int, channels: int) -> Start:
    """Build the order's network for `classes` classes, with its weights. Raises PsapError where they are another's."""
    torch.manual_seed(order.seed)
    if order.weights is None:
        return Start(build(order.model, classes, channels), False, "fresh: it is trained from nothing")
    source = Path(order.weights)
    with reading(source):
        saved = source.is_dir() and order.weights != PUBLISHED
    if saved:
        return Start(_saved(order, source, classes, channels), True, str(source))
    model = build(order.model, classes, channels)
    tensors, origin = tensors_of(order.model) if order.weights == PUBLISHED else (read(source), str(source))
    tensors = named_alike(model, tensors, origin)
    head = _head(order, classes, channels)
    others = {key: tensor for key, tensor in tensors.items() if key not in head}
    if misfit(model, tensors) and not misfit(model, others | head):
        fill(model, others | head, order.model, origin)
        return Start(model, False, f"{origin}, but for the head, which is new")
    fill(model, tensors, f"{order.model} with {classes} classes", origin)
    return Start(model, True, origin)


def _saved(order: Order, folder: Path, classes: int, channels: int) -> nn.Module:
    model, found = architecture.load(folder, expect_name=order.model), architecture.read(folder)
    if (found.classes, found.in_channels) != (classes, channels):
        raise PsapError(
            f"{folder}: for {found.classes} classes and {found.in_channels} colour channels; the data have {classes} "
            f"and {channels}"
        )
    return model


def _head(order: Order, classes: int, channels: int) -> dict[str, torch.Tensor]:
    """The fresh tensors whose shapes depend on the number of classes."""
    more = build(order.model, classes + 1, channels).state_dict()
    fresh = build(order.model, classes, channels).state_dict()
    return {key: tensor for key, tensor in fresh.items() if tensor.shape != more[key].shape}
