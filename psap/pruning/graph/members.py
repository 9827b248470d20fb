"""Where the channels of a group lie: the positions in a module's tensors that are theirs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from psap.layers import HeadAttention
from psap.utils.module_names import inside


@dataclass(frozen=True)
class Member:
    """The positions of a group's channels in one module; all index tensors are on the CPU.

    `position[i]` (along the outputs, or for a consumer the inputs, of `module`) belongs to channel `channel[i]`.
    Both have shape (P,): P is larger than the number of channels after a flatten, smaller after a split.
    """

    name: str
    module: nn.Module
    position: Tensor
    channel: Tensor

    def positions(self, mask: Tensor) -> Tensor:
        """Positions of the channels in `mask` (bool, shape (C,)); int64."""
        return self.position[mask[self.channel]]

    def per_channel(self, channels: int) -> Tensor:
        """How many positions each channel has here: int64, shape (C,)."""
        return torch.bincount(self.channel, minlength=channels)

    @property
    def key(self) -> str:
        """By what the network knows it: the name of its module."""
        return self.name

    def owned(self, attributes: Sequence[str]) -> list[str]:
        """Those of `attributes` that are tensors of its module, indexed by its positions."""
        return [name for name in attributes if isinstance(getattr(self.module, name, None), Tensor)]

    def dimension(self, attribute: str) -> int:
        """Which dimension of a tensor its positions lie in: that of the outputs.

        The weight of a transposed convolution has its inputs first, unless it is depthwise.
        """
        inputs_first = isinstance(self.module, nn.modules.conv._ConvTransposeNd) and self.module.groups == 1
        return int(inputs_first and attribute == "weight")


@dataclass(frozen=True)
class Table(Member):
    """The positions in one tensor that belongs to no layer, such as an embedding of places: along `dim`."""

    attribute: str
    dim: int

    @property
    def key(self) -> str:
        return inside(self.name, self.attribute)

    def owned(self, attributes: Sequence[str]) -> list[str]:
        return [self.attribute]

    def dimension(self, attribute: str) -> int:
        return self.dim


@dataclass(frozen=True)
class Slot:
    """A tensor of one member, indexed by that member's positions: along dimension 0 of `outputs_first`."""

    member: Member
    attribute: str

    @property
    def tensor(self) -> Tensor:
        """The tensor as it is now: read at each use, since a caller may have replaced the parameter."""
        value: Tensor = getattr(self.member.module, self.attribute)
        return value

    def outputs_first(self, value: Tensor) -> Tensor:
        """A view of `value`, shaped like the tensor, with the positions first; or, given such a view, `value`."""
        dimension = self.member.dimension(self.attribute)
        return value.transpose(0, dimension) if dimension else value

    def remove(self, mask: Tensor) -> None:
        """Remove the positions of the channels in `mask` (bool, shape (C,)) from the tensor for good."""
        if len(positions := self.member.positions(mask)):
            cut(self.member.module, self.attribute, self.member.dimension(self.attribute), positions)

    @property
    def name(self) -> str:
        """Where the tensor is in the network, such as `layer1.0.conv1.weight`."""
        return inside(self.member.name, self.attribute)


def slots_of(members: Iterable[Member], attributes: Sequence[str]) -> Iterator[Slot]:
    """The tensors of `members` that are theirs, of those that `attributes` name."""
    for member in members:
        for attribute in member.owned(attributes):
            yield Slot(member, attribute)


@torch.no_grad()
def cut(module: nn.Module, attribute: str, dim: int, positions: Iterable[int] | Tensor) -> None:
    """Remove positions of a tensor of `module`, which is told."""
    old = getattr(module, attribute)
    keep = torch.ones(old.shape[dim], dtype=torch.bool)
    keep[torch.as_tensor(positions)] = False
    new = old.detach().index_select(dim, keep.nonzero().flatten().to(old.device))
    setattr(module, attribute, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    if isinstance(module, nn.Linear):
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.MultiheadAttention):
        HeadAttention.adopt(module)
