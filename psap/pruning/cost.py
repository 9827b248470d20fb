"""Multiply-adds and parameters of a network as a function of what is kept of each group.

A layer's cost is (places it is applied at) x (taps of its kernel) x (inputs kept) x (outputs kept). What an attention
does between its projections, queries by keys and weights by values, costs the same for each head: it is a layer of its
own here, whose outputs are the heads. Which channels go first is fixed by an order for each group, so a pruning is just
one count for each group and costs nothing to evaluate: that is what lets the budget solver try hundreds of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.graph.groups import Group
from psap.pruning.graph.heads import HeadGroup
from psap.pruning.graph.members import Table
from psap.pruning.graph.norms import looks_together
from psap.pruning.multiply_adds import FlopCounter
from psap.pruning.places import Run, observe
from psap.utils.bounds import Measure
from psap.utils.passes import evaluating, forward

_CONV = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd


def count_macs(model: nn.Module, example_inputs: Any) -> int:
    """Multiply-adds of one forward pass on `example_inputs`, by PyTorch's own formulas (which count two for each).

    Of convolutions and matrix products, whatever kernel does them: of an attention those of its projections, and both
    that no layer shows, queries by keys and weights by values; of a recurrent layer all of its steps.
    """
    counter = FlopCounter()  # type: ignore[no-untyped-call]
    with evaluating(model), counter:
        forward(model, example_inputs)
    return counter.flops // 2


def count_params(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def check_as_planned(small: nn.Module, example_inputs: Any, planned: tuple[int, int]) -> None:
    """Raise PsapError unless the compacted network has the multiply-adds and parameters that were `planned`."""
    found = (count_macs(small, example_inputs), count_params(small))
    if planned != found:
        raise PsapError(
            f"{type(small).__name__} cannot be compacted: {planned[0]} multiply-adds and {planned[1]} parameters were "
            f"planned, {found[0]} and {found[1]} are there; please report this network"
        )


@dataclass(frozen=True)
class _Layer:
    uses: int | Fraction  # multiply-adds for each pair of an input and an output: places x taps
    taps: int  # parameters for each such pair
    inputs: int
    outputs: int
    per_output: int  # parameters that each output has beside the kernel (bias, gain; scale and shift of a norm)

    def macs(self, inputs: int, outputs: int) -> int:
        """Multiply-adds with so many inputs and outputs."""
        return int(self.uses * inputs * outputs)


@dataclass(frozen=True)
class _Touch:
    """Group `group` owns `per_channel[c]` outputs (or inputs) of layer `layer` for its channel c."""

    layer: int
    is_out: bool
    group: int
    per_channel: Tensor


class CostModel:
    """Cost of a network on one example input for any kept counts of its groups; see the module's text."""

    def __init__(self, model: nn.Module, example_inputs: Any, groups: Sequence[Group]) -> None:
        heads = [group for group in groups if isinstance(group, HeadGroup)]
        run = observe(model, example_inputs, [group.root.name for group in heads])
        layers = {name: _layer(m, run.places.get(name, 0)) for name, m in model.named_modules() if _parameters(m)}
        layers |= {m.key: _table(m) for group in groups for m in group.norms if isinstance(m, Table)}
        layers |= {_heads(group): _between(group, layers, run) for group in heads}
        self._names, self._layers = list(layers), list(layers.values())
        self._touches = list(_touches(groups, {name: i for i, name in enumerate(layers)}))
        full_macs, full_params = self._evaluate(np.zeros((2, len(self._layers)), dtype=np.int64))
        # What no convolution, linear layer, norm or attention accounts for (bare parameters) does not shrink.
        self._rest_macs = run.macs - full_macs
        self._rest_params = count_params(model) - full_params
        self.macs, self.params = full_macs + self._rest_macs, full_params + self._rest_params

    def order(self, orders: Sequence[Tensor]) -> "OrderedCost":
        """The cost when each group loses its channels in the order given: `orders[g]` is a permutation of 0..C_g-1."""
        return OrderedCost(self, orders)

    def layer_macs(self) -> dict[str, int]:
        """Multiply-adds of each layer of the whole network (0 for a norm), by its name."""
        return {
            name: layer.macs(layer.inputs, layer.outputs) for name, layer in zip(self._names, self._layers, strict=True)
        }

    def _evaluate(self, removed: np.ndarray[Any, Any]) -> tuple[int, int]:
        macs = params = 0
        for i, layer in enumerate(self._layers):
            outputs, inputs = layer.outputs - int(removed[1, i]), layer.inputs - int(removed[0, i])
            macs += layer.macs(inputs, outputs)
            params += outputs * (layer.taps * inputs + layer.per_output)
        return macs, params


class OrderedCost:
    """`CostModel` with the order fixed in which each group loses channels."""

    def __init__(self, model: CostModel, orders: Sequence[Tensor]) -> None:
        self._model = model
        self._lost = [
            (
                int(touch.is_out),
                touch.layer,
                touch.group,
                _running_total(touch.per_channel[orders[touch.group]]),
            )
            for touch in model._touches
        ]

    def __call__(self, pruned: Sequence[int]) -> tuple[int, int]:
        """Multiply-adds and parameters left when group g has lost the first `pruned[g]` channels of its order."""
        removed = np.zeros((2, len(self._model._layers)), dtype=np.int64)
        for is_out, layer, group, lost in self._lost:
            removed[is_out, layer] += lost[pruned[group]]
        macs, params = self._model._evaluate(removed)
        return macs + self._model._rest_macs, params + self._model._rest_params

    def reduction(self, pruned: Sequence[int], measure: Measure) -> float:
        """Share of multiply-adds or parameters removed, in [0, 1)."""
        macs, params = self(pruned)
        return 1 - macs / self._model.macs if measure == "macs" else 1 - params / self._model.params


def _running_total(per_channel: Tensor) -> list[int]:
    return [0, *per_channel.cumsum(0).tolist()]


def _parameters(module: nn.Module) -> bool:
    kinds = (_CONV, nn.Linear, nn.modules.batchnorm._BatchNorm, nn.PReLU, nn.MultiheadAttention)
    return (isinstance(module, kinds) or looks_together(module)) and any(True for _ in module.parameters(recurse=False))


def _layer(module: Any, places: int | Fraction) -> _Layer:
    """A depthwise layer has one input for each output, whatever is removed."""
    if isinstance(module, nn.MultiheadAttention):
        weight = module.in_proj_weight if module.in_proj_weight is not None else module.q_proj_weight
        return _Layer(places, 1, weight.shape[1], weight.shape[0], int(module.in_proj_bias is not None))
    if isinstance(module, (_CONV, nn.Linear)):
        outputs, inputs = module.weight.shape[:2]
        if isinstance(module, _TRANSPOSED) and module.groups == 1:
            outputs, inputs = inputs, outputs
        taps = module.weight[0, 0].numel()
        each = sum(isinstance(getattr(module, name, None), nn.Parameter) for name in ("bias", "gain"))
        return _Layer(places * taps, taps, inputs, outputs, each)
    tensors = list(module.parameters(recurse=False))
    return _Layer(0, 0, 0, tensors[0].numel(), len(tensors))


def _table(member: Table) -> _Layer:
    tensor = getattr(member.module, member.attribute)
    outputs = tensor.shape[member.dim]
    return _Layer(0, 0, 0, outputs, tensor.numel() // outputs if isinstance(tensor, nn.Parameter) else 0)


def _heads(group: HeadGroup) -> str:
    """The name of what an attention does between its projections."""
    return f"{group.root.name} (heads)"


def _between(group: HeadGroup, layers: dict[str, _Layer], run: Run) -> _Layer:
    projections = [layers[member.key] for member in (*group.producers, *group.consumers)]
    rest = run.inside[group.root.name] - sum(layer.macs(layer.inputs, layer.outputs) for layer in projections)
    return _Layer(Fraction(rest, group.channels), 0, 1, group.channels, 0)


def _touches(groups: Sequence[Group], index: dict[str, int]) -> Iterator[_Touch]:
    for g, group in enumerate(groups):
        heads = [(_heads(group), group.root)] if isinstance(group, HeadGroup) else []
        outputs = [*((member.key, member) for member in (*group.producers, *group.norms)), *heads]
        inputs = [(member.key, member) for member in group.consumers]
        for is_out, members in ((True, outputs), (False, inputs)):
            for key, member in members:
                if key in index:
                    yield _Touch(index[key], is_out, g, member.per_channel(group.channels))
