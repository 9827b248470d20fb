"""The prune-train cycle: at each step of the schedule select and zero, then train, and give back what matters."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from psap.pruning.channels import penalise_scales
from psap.pruning.graph.groups import Group
from psap.pruning.history import History
from psap.pruning.method import Method
from psap.pruning.reconstruction import Reconstruction
from psap.pruning.selection import Selector
from psap.pruning.windows import WindowAfter, WindowBefore, resumed
from psap.utils.distributed import average, decide_on_rank0
from psap.utils.mappings import StateDict


class Cycle:
    """What is pruned now (`masks`), the window that is open, if any, and whether the last step is over (`frozen`).

    `targets`: the reduction that each step is to reach, by its epoch; the last of them is the freeze.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        method: Method,
        targets: Mapping[int, float],
        selector: Selector,
        reconstruction: Reconstruction,
    ) -> None:
        self._model, self._groups, self._method, self._targets = model, groups, method, targets
        self._selector, self._reconstruction = selector, reconstruction
        self.history = History(groups)
        self.masks = [torch.zeros(group.channels, dtype=torch.bool) for group in groups]
        self.window: WindowBefore | WindowAfter | None = None
        self.frozen = False

    @property
    def last_epoch(self) -> int:
        """The epoch of the freeze."""
        return max(self._targets)

    @property
    def hooked(self) -> bool:
        """Whether hooks on the network's layers look now."""
        return self._reconstruction.hooked or bool(self._reconstruction.frozen.norms)

    def begin_epoch(self, epoch: int, steps: int | None) -> None:
        """Prune if the schedule has a step here, at once or after a window of gradients. A window still open ends.

        `steps`: the optimiser's steps in an epoch, where known.
        """
        self.close_window()
        self.history.begin_epoch()
        if epoch not in self._targets or self.frozen:
            return
        if isinstance(self.window, WindowAfter):  # opened just now: the window before it took the whole epoch
            self._restore(self.window)
        window = WindowBefore(self._window_before(epoch, steps), epoch)
        if self._selector.needs_gradients or self._reconstruction.looks_before:
            self.window = window
            self._reconstruction.look_before()
        else:
            self._prune(window)

    def _window_before(self, epoch: int, steps: int | None) -> int:
        """Iterations before the step of `epoch`: in a short one fewer than asked, so that those after it have room."""
        after = 0 if epoch == self.last_epoch else self._reconstruction.looks_after
        return max(1, min(self._method.window, (steps or self._method.window + after) - after))

    def look(self, scale: float) -> None:
        """See the gradients of an iteration, then take away those of channels that stay at zero."""
        if not self.frozen:
            penalise_scales(self._model, self._method.bn_penalty)
        if self.window:
            self.window.look(self._selector, self._reconstruction, scale)
        self.history.note_pulse(self.masks)
        self._reconstruction.frozen.mask_gradients()

    def discard(self) -> None:
        """Forget the gradients of an iteration whose step is lost."""
        self._reconstruction.discard()

    def finish_step(self) -> None:
        """Keep at zero, after the optimiser's step, what must stay there."""
        self._reconstruction.frozen.mask_values()

    @property
    def window_is_full(self) -> bool:
        """Whether the open window, if any, has seen all that it waits for."""
        return self.window is not None and self.window.seen >= self.window.length

    def close_window(self) -> None:
        """End an open window with what it has seen; one that has seen nothing stays open."""
        if self.window and self.window.seen:
            if isinstance(self.window, WindowBefore):
                self._prune(self.window)
            else:
                self._restore(self.window)

    def close_last_window(self) -> None:
        """End the window before the freeze, which needs no more iterations than it has had."""
        if isinstance(self.window, WindowBefore) and self.window.epoch == self.last_epoch:
            self.close_window()

    def _prune(self, window: WindowBefore) -> None:
        """Select by what the window before the step has gathered, and do to the selected what the method says."""
        # What is backed up must be the same on all ranks, and running statistics are each one's own within an epoch.
        average(buffer for buffer in self._model.buffers() if buffer.is_floating_point())
        how, masks, target = self._reconstruction, self.masks, self._targets[window.epoch]
        scores, constraints = window.scores or self._selector.scores(), how.constraints(masks, window.signals)
        selection = decide_on_rank0(lambda: self._selector.select(scores, target, masks, constraints))
        self.history.add_step(window.epoch, target, selection, constraints.last)
        self.frozen = window.epoch == self.last_epoch
        self.history.pulse_due = self.frozen or how.zeroes_at_once
        self.window = None
        if self.frozen:
            how.last_step(masks, selection.masks)
        elif length := how.step(masks, selection.masks):
            self.window = WindowAfter(length)
        self.masks = selection.masks

    def _restore(self, window: WindowAfter) -> None:
        """Give back what the window after the step has shown to be important."""
        restored = self._reconstruction.restore(self.masks, window.signals)
        self.masks = [mask & ~back for mask, back in zip(self.masks, restored, strict=True)]
        self.history.note_restored(restored)
        self.history.pulse_due |= not self._reconstruction.zeroes_at_once
        self.window = None

    def state_dict(self) -> StateDict:
        """All that a resumed run needs."""
        return {
            "masks": self.masks,
            "frozen": self.frozen,
            "window": self.window and self.window.state_dict(),
            "reconstruction": self._reconstruction.state_dict(),
            "selector": self._selector.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from the `state_dict()` of the same cycle."""
        self.masks, self.frozen = state["masks"], state["frozen"]
        self.window = resumed(state["window"], self._groups[0].weights[0].tensor.device)
        self._selector.load_state_dict(state["selector"])
        self.history.load_state_dict(state["history"])
        self._reconstruction.load_state_dict(
            state["reconstruction"],
            self.masks,
            final=self.frozen,
            window_open=isinstance(self.window, WindowAfter),
        )
        if isinstance(self.window, WindowBefore):
            self._reconstruction.look_before()
