"""The heads of an attention as a group of channels; and the attention as one layer of the dependency graph."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from psap.pruning.graph._torch_pruning import tp
from psap.pruning.graph.attention import Attention, attention, lose_heads
from psap.pruning.graph.groups import Group
from psap.pruning.graph.members import Member, cut
from psap.utils.passes import tensors


@dataclass(frozen=True)
class HeadGroup(Group):
    """The heads of one attention: channel c is head c. `root` is the attention itself."""

    @property
    def width(self) -> int:
        return len(self.consumers[0].position) // self.channels

    def remove(self, graph: Any, mask: Tensor) -> None:
        if lost := int(mask.sum()):
            for slot in self.slots:
                slot.remove(mask)
            for member in self.consumers:
                cut(member.module, "weight", 1, member.positions(mask))
            lose_heads(self.root.module, lost)


def headed(module: nn.Module) -> HeadGroup:
    """The heads of an attention by itself."""
    return head_group(_parts(module), "")


def head_group(found: Attention, reason: str) -> HeadGroup:
    """The heads of an attention, which stay whole for `reason`, if any."""
    each = torch.arange(found.heads)
    root = Member(found.name, found.module, each, each)
    reason = reason or ("a single head" if found.heads == 1 else "")
    return HeadGroup(
        found.inputs[0].name, found.heads, root, found.inputs, list(found.tables), [found.output], reason=reason
    )


class AttentionPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc]
    """Teaches torch-pruning that an attention is one layer, whose inputs and outputs are independent."""

    def prune_out_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        output = _parts(layer).output.module
        for attribute in ("weight", "bias"):
            if getattr(output, attribute) is not None:
                cut(output, attribute, 0, idxs)
        return layer

    def prune_in_channels(self, layer: nn.Module, idxs: list[int]) -> nn.Module:
        for member in _parts(layer).inputs:
            cut(member.module, "in_proj_weight" if member.module is layer else "weight", 1, idxs)
        return layer

    def get_out_channels(self, layer: nn.Module) -> int:
        output: Any = _parts(layer).output.module
        return int(output.out_features)

    def get_in_channels(self, layer: nn.Module) -> int:
        reader: Any = _parts(layer).inputs[0].module
        return int(reader.embed_dim if isinstance(reader, nn.MultiheadAttention) else reader.in_features)


def _parts(layer: nn.Module) -> Attention:
    found = attention("", layer)
    assert found
    return found


@contextmanager
def opaque(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Let autograd see each of `modules` as one operation on its inputs, whatever it does inside."""
    hooks = [module.register_forward_hook(_hide, with_kwargs=True) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hide(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
    inputs = {id(x): x for x in tensors([args, kwargs]) if x.requires_grad}
    shown = _Opaque.apply(tensors(output)[0].detach().requires_grad_(), *inputs.values())
    return (shown, *output[1:]) if isinstance(output, tuple) else shown


class _Opaque(torch.autograd.Function):
    """The value alone; its inputs are what autograd sees that it is made of."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *inputs: Tensor) -> Tensor:
        return value.clone()
