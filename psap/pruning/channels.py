"""What is done to single channels in place: zeroed, forgotten by the optimiser, backed up, frozen at zero."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from psap.pruning.graph.groups import Group
from psap.pruning.graph.members import Slot
from psap.pruning.graph.norms import restore
from psap.pruning.graph.stream import mask_norms
from psap.utils.mappings import StateDict


@torch.no_grad()
def zero(slots: Iterable[Slot], mask: Tensor) -> None:
    """Set the channels in `mask` to zero in every slot (a running variance stays: it only scales a zero)."""
    for slot in slots:
        if slot.attribute != "running_var":
            slot.outputs_first(slot.tensor).index_fill_(0, slot.member.positions(mask).to(slot.tensor.device), 0)


@torch.no_grad()
def clear_momentum(optimizer: Optimizer | None, group: Group, mask: Tensor) -> None:
    """Forget what the optimiser remembers of the channels in `mask`: any state shaped like the weight."""
    if optimizer is None:
        return
    for slot in group.slots:
        parameter = slot.tensor
        for value in optimizer.state.get(parameter, {}).values():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                slot.outputs_first(value).index_fill_(0, slot.member.positions(mask).to(value.device), 0)


def penalise_scales(model: nn.Module, strength: float) -> None:
    """Add the subgradient of strength * sum |batch-norm scale| (Liu et al., arXiv:1708.06519, equation 1)."""
    for module in model.modules() if strength else ():
        if isinstance(module, _BatchNorm) and module.weight is not None and module.weight.grad is not None:
            module.weight.grad.add_(module.weight.detach().sign(), alpha=strength)


class ChannelBackup:
    """Keeps the weights, batch-norm scales, shifts and statistics of pruned channels, so that nothing is lost.

    A group saves for itself: a tensor behind a concatenation holds channels of several groups.
    """

    def __init__(self) -> None:
        self._masks: dict[str, Tensor] = {}
        self._values: dict[str, dict[str, Tensor]] = {}

    def save(self, group: Group, mask: Tensor) -> None:
        """Copy the channels in `mask`; replaces what the group had saved before."""
        self._masks[group.name] = mask.clone()
        self._values[group.name] = {
            slot.name: slot.outputs_first(slot.tensor.detach())[
                slot.member.positions(mask).to(slot.tensor.device)
            ].clone()
            for slot in group.slots
        }

    @torch.no_grad()
    def restore(self, group: Group, mask: Tensor) -> None:
        """Put the channels in `mask` (among those saved) back as they were, bit for bit."""
        saved, values = self._masks[group.name], self._values[group.name]
        for slot in group.slots:
            channel, tensor = slot.member.channel, slot.outputs_first(slot.tensor)
            back = mask[channel[saved[channel]]]
            where = slot.member.positions(saved)[back].to(tensor.device)
            # A state that was read again lies on the processor, whatever it was written from.
            tensor[where] = values[slot.name].to(tensor.device)[back.to(tensor.device)]

    def masks(self, groups: Sequence[Group]) -> list[Tensor]:
        """The channels of each group that are saved: masks (C_g,)."""
        return [self._masks[group.name] for group in groups]

    def clear(self) -> None:
        """Forget all of it."""
        self._masks.clear()
        self._values.clear()

    def state_dict(self) -> StateDict:
        """All of it, as plain values and tensors."""
        return {"masks": dict(self._masks), "values": dict(self._values)}

    def load_state_dict(self, state: StateDict) -> None:
        """Take over a `state_dict()`."""
        self._masks, self._values = dict(state["masks"]), dict(state["values"])


class FrozenChannels:
    """Keeps pruned channels at exactly zero while the rest of the network trains: one launch for all of them at once.

    On a GPU a mask is as large as its tensor, since what differs in shape would be multiplied one by one.
    """

    def __init__(self) -> None:
        self._frozen: list[tuple[Slot, Tensor]] = []
        self.norms: list[nn.Module] = []
        """Norms that leave the frozen channels out of their statistics."""

    def set(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> None:
        """Freeze the channels in `masks[g]` of each group, in every trainable tensor that they own."""
        self.clear()
        self.norms = mask_norms(groups, masks)
        for group, mask in zip(groups, masks, strict=True):
            for slot in group.slots:
                if isinstance(slot.tensor, nn.Parameter) and bool(mask.any()):
                    outputs = len(slot.outputs_first(slot.tensor))
                    keep = torch.ones(outputs, *[1] * (slot.tensor.dim() - 1))
                    keep[slot.member.positions(mask)] = 0
                    keep = slot.outputs_first(keep).to(slot.tensor)
                    self._frozen.append((slot, keep * torch.ones_like(slot.tensor) if keep.is_cuda else keep))

    def clear(self) -> None:
        """Let all channels train."""
        self._frozen = []
        for norm in self.norms:
            restore(norm)
        self.norms = []

    @torch.no_grad()
    def mask_gradients(self) -> None:
        """Drop the frozen channels' gradients, so that neither momentum nor a clipped norm sees them."""
        pairs = [(slot.tensor.grad, keep) for slot, keep in self._frozen]
        _multiply([(gradient, keep) for gradient, keep in pairs if gradient is not None])

    @torch.no_grad()
    def mask_values(self) -> None:
        """Set the frozen channels to zero, whatever the optimiser did."""
        _multiply([(slot.tensor, keep) for slot, keep in self._frozen])


def _multiply(pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Multiply the first of each pair by the second, in place."""
    if pairs:
        values, factors = zip(*pairs, strict=True)
        torch._foreach_mul_(values, factors)
