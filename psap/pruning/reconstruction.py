"""What becomes of pruned channels between pruning steps: one class for each way, which is the paper's ablation.

`Hard`: zero for good. `Soft`: zeroed once, free to regrow. Those that gradients guide are in `protective`.
Masks are bool, (C_g,), one for each group, on the CPU.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from psap.pruning.channels import FrozenChannels, clear_momentum, zero
from psap.pruning.graph.groups import Group
from psap.pruning.registry import Registry
from psap.pruning.selection import Constraints
from psap.utils.mappings import StateDict

Masks = list[Tensor]


# What a step does in place to the weights of the channels that it prunes, bool (C,), before they train on. At the last
# step all go to zero, whatever stands here.
PruneFunction = Callable[[Group, Tensor], None]


def zero_weights(group: Group, mask: Tensor) -> None:
    """The weights of the channels in `mask`, bool (C,), become zero; batch-norm stays (SFP, arXiv:1808.06866)."""
    zero(group.weights, mask)


RECONSTRUCTIONS: Registry[PruneFunction] = Registry(
    {"hard": zero_weights, "soft": zero_weights, "protective": zero_weights}
)


class Reconstruction:
    """The calls that every way shares. Here: zeroed once, free to regrow; nothing is protected or given back."""

    looks_before = False
    """Whether `constraints` wants signals gathered before a step."""
    looks_after = 0
    """How many iterations after a step it looks at."""
    zeroes_at_once = True
    """Whether weights are zero right after a step, so that the pulse can be read."""

    def __init__(
        self,
        groups: Sequence[Group],
        optimizer: Optimizer | None,
        prune_weights: PruneFunction = zero_weights,
        keep_momentum: bool = False,
    ) -> None:
        self._groups, self._optimizer = groups, optimizer
        self._prune_weights, self._keep_momentum = prune_weights, keep_momentum
        self.frozen = FrozenChannels()

    @property
    def hooked(self) -> bool:
        """Whether hooks on the network's layers look now."""
        return False

    def look_before(self) -> None:
        """A window before a step opens."""

    def signals_before(self, scale: float) -> list[Tensor]:
        """What a window before a step gathers from one backward pass, (C_g,) for each group; `scale` is the loss's."""
        return []

    def constraints(self, masks: Masks, signals: Sequence[Tensor]) -> Constraints:
        """What the coming step must respect, given the channels pruned until now and the signals before it."""
        return Constraints.none([group.channels for group in self._groups])

    def step(self, before: Masks, selected: Masks) -> int:
        """Prune the `selected` channels, `before` being those pruned until now.

        Returns the iterations of the window in which they can prove important; 0 where none opens.
        """
        self.set_free(selected)
        return 0

    def last_step(self, before: Masks, selected: Masks) -> None:
        """Prune for good."""
        self.fix(selected)

    def signals_after(self, scale: float) -> list[Tensor]:
        """What an open window gathers from one backward pass, (C_g,) for each group; `scale` is that of the loss."""
        return []

    def discard(self) -> None:
        """Forget the gradients of the last backward pass that nobody else owns."""

    def restore(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        """Close the window: give important channels back and return their masks."""
        return self._none()

    def fix(self, masks: Masks) -> None:
        """Channels go to zero with all that they own, and stay there."""
        for group, mask in zip(self._groups, masks, strict=True):
            zero(group.slots, mask)
            # Whatever the method's momentum rule: a remembered gradient must not move what has to stay zero.
            clear_momentum(self._optimizer, group, mask)
        self.frozen.set(self._groups, masks)

    @torch.no_grad()
    def set_free(self, masks: Masks) -> None:
        """Channels lose their weights, or what `prune_weights` takes of them, and are free to regrow."""
        for group, mask in zip(self._groups, masks, strict=True):
            self._prune_weights(group, mask)
            self.forget(group, mask)

    def forget(self, group: Group, mask: Tensor) -> None:
        """Clear the optimiser's memory of the channels, unless the method keeps it."""
        if not self._keep_momentum:
            clear_momentum(self._optimizer, group, mask)

    def state_dict(self) -> StateDict:
        """What masks and an open window do not tell."""
        return {}

    def load_state_dict(self, state: StateDict, masks: Masks, *, final: bool, window_open: bool) -> None:
        """Resume from `state_dict()`, with the channels in `masks` pruned."""
        if final:
            self.frozen.set(self._groups, masks)

    def _none(self) -> Masks:
        return [torch.zeros(group.channels, dtype=torch.bool) for group in self._groups]


class Soft(Reconstruction):
    """Pruned channels are zeroed once and free to regrow (SFP, He et al., arXiv:1808.06866)."""


class Hard(Reconstruction):
    """Pruned channels are zero for good, and no step takes fewer than the one before."""

    def constraints(self, masks: Masks, signals: Sequence[Tensor]) -> Constraints:
        return Constraints(first=masks, last=self._none(), spared=self._none(), staying=masks)

    def step(self, before: Masks, selected: Masks) -> int:
        self.fix(selected)
        return 0

    def load_state_dict(self, state: StateDict, masks: Masks, *, final: bool, window_open: bool) -> None:
        self.frozen.set(self._groups, masks)
