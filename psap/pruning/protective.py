"""Protective reconstruction (PSAP, abstract, S3): gradients say which channels matter; both readings are ours.

`ProtectedBefore`: live channels that matter are not selected. `ProtectedAfter`: pruned channels that matter come back.
What is pruned is backed up, so that no information is lost. The channels that do not matter are a `FreeRest`, which
trains on from zero, or a `HeldRest`, which stays at zero until the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from psap.pruning.channels import ChannelBackup
from psap.pruning.gradients import GatePulse, WeightPulse, gradient_norms
from psap.pruning.graph.groups import Group
from psap.pruning.method import Protection
from psap.pruning.reconstruction import Masks, Reconstruction
from psap.utils.distributed import agreed


def select_protected(signal: Tensor, candidates: Tensor, quantile: float, share: float) -> Tensor:
    """Mask (C,) of the candidates whose `signal` lies in the top 1 - `quantile`, at most `share` of all C channels.

    A channel without any signal is never protected: silence says nothing for it (method.md, fact 2).
    """
    count = min(round((1 - quantile) * int(candidates.sum())), int(share * len(signal) + 1e-9))
    ranked = signal.where(candidates, signal.new_tensor(-1.0)).argsort(descending=True, stable=True)[:count]
    mask = torch.zeros_like(candidates)
    mask[ranked] = signal[ranked] > 0
    return mask & candidates


class FreeRest:
    """Channels that did not prove important train on from zero; the next step judges what they have become."""

    def __init__(self, channels: Reconstruction, groups: Sequence[Group], backup: ChannelBackup) -> None:
        self._channels, self._groups, self._backup = channels, groups, backup

    def selected_first(self, masks: Masks) -> Masks:
        """Channels that the next step takes before all others."""
        return [torch.zeros_like(mask) for mask in masks]

    def release(self, masks: Masks) -> None:
        """Before a step, give back what is held."""

    def prune(self, selected: Masks) -> None:
        """At a step without a window."""
        self._channels.set_free(selected)

    def leave(self, masks: Masks, pulse: GatePulse | WeightPulse) -> None:
        """When a window closes."""
        pulse.let_go(masks)
        self._backup.clear()

    def resume(self, masks: Masks) -> None:
        """In a resumed training, between two steps."""


class HeldRest(FreeRest):
    """They stay at zero, backed up, and come back as they were just before the next step, which judges them so."""

    def selected_first(self, masks: Masks) -> Masks:
        return masks

    def release(self, masks: Masks) -> None:
        for group, mask in zip(self._groups, masks, strict=True):
            if bool(mask.any()):
                self._backup.restore(group, mask)
        self._channels.frozen.clear()

    def prune(self, selected: Masks) -> None:
        for group, mask in zip(self._groups, selected, strict=True):
            self._backup.save(group, mask)
        self._channels.fix(selected)

    def leave(self, masks: Masks, pulse: GatePulse | WeightPulse) -> None:
        self._channels.fix(masks)

    def resume(self, masks: Masks) -> None:
        self._channels.frozen.set(self._groups, masks)


class _Protective(Reconstruction):
    """What both readings share: a backup of pruned channels, and what becomes of those that are not important."""

    def __init__(
        self,
        groups: Sequence[Group],
        optimizer: Optimizer | None,
        protection: Protection,
        rest: type[FreeRest] | type[HeldRest],
        keep_momentum: bool = False,
    ) -> None:
        super().__init__(groups, optimizer, keep_momentum=keep_momentum)
        self._settings, self._backup = protection, ChannelBackup()
        self._rest = rest(self, groups, self._backup)

    def selected_first(self, masks: Masks) -> Masks:
        return self._rest.selected_first(masks)

    def last_step(self, before: Masks, selected: Masks) -> None:
        self._rest.release(before)
        self.fix(selected)

    def _important(self, signal: Tensor, candidates: Tensor) -> Tensor:
        return select_protected(signal.cpu(), candidates, self._settings.quantile, self._settings.share)

    def state_dict(self) -> dict[str, Any]:
        return {"backup": self._backup.state_dict()}

    def load_state_dict(self, state: dict[str, Any], masks: Masks, *, final: bool, window_open: bool) -> None:
        super().load_state_dict(state, masks, final=final, window_open=window_open)
        self._backup.load_state_dict(state["backup"])
        if not final and not window_open:
            self._rest.resume(masks)


class ProtectedBefore(_Protective):
    """Live channels with a strong weight gradient cannot be selected."""

    looks_before = True

    def signals_before(self) -> list[Tensor]:
        return [gradient_norms(group) for group in self._groups]

    def protected(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        return [self._important(signal, ~mask) for signal, mask in zip(signals, masks, strict=True)]

    def step(self, before: Masks, selected: Masks) -> bool:
        self._rest.release(before)
        self._rest.prune(selected)
        return False


class ProtectedAfter(_Protective):
    """Pruned channels with a strong gradient in the window after the step come back as they were backed up."""

    def __init__(
        self,
        groups: Sequence[Group],
        optimizer: Optimizer | None,
        protection: Protection,
        rest: type[FreeRest] | type[HeldRest],
        pulse: type[WeightPulse] | type[GatePulse],
        keep_momentum: bool = False,
    ) -> None:
        super().__init__(groups, optimizer, protection, rest, keep_momentum)
        self._pulse = pulse(groups, self.set_free)
        self.zeroes_at_once = self._pulse.zeroes_at_once
        self._immune = [torch.zeros(group.channels, dtype=torch.int64) for group in groups]

    def protected(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        return [immune > 0 for immune in self._immune]

    def step(self, before: Masks, selected: Masks) -> bool:
        self._rest.release(before)
        self._immune = [(immune - 1).clamp(min=0) for immune in self._immune]
        for group, mask in zip(self._groups, selected, strict=True):
            self._backup.save(group, mask)
        self._pulse.open(selected)
        return True

    def signals_after(self, scale: float) -> list[Tensor]:
        return self._pulse.read(scale)

    def discard(self) -> None:
        self._pulse.discard()

    def restore(self, masks: Masks, signals: Sequence[Tensor]) -> Masks:
        """Without a signal (a window that saw nothing) none is important."""
        self._pulse.close()
        restored = self._none()
        for g, (group, signal) in enumerate(zip(self._groups, signals, strict=bool(signals))):
            restored[g] = agreed(partial(self._important, signal, masks[g]))
            self._backup.restore(group, restored[g])
            self.forget(group, restored[g])
            self._immune[g][restored[g]] = self._settings.immunity
        self._rest.leave([mask & ~back for mask, back in zip(masks, restored, strict=True)], self._pulse)
        return restored

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "immune": self._immune}

    def load_state_dict(self, state: dict[str, Any], masks: Masks, *, final: bool, window_open: bool) -> None:
        super().load_state_dict(state, masks, final=final, window_open=window_open)
        self._immune = list(state["immune"])
        if window_open:
            self._pulse.resume(masks)
