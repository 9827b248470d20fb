"""Remove pruned channels for good: a smaller ordinary network with the same outputs."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.cost import forward
from psap.pruning.groups import Group
from psap.pruning.tracing import dependency_graph
from psap.pruning.walks import pruning_group

TOLERANCE = 1e-9  # of the largest output, in float64


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
                pruning_group(graph, modules[group.root.name], removed).prune()
    return small


def difference(model: nn.Module, small: nn.Module, example_inputs: Any) -> float:
    """Largest difference of the two networks' outputs in eval mode, relative to the largest output of `model`.

    Computed in float64, where no choice of kernel can hide or feign a difference. Raises PsapError when it is more than
    rounding explains: then the compacted network is another one.
    """
    masked, compacted = (copy.deepcopy(network).double().eval() for network in (model, small))
    relative = gap(masked, compacted, doubled(example_inputs))
    if not relative <= TOLERANCE:
        raise PsapError(
            f"{type(model).__name__} cannot be compacted: without its pruned channels its outputs differ by "
            f"{relative:.1e} of their size; the network does something with channels that the groups do not show"
        )
    return relative


@torch.no_grad()
def gap(model: nn.Module, small: nn.Module, inputs: Any) -> float:
    """Largest difference of the two networks' outputs as they are, relative to the largest output of `model`."""
    expected, found = (_outputs(forward(network, inputs)) for network in (model, small))
    largest = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    return largest / max(float(a.abs().max()) for a in expected) if largest else 0.0


def doubled(inputs: Any) -> Any:
    """Example inputs (a tensor or a tuple of arguments) in float64."""
    if isinstance(inputs, Tensor):
        return inputs.double() if inputs.is_floating_point() else inputs
    return type(inputs)(doubled(value) for value in inputs)


def _outputs(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return [tensor for value in values for tensor in _outputs(value)]
