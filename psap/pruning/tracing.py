"""torch-pruning's dependency graph (Fang et al., arXiv:2301.12900), told what it does not know of networks."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from psap.errors import PsapError
from psap.pruning.shortcut import PadShortcut


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

    left = 0

    @classmethod
    def spend(cls, amount: int) -> None:
        cls.left -= amount
        if cls.left < 0:
            raise Astray


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
    nothing is mapped (and the trial has the last word: psap.pruning.trial)."""

    def tried(graph: Any, node: Any) -> None:
        with suppress(TypeError, ZeroDivisionError):
            update(graph, node)

    return tried


for _name in ("update_concat_index_mapping", "update_reshape_index_mapping"):
    setattr(_mappings, _name, _lenient(getattr(_mappings, _name)))


def pruning_group(graph: Any, layer: nn.Module, outputs: list[int]) -> Any:
    """torch-pruning's group of some of the outputs of `layer`. Raises Astray where there is none."""
    _Budget.left = _MOST_INDICES
    return graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, outputs)


def reached(node: Any, handler: Any, indices: list[Any]) -> dict[tuple[Any, Any], list[list[Any]]]:
    """What removing `indices` of `node` by `handler` leads to: all lists of indices, by node and handler.

    torch-pruning's own walk keeps of several roots that reach one index only the first. Raises Astray as it does.
    """
    _Budget.left = _MOST_INDICES
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


class _ShortcutPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc,name-defined]
    """Teaches torch-pruning that the two sides of a padded shortcut are independent."""

    def prune_out_channels(self, layer: PadShortcut, idxs: list[int]) -> PadShortcut:
        layer.remove_outputs(idxs)
        return layer

    def prune_in_channels(self, layer: PadShortcut, idxs: list[int]) -> PadShortcut:
        layer.remove_inputs(idxs)
        return layer

    def get_out_channels(self, layer: PadShortcut) -> int:
        return layer.out_channels

    def get_in_channels(self, layer: PadShortcut) -> int:
        return layer.in_channels


def dependency_graph(model: nn.Module, example_inputs: Any) -> Any:
    """Trace `model` on `example_inputs` (a tensor, or a tuple of arguments); its mode and flags stay as they were.

    Raises PsapError when the network cannot be traced.
    """
    graph = tp.DependencyGraph()
    with _traceable(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(
                model, example_inputs, customized_pruners={PadShortcut: _ShortcutPruner()}, verbose=False
            )
        except Exception as error:
            raise PsapError(
                f"{type(model).__name__} cannot be traced for pruning on the example input: {error}; "
                "pass example_inputs of the shape that the network takes"
            ) from error
        _split_last_dimensions(graph)
    return graph


def _split_last_dimensions(graph: Any) -> None:
    """Let splits of what a linear layer makes be splits of channels, which lie in the last dimension there.

    torch-pruning looks for them in dimension 1, and nowhere behind a class token; gated transformers have them.
    """
    for node in graph.module2node.values():
        sizes = getattr(node.grad_fn, "_saved_self_sym_sizes", ())
        linear = any(isinstance(source.module, nn.Linear) for source in node.inputs)
        if node.type == tp.ops.OPTYPE.SPLIT and linear and node.grad_fn._saved_dim in (len(sizes) - 1, 2**64 - 1):
            node.grad_fn = None  # which tells the dimension; without it, it is taken for that of the channels
            node.enable_index_mapping = True
    _mappings.update_index_mapping(graph)


@contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """Autograd on, every parameter trainable (a frozen one would hide its layer), eval mode; all undone at the end."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        model.train()  # some networks keep what they computed in eval mode until then: here with gradients
        for module, mode in modes:
            module.training = mode
