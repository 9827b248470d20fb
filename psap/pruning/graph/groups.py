"""Filter groups: channels that must be removed together, and where their weights lie.

A channel c of a group owns slices (along the outputs) of the tensors of its *producers* (convolutions, linear layers,
padded shortcuts whose output it is) and of the *norms* it passes; its *consumers* read it as an input channel.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from psap.errors import PsapError
from psap.layers import PadShortcut
from psap.pruning.graph._torch_pruning import pruning_group
from psap.pruning.graph.members import Member, Slot, slots_of


@dataclass(frozen=True)
class Group:
    """Channels 0..C-1, each kept or removed as a whole.

    Attributes:
        name: That of its first producer in the network.
        channels: Their number, C.
        root: The layer from which removal starts.
        producers: The layers that make the channels.
        norms: What the channels pass, each by itself: batch-norms, and PReLUs with a slope for each.
        consumers: The layers that read the channels.
        reason: Why no channel may be removed; empty where they may.
        weights: The producers' weights and biases.
        others: The norms' tensors, and the producers' gains.
    """

    name: str
    channels: int
    root: Member
    producers: list[Member]
    norms: list[Member]
    consumers: list[Member]
    reason: str = ""
    exact: ClassVar[bool] = True
    """Whether a channel whose weights are zero is as good as removed: see StreamGroup for where it is not."""
    weights: list[Slot] = field(init=False, repr=False)
    others: list[Slot] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        layers = [m for m in self.producers if not isinstance(m.module, PadShortcut)]
        gains = list(slots_of(self.producers, ["gain"]))  # of padded shortcuts, and where weights are standardised
        own = slots_of(layers, ["weight", "bias", "in_proj_weight", "in_proj_bias"])
        object.__setattr__(self, "weights", list(own))
        norm = slots_of(self.norms, ["weight", "bias", "running_mean", "running_var"])
        object.__setattr__(self, "others", [*norm, *gains])

    def remove(self, graph: Any, mask: Tensor) -> None:
        """Remove channels from the network for good.

        Args:
            graph: The dependency graph of the network in which the group lies.
            mask: Which channels to remove, bool (C,).
        """
        if removed := self.root.positions(mask).tolist():
            before = [(slot, slot.tensor.shape) for slot in self.slots]
            pruning_group(graph, self.root.module, removed).prune()
            for slot, shape in before:
                if slot.tensor.shape == shape:  # torch-pruning does not know of it
                    slot.remove(mask)

    @property
    def width(self) -> int:
        """How many of a layer's outputs one channel is, where it is several neighbours that do one thing: a head."""
        return 1

    @property
    def slots(self) -> list[Slot]:
        """Everything that the group's channels own: weights and the others."""
        return [*self.weights, *self.others]

    def within(self, network: nn.Module) -> "Group":
        """The same group in a copy of its network.

        Args:
            network: The copy.

        Returns:
            The group, with the modules of `network`.

        Raises:
            PsapError: When it is no copy of the network that the group was found in.
        """
        modules = dict(network.named_modules())

        def moved(member: Member) -> Member:
            module = modules.get(member.name)
            if module is None or _form(module) != _form(member.module):
                name = type(network).__name__
                raise PsapError(f"groups are of another network: {name} has no {member.name} of that kind and size")
            return replace(member, module=module)

        producers, norms, consumers = (
            [moved(member) for member in members] for members in (self.producers, self.norms, self.consumers)
        )
        return replace(self, root=moved(self.root), producers=producers, norms=norms, consumers=consumers)

    def filters(self, *, gradients: bool = False) -> Tensor:
        """Weights of every channel, or their gradients, all producers side by side.

        A producer that makes a channel at several positions contributes them all, one that makes only some channels
        contributes zeros elsewhere. A gradient that is None counts as zero.

        Args:
            gradients: Whether to give the gradients.

        Returns:
            Shape (C, D), detached.
        """
        values = [(slot, slot.tensor.grad if gradients else slot.tensor) for slot in self.weights]
        given = [(slot, torch.zeros_like(slot.tensor) if value is None else value) for slot, value in values]
        rows = [self.rows(slot, slot.outputs_first(value)) for slot, value in given]
        return torch.cat(rows, dim=1) if len(rows) > 1 else rows[0]

    def rows(self, slot: Slot, value: Tensor) -> Tensor:
        """The values of a tensor by channel.

        Args:
            slot: One of `slots`.
            value: Shaped like the slot's tensor, with its outputs in dimension 0.

        Returns:
            Shape (C, D), detached.
        """
        rows = value.detach().reshape(len(value), -1)
        position, channel = slot.member.position, slot.member.channel
        if len(position) == self.channels == len(value) and torch.equal(position, channel):
            return rows
        count = slot.member.per_channel(self.channels)
        place = torch.arange(len(channel)) - (count.cumsum(0) - count)[channel]
        out = rows.new_zeros(self.channels, int(count.max()), rows.shape[1])
        out[channel.to(rows.device), place.to(rows.device)] = rows[position.to(rows.device)]
        return out.flatten(1)

    def scales(self) -> Tensor | None:
        """Sum over the group's batch-norms of |scale|.

        Returns:
            Shape (C,); None where the group has no batch-norm with a scale.
        """
        return self._over_norms(("weight",), lambda scale: scale.detach().abs())

    def gate_gradients(self) -> Tensor | None:
        """Derivative of the loss with respect to a gate on each channel behind its batch-norms, at an open gate.

        By the chain rule it is the sum of scale times its gradient and shift times its gradient (arXiv:1906.10771,
        section 3.2). A gradient that is None counts as zero.

        Returns:
            Shape (C,); None where the group has no batch-norm with a scale.
        """
        return self._over_norms(
            ("weight", "bias"),
            lambda value: value.detach() * (torch.zeros_like(value) if value.grad is None else value.grad),
        )

    def _over_norms(self, attributes: Sequence[str], read: Callable[[Tensor], Tensor]) -> Tensor | None:
        """Sum by channel, (C,), of what is read of the batch-norms' scales or shifts; None where there is no scale."""
        norms = [slot for slot in self.others if isinstance(slot.member.module, _BatchNorm)]
        if not any(slot.attribute == "weight" for slot in norms):
            return None
        slots = [slot for slot in norms if slot.attribute in attributes]
        total = slots[0].tensor.new_zeros(self.channels).detach()
        for slot in slots:
            channel = slot.member.channel.to(total.device)
            total.index_add_(0, channel, read(slot.tensor)[slot.member.position.to(total.device)])
        return total


def summary(groups: Iterable[Group]) -> str:
    """Why groups stay whole, in one line: each reason once, with the first group that it holds for."""
    found: dict[str, list[str]] = {}
    for group in groups:
        if group.reason:
            # Without the layer that a reason may begin with.
            found.setdefault(group.reason.rpartition(": ")[2], []).append(group.name)
    parts = (f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {why}" for why, names in found.items())
    return "; ".join(parts)


def _form(module: nn.Module) -> tuple[type, list[tuple[str, torch.Size]]]:
    """The kind of a module, and the shapes of its own tensors."""
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return type(module), [(name, tensor.shape) for name, tensor in tensors]
