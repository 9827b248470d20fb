"""Remove pruned channels for good: a smaller ordinary network with the same outputs."""

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from psap.errors import PsapError, raise_out_of_memory
from psap.pruning.graph.groups import Group
from psap.pruning.graph.stream import unmask_norms
from psap.pruning.graph.trace import dependency_graph
from psap.pruning.witness import unwatch
from psap.utils.passes import doubled, forward, gap, tensors

TOLERANCE = 1e-9  # of the largest output, in float64


def compact(model: nn.Module, example_inputs: Any, groups: Sequence[Group], masks: Sequence[Tensor]) -> nn.Module:
    """Copy a network without some of its channels; the network itself is left alone.

    Args:
        model: The network. The channels should be zero in it (see `difference`).
        example_inputs: A batch of the shape that it takes, as for `Pruner`.
        groups: Its groups.
        masks: For each group, which channels to remove: bool, (C_g,).

    Returns:
        The smaller network. Its parameters are new, so an optimiser has to be made for it.
    """
    small = copy.deepcopy(model)
    unwatch(small)
    unmask_norms(small)
    for parameter in small.parameters():
        parameter.grad = None
    graph = dependency_graph(small, example_inputs)
    own = [group.within(small) for group in groups]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for group, mask in zip(own, masks, strict=True):
            group.remove(graph, mask)
    return small


def difference(model: nn.Module, small: nn.Module, example_inputs: Any, others: Iterable[Any] = ()) -> float:
    """Largest difference of the two networks' outputs in eval mode, relative to the largest output of `model`.

    On the example; `others` are inputs on which they must be equal too, so far as `model` takes them. Computed in
    float64, where no choice of kernel can hide or feign a difference. Raises PsapError when it is more than rounding
    explains: then the compacted network is another one.
    """
    pair = Pair(*(copy.deepcopy(network).double().eval() for network in (model, small)))
    relative = pair.gap(example_inputs)
    if not relative <= TOLERANCE:
        raise _another(model, relative, "the network does something with channels that the groups do not show")
    for inputs in others:
        if not (found := pair.gap_elsewhere(inputs)) <= TOLERANCE:
            raise _another(model, found, _BRANCHES)
    return relative


_BRANCHES = "it does so on inputs of other values than the example's: its forward pass branches on its input"


def _another(model: nn.Module, relative: float, why: str) -> PsapError:
    size = f"by {relative:.1e} of their size" if math.isfinite(relative) else "in shape, or are none"
    return PsapError(
        f"{type(model).__name__} cannot be compacted: without its pruned channels its outputs differ {size}; {why}"
    )


class Pair(NamedTuple):
    """A network and a smaller one, both in float64 and eval mode, that should compute the same."""

    model: nn.Module
    small: nn.Module

    @torch.no_grad()
    def gap(self, inputs: Any) -> float:
        """Their largest difference, relative to the largest output of `model`; infinite where shapes differ."""
        call = doubled(inputs)
        return self._gap(tensors(forward(self.model, call)), call)

    def _gap(self, expected: list[Tensor], call: Any) -> float:
        found = tensors(forward(self.small, call))
        if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
            return math.inf
        return gap(expected, found)

    @torch.no_grad()
    def gap_elsewhere(self, inputs: Any) -> float:
        """The same for inputs that `model` may not take (then 0); infinite where only `small` does not take them."""
        call = doubled(inputs)
        try:
            expected = tensors(forward(self.model, call))
        except Exception as error:  # whatever a network says to values that it is not for
            raise_out_of_memory(error)
            return 0.0
        if not all(bool(tensor.isfinite().all()) for tensor in expected):
            return 0.0
        try:
            return self._gap(expected, call)
        except Exception as error:
            raise_out_of_memory(error)
            return math.inf
