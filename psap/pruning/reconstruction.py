"""What happens to pruned channels: order of choice, protection by supervised gradients, restoration."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from psap.pruning.channels import Bank, Hold, clear_momentum, zero
from psap.pruning.groups import Group
from psap.pruning.method import Method
from psap.pruning.registry import Registry
from psap.pruning.signals import Gates, weight_gradient
from psap.ranks import agreed


def order(scores: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Channels in the order in which they are pruned, shape (C,): `first`, then by score, `last` at the end.

    Protected channels go last rather than never, so that a step meets its target even where protection is wide.
    """
    by_score = scores.argsort(stable=True)
    rank = torch.ones_like(by_score)
    rank[first], rank[last & ~first] = 0, 2
    return by_score[rank[by_score].argsort(stable=True)]


def protect(signal: Tensor, candidates: Tensor, quantile: float, share: float) -> Tensor:
    """Mask (C,) of the candidates whose `signal` lies in the top 1 - `quantile`, at most `share` of all C channels.

    A channel without any signal is never protected: silence says nothing for it (method.md, fact 2).
    """
    count = min(round((1 - quantile) * int(candidates.sum())), int(share * len(signal) + 1e-9))
    ranked = signal.where(candidates, signal.new_tensor(-1.0)).argsort(descending=True, stable=True)[:count]
    mask = torch.zeros_like(candidates)
    mask[ranked] = signal[ranked] > 0
    return mask & candidates


def forget(group: Group, mask: Tensor) -> None:
    """The weights of the channels in `mask`, bool (C,), become zero; batch-norm stays (SFP, arXiv:1808.06866)."""
    zero(group.weights, mask)


# What a step does to the weights of the channels that it prunes, in place, before they train on. Channels of `hard` do
# not: they stay at zero. Those of `protective` are banked before. At the freeze all go to zero, whatever stands here.
Act = Callable[[Group, Tensor], None]
RECONSTRUCTIONS: Registry[Act] = Registry({"hard": forget, "soft": forget, "protective": forget})


class Reconstruction:
    """What becomes of pruned channels between steps: zeroed, held at zero, or supervised and given back.

    Masks are bool, (C_g,), one for each group, on the CPU.
    """

    def __init__(self, groups: Sequence[Group], method: Method, optimizer: Optimizer | None) -> None:
        self._groups, self._method, self._optimizer = groups, method, optimizer
        self._bank, self._gates = Bank(), Gates()
        self.hold = Hold()
        self._act, self._by_gate = RECONSTRUCTIONS[method.reconstruction], method.gated

    def prune(self, before: Sequence[Tensor], chosen: Sequence[Tensor], freeze: bool) -> bool:
        """Do to the `chosen` channels what the method says, `before` being those pruned until now.

        Returns whether a window has opened, in which pruned channels can prove important.
        """
        if self._method.holds:
            self.release(before)
        if freeze or self._method.reconstruction == "hard":
            self.fix(chosen)
        elif self._method.protects_after:
            self.supervise(chosen)
            return True
        elif self._method.holds:
            self._deposit(chosen)
            self.fix(chosen)
        else:
            self.set_free(chosen)
        return False

    def fix(self, pruned: Sequence[Tensor]) -> None:
        """Pruned channels go to zero with all that they own, and stay there."""
        for group, mask in zip(self._groups, pruned, strict=True):
            zero(group.slots, mask)
            # Whatever the method's momentum rule: a remembered gradient must not move what has to stay zero.
            clear_momentum(self._optimizer, group, mask)
        self.hold.set(self._groups, pruned)

    @torch.no_grad()
    def set_free(self, pruned: Sequence[Tensor]) -> None:
        """Pruned channels lose their weights, or what the method takes of them, and are free to regrow."""
        for group, mask in zip(self._groups, pruned, strict=True):
            self._act(group, mask)
            if self._method.momentum == "clear":
                clear_momentum(self._optimizer, group, mask)

    def supervise(self, pruned: Sequence[Tensor]) -> None:
        """Open the window in which pruned channels can prove important."""
        self._deposit(pruned)
        if self._by_gate:
            self._gates.close(self._groups, pruned)
        else:
            self.set_free(pruned)

    def _deposit(self, pruned: Sequence[Tensor]) -> None:
        for group, mask in zip(self._groups, pruned, strict=True):
            self._bank.deposit(group, mask)

    def signals(self, scale: float) -> list[Tensor]:
        """The supervised gradients of the last backward pass, shape (C_g,) for each group.

        Of a loss times `scale`: those of weights are unscaled already, those of gates are in no optimiser's hands.
        """
        if self._by_gate:
            return [signal / scale for signal in self._gates.read()]
        return [weight_gradient(group) for group in self._groups]

    def discard(self) -> None:
        """Forget the supervised gradients of the last backward pass that nobody else owns."""
        self._gates.reset()

    def restore(self, pruned: Sequence[Tensor], signals: Sequence[Tensor]) -> list[Tensor]:
        """Close the window: give important channels back from the bank and return their masks.

        The others are free to regrow from zero or, with `rest: hold`, stay at it until the next step, banked. Without a
        signal (a window that saw nothing) none is important.
        """
        settings = self._method.protection
        self._gates.remove()
        restored = [torch.zeros_like(mask) for mask in pruned]
        for g, (group, signal) in enumerate(zip(self._groups, signals, strict=bool(signals))):
            restored[g] = agreed(partial(protect, signal.cpu(), pruned[g], settings.quantile, settings.share))
            self._bank.withdraw(group, restored[g])
            if self._method.momentum == "clear":
                clear_momentum(self._optimizer, group, restored[g])
        rest = [mask & ~back for mask, back in zip(pruned, restored, strict=True)]
        if self._method.holds:
            self.fix(rest)
            return restored
        if self._by_gate:
            self.set_free(rest)
        self._bank.clear()
        return restored

    def release(self, held: Sequence[Tensor]) -> None:
        """Put the channels `held` at zero back as they were banked, so that the step that follows can judge them."""
        for group, mask in zip(self._groups, held, strict=True):
            if bool(mask.any()):
                self._bank.withdraw(group, mask)
        self.hold.set(self._groups, [torch.zeros_like(mask) for mask in held])

    def state_dict(self) -> dict[str, Any]:
        """The bank: masks and gates follow from the pruner's own state."""
        return self._bank.state_dict()

    def load_state_dict(self, state: dict[str, Any], pruned: Sequence[Tensor], *, held: bool, supervised: bool) -> None:
        """Go on from `state_dict()`, with the channels `pruned` held at zero, or in an open window, or neither."""
        self._bank.load_state_dict(state)
        if held:
            self.hold.set(self._groups, pruned)
        if supervised and self._by_gate:
            self._gates.close(self._groups, pruned)
