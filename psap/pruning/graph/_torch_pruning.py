"""Walks through torch-pruning's dependency graph, which find channels that go together: repaired, fast, with an end."""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from torch import nn


def _torch_pruning() -> Any:
    """Import torch-pruning as on a machine without timm: its operation counter, which is not used here, would
    import all of timm and torchvision into every process, which takes longer than everything else together."""
    hidden = {"timm": None} if "timm" not in sys.modules else {}
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        import torch_pruning
    finally:
        for name in hidden:
            del sys.modules[name]
    return torch_pruning


tp = _torch_pruning()
_mappings = tp.dependency.index_mapping


class Astray(Exception):
    """The indices of a group go round without end, or past the sizes of a split or an expansion."""


class _Budget:
    """What a walk through the graph may still do: torch-pruning reads the reshapes and splits of an attention as
    flattenings and splits of channels, and would follow them round and round."""

    left = math.inf  # a user's own walks are not ours to cut

    @classmethod
    def spend(cls, amount: int) -> None:
        cls.left -= amount
        if cls.left < 0:
            raise Astray


@contextmanager
def _budgeted() -> Iterator[None]:
    _Budget.left = _MOST_INDICES
    try:
        yield
    finally:
        _Budget.left = math.inf


def _bounded(mapping: Any, price: int) -> Any:
    """The class `mapping` of torch-pruning, on a budget: `price` for each index, those that a flattening adds too."""

    class Bounded(mapping):  # type: ignore[misc]
        def __call__(self, idxs: list[Any]) -> list[Any]:
            _Budget.spend(price * len(idxs) * (1 if self.reverse else getattr(self, "_stride", 1)))
            try:
                mapped: list[Any] = super().__call__(idxs)
            except (IndexError, ZeroDivisionError):
                raise Astray from None
            return mapped

    return Bounded


# VGG's 25,088 inputs, flattened a few times, and DenseNet's hundreds of concatenations are the most that end.
_MOST_INDICES = 2**22
_ITEM = 64  # indices that an item of a group costs as much as
_PRICES = {"_FlattenIndexMapping": 8, "_SplitIndexMapping": 4, "_ConcatIndexMapping": 1, "_GQAIndexMapping": 1}
for _name, _price in _PRICES.items():
    setattr(_mappings, _name, _bounded(getattr(_mappings, _name), _price))


class _IndexedGroup(tp.dependency.group.Group):  # type: ignore[misc,name-defined]
    """torch-pruning's group, which looks through all that it has for each of its tens of thousands of additions."""

    def __init__(self) -> None:
        super().__init__()
        self._known: set[tuple[Any, Any, tuple[Any, ...]]] = set()

    def add_dep(self, dep: Any, idxs: list[Any]) -> None:
        _Budget.spend(_ITEM)
        self._known.add((dep.target, dep.handler, tuple(idxs)))
        super().add_dep(dep, idxs)

    def has_pruning_op(self, dep: Any, idxs: list[Any]) -> bool:
        return (dep.target, dep.handler, tuple(idxs)) in self._known


tp.dependency.graph.Group = _IndexedGroup


def _lenient(update: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    """`update` of torch-pruning, which adds up and divides sizes before it asks whether it could find them; without,
    nothing is mapped (and the trial has the last word: psap.pruning.graph.verify)."""

    def tried(graph: Any, node: Any) -> None:
        with suppress(TypeError, ZeroDivisionError):
            update(graph, node)

    return tried


for _name in ("update_concat_index_mapping", "update_reshape_index_mapping"):
    setattr(_mappings, _name, _lenient(getattr(_mappings, _name)))


@_budgeted()
def pruning_group(graph: Any, layer: nn.Module, outputs: list[int]) -> Any:
    """torch-pruning's group of some of the outputs of `layer`. Raises Astray where there is none."""
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, outputs)


@_budgeted()
def reached(node: Any, handler: Any, indices: list[Any]) -> dict[tuple[Any, Any], list[list[Any]]]:
    """What removing `indices` of `node` by `handler` leads to: all lists of indices, by node and handler.

    torch-pruning's own walk keeps of several roots that reach one index only the first. Raises Astray as it does.
    """
    found: dict[tuple[Any, Any], list[list[Any]]] = {(node, handler): [indices]}
    stack = [(node, handler, indices)]
    while stack:
        node, handler, indices = stack.pop()
        for dependency in node.dependencies:
            if not dependency.is_triggered_by(handler):
                continue
            there = indices
            for mapping in filter(None, dependency.index_mapping):
                there = mapping(there)
            lists = found.setdefault((dependency.target, dependency.handler), [])
            if there and there not in lists:
                lists.append(there)
                stack.append((dependency.target, dependency.handler, there))
    return found
