"""Remove pruned channels for good: a smaller ordinary network with the same outputs."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.channels import zero
from psap.pruning.cost import forward
from psap.pruning.discover import dependency_graph, find_groups
from psap.pruning.groups import Group


def compact(model: nn.Module, example_inputs: Any, groups: Sequence[Group], masks: Sequence[Tensor]) -> nn.Module:
    """A copy of `model` without the channels in `masks[g]` (bool, (C_g,)) of each group; `model` is left alone.

    The channels should be zero in `model` (see `difference`). Parameters of the copy are new, so an optimiser has to be
    made anew for it.
    """
    small = copy.deepcopy(model)
    for parameter in small.parameters():
        parameter.grad = None
    graph = dependency_graph(small, example_inputs)
    modules = dict(small.named_modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group, mask in zip(groups, masks, strict=True):
            removed = group.root.positions(mask).tolist()
            if removed:
                layer = modules[group.root.name]
                prune = graph.get_pruner_of_module(layer).prune_out_channels
                graph.get_pruning_group(layer, prune, removed).prune()
    return small


def difference(model: nn.Module, small: nn.Module, example_inputs: Any) -> float:
    """Largest difference of the two networks' outputs in eval mode, relative to the largest output of `model`.

    Computed in float64, where no choice of kernel can hide or feign a difference. Raises PsapError when it is more than
    rounding explains: then the compacted network is another one.
    """
    inputs = _doubled(example_inputs)
    exact = [copy.deepcopy(network).double().eval() for network in (model, small)]
    with torch.no_grad():
        expected, found = (_outputs(forward(network, inputs)) for network in exact)
    gap = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    relative = gap / max(float(a.abs().max()) for a in expected) if gap else 0.0
    if not relative <= _TOLERANCE:
        raise PsapError(
            f"{type(model).__name__} cannot be compacted: without its pruned channels its outputs differ by "
            f"{relative:.1e} of their size; the network does something with channels that the groups do not show"
        )
    return relative


_TOLERANCE = 1e-9


def check_compactable(model: nn.Module, example_inputs: Any) -> None:
    """Try on a copy that the first channel of every group can be removed; PsapError, before any training, if not."""
    trial = copy.deepcopy(model)
    groups = [group for group in find_groups(trial, example_inputs) if not group.reason]
    masks = [torch.arange(group.channels) == 0 for group in groups]
    for group, mask in zip(groups, masks, strict=True):
        zero(group.slots, mask)
    difference(trial, compact(trial, example_inputs, groups, masks), example_inputs)


def _doubled(inputs: Any) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.double() if inputs.is_floating_point() else inputs
    return type(inputs)(_doubled(value) for value in inputs)


def _outputs(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return [tensor for value in values for tensor in _outputs(value)]
