"""Groups whose channels pass norms that look at them together, such as the residual stream of a transformer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from psap.pruning.graph.attention import attention
from psap.pruning.graph.groups import Group
from psap.pruning.graph.norms import keep_only, looks_together, restore, width
from psap.pruning.graph.standardised import read_only, reads_together

# What networks call the width of their residual stream.
_WIDTHS = ("hidden_dim", "embed_dim", "d_model", "hidden_size", "num_features", "dim", "width")


@dataclass(frozen=True)
class StreamGroup(Group):
    """Channels of which a removed one changes the statistics that norms compute of the others.

    Masked, these norms compute what the compacted network's will (see `mask_norms`): to that it is equal, not to the
    network of before in which only weights are zero.
    """

    exact: ClassVar[bool] = False

    def remove(self, graph: Any, mask: Tensor) -> None:
        super().remove(graph, mask)
        places = [name.split(".") for name in {member.name for member in self.producers}]
        for name in {".".join(place[:depth]) for place in places for depth in range(len(place))}:
            module = graph.model.get_submodule(name)
            for key in _WIDTHS if attention(name, module) is None else ():
                if vars(module).get(key) == len(mask):
                    setattr(module, key, int((~mask).sum()))


def mask_norms(groups: Sequence[Group], masks: Sequence[Tensor]) -> list[nn.Module]:
    """Let the norms that look together at channels of `groups` leave out those in `masks`; returns these norms.

    So do the convolutions that read them with standardised weights.
    """
    kept: dict[nn.Module, Tensor] = {}
    for group, mask in zip(groups, masks, strict=True):
        for member in [*group.norms, *group.consumers] if isinstance(group, StreamGroup) else ():
            if looks_together(member.module) or reads_together(member.module):
                keep = kept.setdefault(member.module, torch.ones(_width(member.module), dtype=torch.bool))
                keep[member.positions(mask)] = False
    for layer, keep in kept.items():
        (read_only if reads_together(layer) else keep_only)(layer, keep)
    return list(kept)


def _width(layer: Any) -> int:
    return int(layer.in_channels) if reads_together(layer) else width(layer)


def unmask_norms(network: nn.Module) -> None:
    """Let all norms of `network` look at all of their channels again."""
    for module in network.modules():
        restore(module)
