"""Remove pruned channels for good: a smaller ordinary network with the same outputs."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.cost import evaluating, forward
from psap.pruning.discover import dependency_graph
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

    Raises PsapError when it is more than rounding explains: then the compacted network is another one.
    """
    with evaluating(model), evaluating(small):
        expected, found = _outputs(forward(model, example_inputs)), _outputs(forward(small, example_inputs))
    gap = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    relative = gap / max(float(a.abs().max()) for a in expected) if gap else 0.0
    if not relative <= _TOLERANCE[expected[0].dtype]:
        raise PsapError(
            f"{type(model).__name__} cannot be compacted: without its pruned channels its outputs differ by "
            f"{relative:.1e} of their size; the network does something with channels that the groups do not show"
        )
    return relative


_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.1}


def _outputs(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output
    return [tensor for value in values for tensor in _outputs(value)]
