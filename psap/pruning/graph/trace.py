"""torch-pruning's dependency graph (Fang et al., arXiv:2301.12900), told what it does not know of networks."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from psap.errors import PsapError, raise_out_of_memory
from psap.layers import HeadAttention, PadShortcut
from psap.pruning.graph._torch_pruning import tp
from psap.pruning.graph.admission import check_inputs, check_network, one_line, traceable
from psap.pruning.graph.attention import attentions
from psap.pruning.graph.heads import AttentionPruner, opaque
from psap.pruning.graph.norms import NormPruner, looks_together
from psap.utils.passes import forward


class _ShortcutPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
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


class _GroupedPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
    """Teaches torch-pruning a grouped convolution that makes as many channels as it reads: whole groups go together.

    As of a depthwise one, inputs and outputs of the same place go together, so that both calls are one.
    """

    def prune_out_channels(self, layer: Any, idxs: list[int]) -> Any:
        size = layer.out_channels // layer.groups
        gone = set(idxs)
        keep = [place for place in range(layer.out_channels) if place not in gone]
        layer.weight = self._prune_parameter_and_grad(layer.weight, keep, 0)
        if layer.bias is not None:
            layer.bias = self._prune_parameter_and_grad(layer.bias, keep, 0)
        layer.in_channels = layer.out_channels = len(keep)
        layer.groups = len(keep) // size
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Any) -> int:
        return int(layer.out_channels)

    get_in_channels = get_out_channels


class _Graph(tp.DependencyGraph):  # type: ignore[misc]
    """torch-pruning's graph, which would prune a grouped convolution as if it were none, and knows some norms only."""

    def get_pruner_of_module(self, module: nn.Module) -> Any:
        if is_grouped(module):
            return self.CUSTOMIZED_PRUNERS[_GroupedPruner]
        if isinstance(module, nn.Module) and looks_together(module):
            return self.CUSTOMIZED_PRUNERS[NormPruner]
        return super().get_pruner_of_module(module)


def is_grouped(module: nn.Module) -> bool:
    """Whether the module is a grouped convolution whose groups can be removed; not a depthwise one."""
    if not isinstance(module, nn.modules.conv._ConvNd):
        return False
    return 1 < module.groups < module.out_channels == module.in_channels


def dependency_graph(model: nn.Module, example_inputs: Any) -> Any:
    """Trace `model` on `example_inputs` (see `passes.forward`); its mode and flags stay as they were.

    Raises PsapError when the network cannot be traced.
    """
    check_network(model)
    check_inputs(example_inputs)
    graph, known = _Graph(), attentions(model)
    # Of an attention of torch that loses heads while the graph is in use, HeadAttention is made.
    kinds: dict[Any, Any] = dict.fromkeys([HeadAttention, *map(type, known)], AttentionPruner())
    norms = [type(norm) for norm in model.modules() if looks_together(norm) and norm not in known]
    kinds |= dict.fromkeys([NormPruner, *norms], NormPruner())
    with _traceable(model), opaque(known), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(
                model,
                example_inputs,
                forward_fn=forward,
                output_transform=traceable,
                customized_pruners={
                    PadShortcut: _ShortcutPruner(),
                    _GroupedPruner: _GroupedPruner(),
                    **kinds,
                },
                verbose=False,
            )
        except PsapError as error:
            raise PsapError(f"{type(model).__name__} cannot be traced for pruning: {error}") from None
        except Exception as error:
            raise_out_of_memory(error)
            raise PsapError(
                f"{type(model).__name__} cannot be traced for pruning on the example input: {one_line(error)}; "
                f"pass example_inputs {_wanted(example_inputs)}"
            ) from error
        _split_last_dimensions(graph)
    return graph


def _wanted(example_inputs: Any) -> str:
    if isinstance(example_inputs, Mapping):
        return "of the names and shapes that the network takes; one that takes a dict itself: (dict,)"
    return "of the shape that the network takes"


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
    tp.dependency.index_mapping.update_index_mapping(graph)


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
