"""Protective reconstruction (PSAP, abstract, S3): gradients say which channels matter; both readings are ours.

Before a step, live channels that matter can be protected from it; after it, pruned channels that matter can come back
(`Returning`). What is pruned is backed up, so that no information is lost. psap.pruning.rest says what becomes of the
channels that do not matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from psap.pruning.channels import ChannelBackup
from psap.pruning.gradients import NoPulse
from psap.pruning.graph.groups import Group
from psap.pruning.importance import InGroups
from psap.pruning.reconstruction import Masks, Reconstruction
from psap.pruning.rest import FreeRest
from psap.pruning.selection import Constraints
from psap.utils.distributed import decide_on_rank0
from psap.utils.mappings import StateDict


@dataclass(frozen=True)
class Protection:
    """How channels are protected from a step.

    signal: what is read of live channels before it. importance: which of them matter. rest: what becomes of the pruned.
    """

    signal: type[NoPulse]
    importance: InGroups
    rest: type[FreeRest]


@dataclass(frozen=True)
class Trial:
    """How pruned channels come back.

    signal: what is read of them over a window of so many iterations. importance: which of them matter. immunity: steps
    that a channel which came back is protected for.
    """

    signal: type[NoPulse]
    importance: InGroups
    window: int
    immunity: int


class Protective(Reconstruction):
    """Live channels with a strong signal are protected; none of the pruned comes back."""

    def __init__(
        self, groups: Sequence[Group], optimizer: Optimizer | None, protection: Protection, keep_momentum: bool = False
    ) -> None:
        super().__init__(groups, optimizer, keep_momentum=keep_momentum)
        self._importance, self._backup = protection.importance, ChannelBackup()
        self._rest = protection.rest(self, groups, self._backup)
        self._live = protection.signal(groups, self.set_free)
        self.looks_before = self._live.looks

    @property
    def hooked(self) -> bool:
        return self._live.hooked

    def look_before(self) -> None:
        self._live.close()  # where an epoch without a step has left it open
        self._live.open(self._none())

    def signals_before(self, scale: float) -> list[Tensor]:
        return self._live.read(scale)

    def discard(self) -> None:
        self._live.discard()

    def constraints(self, masks: Masks, signals: Sequence[Tensor]) -> Constraints:
        protected = self._protected(masks, signals)
        spared = self._importance.spared(protected)
        return Constraints(self._rest.selected_first(masks), protected, spared, self._rest.staying(masks))

    def _protected(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        return self._importance.select(signals, [~mask for mask in masks])

    def step(self, before: Masks, selected: Masks) -> int:
        self._end(before)
        self._rest.prune(selected)
        return 0

    def last_step(self, before: Masks, selected: Masks) -> None:
        self._end(before)
        self.fix(selected)

    def _end(self, before: Masks) -> None:
        """What went on until a step ends with it."""
        self._live.close()
        self._rest.release(before)

    def state_dict(self) -> StateDict:
        return {"backup": self._backup.state_dict()}

    def load_state_dict(self, state: StateDict, masks: Masks, *, final: bool, window_open: bool) -> None:
        super().load_state_dict(state, masks, final=final, window_open=window_open)
        self._backup.load_state_dict(state["backup"])
        tried = self._backup.masks(self._groups) if window_open else self._none()
        if not final:
            self._rest.resume([mask & ~watched for mask, watched in zip(masks, tried, strict=True)])


class Returning(Protective):
    """Pruned channels with a strong signal in the window after the step come back as they were backed up."""

    def __init__(
        self,
        groups: Sequence[Group],
        optimizer: Optimizer | None,
        protection: Protection,
        trial: Trial,
        keep_momentum: bool = False,
    ) -> None:
        super().__init__(groups, optimizer, protection, keep_momentum)
        self._trial, self._pulse = trial, trial.signal(groups, self.set_free)
        self.looks_after = trial.window
        self.zeroes_at_once = self._pulse.zeroes_at_once
        self._immune = [torch.zeros(group.channels, dtype=torch.int64) for group in groups]

    def _protected(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        important = super()._protected(masks, signals)
        return [mask | (immune > 0) for mask, immune in zip(important, self._immune, strict=True)]

    @property
    def hooked(self) -> bool:
        return self._live.hooked or self._pulse.hooked

    def step(self, before: Masks, selected: Masks) -> int:
        self._end(before)
        self._immune = [(immune - 1).clamp(min=0) for immune in self._immune]
        tried = self._rest.tried(before, selected)
        for group, mask in zip(self._groups, tried, strict=True):
            self._backup.save(group, mask)
        self._pulse.open(tried)
        return self._trial.window

    def signals_after(self, scale: float) -> list[Tensor]:
        return self._pulse.read(scale)

    def discard(self) -> None:
        super().discard()
        self._pulse.discard()

    def restore(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        self._pulse.close()
        tried = self._backup.masks(self._groups)
        restored = decide_on_rank0(lambda: self._trial.importance.select(signals, tried))
        for group, back, immune in zip(self._groups, restored, self._immune, strict=True):
            self._backup.restore(group, back)
            self.forget(group, back)
            immune[back] = self._trial.immunity
        self._rest.leave([mask & ~back for mask, back in zip(masks, restored, strict=True)], self._pulse)
        return restored

    def state_dict(self) -> StateDict:
        return {**super().state_dict(), "immune": self._immune}

    def load_state_dict(self, state: StateDict, masks: Masks, *, final: bool, window_open: bool) -> None:
        super().load_state_dict(state, masks, final=final, window_open=window_open)
        self._immune = list(state["immune"])
        if window_open:
            self._pulse.resume(self._backup.masks(self._groups))
