"""Norms that look at channels together: LayerNorm, RMSNorm, GroupNorm.

Without one of its channels such a norm computes another mean and variance, so that a zeroed channel is not a removed
one. `keep_only` lets it compute what it will compute then: the statistics of the channels that are kept.
"""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from psap.pruning.graph._torch_pruning import tp
from psap.pruning.graph.members import cut


def looks_together(norm: Any) -> bool:
    """Whether a module is such a norm, of a kind that is known."""
    if isinstance(norm, nn.LayerNorm):
        return len(norm.normalized_shape) == 1
    named = "rmsnorm" in type(norm).__name__.lower()
    rms = named and [(key, value.dim()) for key, value in norm.named_parameters()] == [("weight", 1)]
    return rms or isinstance(norm, nn.GroupNorm)


def width(norm: Any) -> int:
    """Channels of such a norm."""
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    return int(norm.normalized_shape[0] if isinstance(norm, nn.LayerNorm) else len(norm.weight))


def span(norm: Any) -> int:
    """Channels that such a norm looks at together. Of several such sets each goes as a whole, and exactly."""
    return width(norm) // norm.num_groups if isinstance(norm, nn.GroupNorm) else width(norm)


class NormPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
    """Teaches torch-pruning such norms."""

    def prune_out_channels(self, layer: Any, idxs: Collection[int]) -> Any:
        lose(layer, idxs)
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Any) -> int:
        return width(layer)

    get_in_channels = get_out_channels


def lose(norm: Any, positions: Collection[int]) -> None:
    """Remove channels of such a norm."""
    each, left = span(norm), width(norm) - len(positions)
    for name, _ in list(norm.named_parameters(recurse=False)):
        cut(norm, name, 0, positions)
    if isinstance(norm, nn.GroupNorm):
        norm.num_channels, norm.num_groups = left, 1 if norm.num_groups == 1 else left // each
    elif hasattr(norm, "normalized_shape"):
        norm.normalized_shape = (left,)


class KeptOnly:
    """A hook by which a norm computes over the channels in `keep`, bool (C,), alone; the others are zero behind it.

    A hook, since torch's fused kernels make way for one.
    """

    def __init__(self, layer: nn.Module, keep: Tensor) -> None:
        self.kept, self.small = keep.nonzero().flatten(), copy.deepcopy(layer)
        self.lose((~keep).nonzero().flatten().tolist())
        # A norm of images has its channels in front of their pixels.
        self._dim = 1 if isinstance(layer, nn.GroupNorm) or "2d" in type(layer).__name__.lower() else -1

    def lose(self, removed: list[int]) -> None:
        """Remove channels from the copy that computes."""
        lose(self.small, removed)

    def __call__(self, norm: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x, kept = inputs[0], self.kept.to(output.device)
        own = {name: value.index_select(0, kept) for name, value in norm.named_parameters(recurse=False)}
        found: Tensor = functional_call(self.small, own, (x.index_select(self._dim, kept),))
        return torch.zeros_like(output).index_copy(self._dim, kept, found)


def keep_only(norm: nn.Module, keep: Tensor) -> None:
    """Let `norm` compute its statistics over the channels in `keep`, bool (C,); the others are zero behind it."""
    restore(norm)
    if not bool(keep.all()):
        norm.register_forward_hook(KeptOnly(norm, keep))


def restore(layer: nn.Module) -> None:
    """Let `layer` compute as its class does."""
    for key, hook in list(layer._forward_hooks.items()):
        if isinstance(hook, KeptOnly):
            del layer._forward_hooks[key]
