"""What becomes of pruned channels that did not prove important, until the next step: one class for each way."""

from collections.abc import Sequence

import torch

from psap.pruning.channels import ChannelBackup
from psap.pruning.gradients import NoPulse
from psap.pruning.graph.groups import Group
from psap.pruning.reconstruction import Masks, Reconstruction


class FreeRest:
    """They train on from zero; the next step judges what they have become."""

    def __init__(self, channels: Reconstruction, groups: Sequence[Group], backup: ChannelBackup) -> None:
        self._channels, self._groups, self._backup = channels, groups, backup

    def selected_first(self, masks: Masks) -> Masks:
        """Channels that the next step takes before all others, given those pruned now."""
        return [torch.zeros_like(mask) for mask in masks]

    def staying(self, masks: Masks) -> Masks:
        """Channels that no step gives back, given those pruned now."""
        return [torch.zeros_like(mask) for mask in masks]

    def tried(self, before: Masks, selected: Masks) -> Masks:
        """Channels that can prove important after a step, `before` being those pruned until then."""
        return selected

    def release(self, masks: Masks) -> None:
        """Before a step, give back what is held."""

    def prune(self, selected: Masks) -> None:
        """At a step without a window."""
        self._channels.set_free(selected)

    def leave(self, masks: Masks, pulse: NoPulse) -> None:
        """When a window closes."""
        pulse.let_go(masks)
        self._backup.clear()

    def resume(self, masks: Masks) -> None:
        """In a resumed training, with the channels in `masks` pruned and not on trial."""


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

    def leave(self, masks: Masks, pulse: NoPulse) -> None:
        self._channels.fix(masks)

    def resume(self, masks: Masks) -> None:
        self._channels.frozen.set(self._groups, masks)


class FixedRest(FreeRest):
    """They stay at zero for good, so that only newly pruned ones can prove important."""

    def selected_first(self, masks: Masks) -> Masks:
        return masks

    def staying(self, masks: Masks) -> Masks:
        return masks

    def tried(self, before: Masks, selected: Masks) -> Masks:
        return [new & ~old for new, old in zip(selected, before, strict=True)]

    def prune(self, selected: Masks) -> None:
        self._channels.fix(selected)

    def leave(self, masks: Masks, pulse: NoPulse) -> None:
        self._channels.fix(masks)
        self._backup.clear()

    def resume(self, masks: Masks) -> None:
        self._channels.frozen.set(self._groups, masks)
