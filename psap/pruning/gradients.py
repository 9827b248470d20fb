"""Supervised gradients: the signals by which channels prove important (PSAP, abstract; both readings are ours)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from psap.pruning.graph.groups import Group
from psap.pruning.graph.heads import HeadGroup
from psap.pruning.graph.members import Member
from psap.utils.distributed import average


def gradient_norms(group: Group) -> Tensor:
    """Norm of the loss's gradient with respect to each channel's weights, shape (C,)."""
    norm: Tensor = torch.linalg.vector_norm(group.filters(gradients=True), dim=1)
    return norm


def accumulate(total: Sequence[Tensor], new: Sequence[Tensor]) -> list[Tensor]:
    """Sums of tensor and tensor; `new` alone where there is no total yet."""
    return [a + b for a, b in zip(total, new, strict=True)] if total else list(new)


class Gates:
    """Gates, closed for chosen channels, on what every consumer of a group reads: after batch-norm and activation.

    With the weights still in place, a closed gate removes its channel from the network exactly as zeroing would, and
    the derivative of the loss with respect to it says what opening it would do. It is not blind where the batch-norm
    shift is negative, as the weights' own gradient is once they are zero (docs/method.md).
    """

    def __init__(self) -> None:
        self._gates: list[Tensor] = []
        self._hooks: list[Any] = []

    def __len__(self) -> int:
        """How many gates there are: one for each group, or none."""
        return len(self._gates)

    def close(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> None:
        """Close the gates of the channels in `masks[g]`; all others stand open."""
        for group, mask in zip(groups, masks, strict=True):
            gate = (~mask).to(group.weights[0].tensor).requires_grad_(True)
            self._gates.append(gate)
            for member in group.consumers:
                self._hooks += _gate(gate, group, member)

    def read(self) -> list[Tensor]:
        """|d loss / d gate| of each group, shape (C,) each, of the last backward pass; resets them."""
        average(gate.grad for gate in self._gates if gate.grad is not None)  # nobody's parameters: not averaged yet
        signals = [torch.zeros_like(g) if g.grad is None else g.grad.abs() for g in self._gates]
        self.reset()
        return signals

    def reset(self) -> None:
        """Forget the gradients of the last backward pass."""
        for gate in self._gates:
            gate.grad = None

    def remove(self) -> None:
        """Take all gates away."""
        for hook in self._hooks:
            hook.remove()
        self._gates, self._hooks = [], []


def _gate(gate: Tensor, group: Group, member: Member) -> list[Any]:
    """Hooks that multiply by `gate` what `member` of `group` reads."""
    reader = group.root.module
    if not isinstance(group, HeadGroup) or not isinstance(reader, nn.MultiheadAttention):
        return [member.module.register_forward_pre_hook(_multiply(gate, member))]
    # It never calls its last layer: while it runs, that layer's weight is the gated one.
    own, position, channel = vars(member.module), member.position.to(gate.device), member.channel.to(gate.device)
    parameters = own["_parameters"]

    def close(*_: Any) -> None:
        weight = parameters["weight"]
        own["weight"] = weight * gate.new_ones(weight.shape[1]).index_put((position,), gate[channel])

    def open_(*_: Any) -> None:
        del own["weight"]

    return [
        reader.register_forward_pre_hook(close),
        reader.register_forward_hook(open_, always_call=True),
    ]


def _multiply(gate: Tensor, member: Member) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    position, channel = member.position.to(gate.device), member.channel.to(gate.device)

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        dim = x.dim() - 1 if isinstance(module, (nn.Linear, nn.MultiheadAttention)) else 1
        full = gate.new_ones(x.shape[dim]).index_put((position,), gate[channel])
        shape = [-1 if d == dim else 1 for d in range(x.dim())]
        read = 3 if isinstance(module, nn.MultiheadAttention) else 1  # query, key and value
        return (*(x * full.to(x.dtype).reshape(shape) for x in inputs[:read]), *inputs[read:])

    return hook


class NoPulse:
    """The calls that every signal shares. Here: nothing is looked at."""

    looks = False
    """Whether there is anything to look at."""
    zeroes_at_once = True
    """Whether the weights of the channels looked at become zero when one begins to."""

    def __init__(self, groups: Sequence[Group], set_free: Callable[[list[Tensor]], None]) -> None:
        self._groups, self._set_free = groups, set_free

    @property
    def hooked(self) -> bool:
        """Whether hooks on the network's layers look now: a compiled network does not run those set after it."""
        return False

    def open(self, masks: list[Tensor]) -> None:
        """Begin to look, at the channels in `masks` as pruned ones and at all others as live ones."""

    def read(self, scale: float) -> list[Tensor]:
        """The signal of the last backward pass, (C_g,) for each group; `scale` is that of the loss."""
        return []

    def discard(self) -> None:
        """Forget the last backward pass."""

    def close(self) -> None:
        """Look no more."""

    def let_go(self, masks: list[Tensor]) -> None:
        """Let the channels in `masks` train freely."""

    def resume(self, masks: list[Tensor]) -> None:
        """Look on, in a resumed training."""


class WeightPulse(NoPulse):
    """The weights of pruned channels are zeroed at once; the norm of their gradient, the pulse, is the signal."""

    looks = True

    def open(self, masks: list[Tensor]) -> None:
        self._set_free(masks)

    def read(self, scale: float) -> list[Tensor]:
        """Gradients of weights are unscaled already."""
        return [gradient_norms(group) for group in self._groups]


class GatePulse(NoPulse):
    """Pruned channels keep their weights behind closed gates; the derivative with respect to the gate is the signal.

    The gates of live channels stand open.
    """

    looks, zeroes_at_once = True, False

    def __init__(self, groups: Sequence[Group], set_free: Callable[[list[Tensor]], None]) -> None:
        super().__init__(groups, set_free)
        self._gates = Gates()

    @property
    def hooked(self) -> bool:
        return len(self._gates) > 0

    def open(self, masks: list[Tensor]) -> None:
        self._gates.close(self._groups, masks)

    def read(self, scale: float) -> list[Tensor]:
        """No optimiser knows the gates, so that their gradients are still those of the scaled loss."""
        return [signal / scale for signal in self._gates.read()]

    def discard(self) -> None:
        self._gates.reset()

    def close(self) -> None:
        self._gates.remove()

    def let_go(self, masks: list[Tensor]) -> None:
        self._set_free(masks)

    def resume(self, masks: list[Tensor]) -> None:
        self.open(masks)
