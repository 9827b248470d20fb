"""The iterative prune-train procedure, in the few calls that a training loop makes.

pruner = Pruner(model, example_inputs, target=0.5, epochs=epochs, optimizer=optimizer)
for epoch in range(epochs):
    pruner.step(epoch)                      # adapt the ratios, choose, bank, zero
    for x, y in loader:
        loss_fn(model(x), y).backward()
        pruner.after_backward()             # supervise gradients (after unscaling, before clipping)
        optimizer.step(); optimizer.zero_grad()
        pruner.after_step()                 # restore what matters; keep at zero what must stay zero
small = pruner.compact()                    # a smaller ordinary network, same outputs
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from psap.errors import PsapError
from psap.pruning import compact as compaction
from psap.pruning.budget import check_reachable
from psap.pruning.channels import penalise_scales
from psap.pruning.cost import CostModel, Measure, OrderedCost, check_as_planned
from psap.pruning.groups import Group
from psap.pruning.history import History
from psap.pruning.method import Method
from psap.pruning.parts import make_reconstruction, make_selector
from psap.pruning.schedule import steps
from psap.pruning.trial import usable_groups
from psap.pruning.windows import WindowAfter, WindowBefore, resumed
from psap.ranks import agreed, average


class Pruner:
    """Prunes `model` in place while it trains; see the module's text for the calls and docs/method.md for the method.

    model, example_inputs: the network and a batch (or tuple of arguments) of the shape that it takes, on its device.
    target: share of multiply-adds (`measure="macs"`) or parameters (`"params"`) to remove, in (0, 1).
    epochs: how many times `step` will be called. optimizer: only its per-channel state is touched.
    method: what to do (default: PSAP). seed: for the `random` criterion.
    groups: what `usable_groups` found in a network like `model`, where several are pruned (default: found anew).

    `groups` are the prunable groups, `refused` the others, each with its `reason`; `pruned` the bool mask (C_g,) of
    each prunable group's pruned channels, `restored` the number of channels given back since the last `step`, `frozen`
    whether the masks are final, `history.rows` a row for each pruning step and group, `difference` that of the masked
    and the compacted network, once there is one.
    Errors: PsapError when the network has nothing to prune or cannot be compacted, or the target cannot be met.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: Any,
        target: float,
        epochs: int,
        optimizer: Optimizer | None = None,
        method: Method | None = None,
        measure: Measure = "macs",
        seed: int = 0,
        groups: Sequence[Group] | None = None,
    ) -> None:
        self.method = method or Method()
        self._model, self._inputs = model, example_inputs
        found = usable_groups(model, example_inputs) if groups is None else [group.within(model) for group in groups]
        self.groups = [group for group in found if not group.reason]
        self.refused = [group for group in found if group.reason]
        self.cost = CostModel(model, example_inputs, self.groups)
        self._selector = make_selector(self.groups, self.cost, self.method, measure, seed)
        any_order = self.cost.order([torch.arange(group.channels) for group in self.groups])
        check_reachable(target, lambda counts: any_order.reduction(counts, measure), self._selector.bounds, measure)
        self._reconstruction = make_reconstruction(self.groups, self.method, optimizer)
        shares = steps(epochs=epochs, **self.method.schedule.model_dump())
        self._targets = {epoch: share * target for epoch, share in shares.items()}
        self._masks = [torch.zeros(group.channels, dtype=torch.bool) for group in self.groups]
        self._window: WindowBefore | WindowAfter | None = None
        self._epoch, self.frozen, self.difference = -1, False, 0.0
        self.history = History(self.groups)

    def step(self, epoch: int) -> None:
        """Begin epoch `epoch` (0-based); prunes if the schedule has a step here.

        A step that needs gradients first gathers them over the method's window and then acts. A window still open
        ends here.
        """
        self._close_window()
        self.history.begin_epoch()
        if epoch not in self._targets or self.frozen:
            return
        if isinstance(self._window, WindowAfter):  # opened just now: the window before it took the whole epoch
            self._restore(self._window)
        self._epoch = epoch
        if self._selector.needs_gradients or self._reconstruction.looks_before:
            self._window = WindowBefore()
        else:
            self._prune(WindowBefore())

    def after_backward(self, scale: float = 1.0, taken: bool = True) -> None:
        """Look at the gradients. Call it between `backward` and the optimiser's step, before gradients are clipped.

        Under a loss scaler: after unscaling, with the `scale` of the loss, and whether the step will be `taken` or not,
        since gradients that overflowed say nothing.
        """
        if not taken:
            self._reconstruction.discard()
            return
        if not self.frozen:
            penalise_scales(self._model, self.method.bn_penalty)
        if self._window:
            self._window.look(self._selector, self._reconstruction, scale)
        self.history.note_pulse(self._masks)
        self._reconstruction.frozen.mask_gradients()

    def after_step(self) -> None:
        """Finish the iteration. Call it after the optimiser's step."""
        self._reconstruction.frozen.mask_values()
        if self._window and self._window.seen >= self.method.window:
            self._close_window()

    def compact(self) -> nn.Module:
        """The network without its pruned channels: in eval mode its outputs equal the masked network's.

        Raises PsapError before the freeze (the masks are not final), and when outputs or counted cost are not as
        planned.
        """
        self._close_window()
        if not self.frozen:
            raise PsapError(
                f"the masks are not final: the last pruning step belongs to epoch {max(self._targets)} and needs at "
                "least one iteration of it; train that far before compact()"
            )
        small = self.reduced(self._model)
        self.difference = compaction.difference(self._model, small, self._inputs)
        check_as_planned(small, self._inputs, self._counted()([int(mask.sum()) for mask in self._masks]))
        return small

    def reduced(self, network: nn.Module) -> nn.Module:
        """A copy of `network`, built as the model is, without the channels pruned now, whatever values they have."""
        return compaction.compact(network, self._inputs, self.groups, self._masks)

    @property
    def restored(self) -> int:
        """Channels given back since the last `step`."""
        return self.history.restored

    @property
    def pruned(self) -> list[Tensor]:
        """Masks of the channels pruned now: bool, (C_g,), a copy for each group, on the CPU."""
        return [mask.clone() for mask in self._masks]

    def reduction(self, measure: Measure = "macs") -> float:
        """Counted reduction, in [0, 1), that removing the channels pruned now would give."""
        return self._counted().reduction([int(mask.sum()) for mask in self._masks], measure)

    def _counted(self) -> OrderedCost:
        return self.cost.order([(~mask).long().argsort(stable=True) for mask in self._masks])

    def _prune(self, window: WindowBefore) -> None:
        """Select by what the window before the step has gathered, and do to the selected what the method says."""
        # What is backed up must be the same on all ranks, and running statistics are each one's own within an epoch.
        average(buffer for buffer in self._model.buffers() if buffer.is_floating_point())
        how, masks, target = self._reconstruction, self._masks, self._targets[self._epoch]
        scores, protected = window.scores or self._selector.scores(), how.protected(masks, window.signals)
        first, staying = how.selected_first(masks), how.staying(masks)
        selection = agreed(
            lambda: self._selector.select(scores, target, masks, first=first, last=protected, staying=staying)
        )
        self.history.add_step(self._epoch, target, selection)
        self.frozen = self._epoch == max(self._targets)
        self.history.pulse_due = self.frozen or how.zeroes_at_once
        self._window = None
        if self.frozen:
            how.last_step(masks, selection.masks)
        elif how.step(masks, selection.masks):
            self._window = WindowAfter()
        self._masks = selection.masks

    def _restore(self, window: WindowAfter) -> None:
        """Give back what the window after the step has shown to be important."""
        restored = self._reconstruction.restore(self._masks, window.signals)
        self._masks = [mask & ~back for mask, back in zip(self._masks, restored, strict=True)]
        self.history.note_restored([int(back.sum()) for back in restored])
        self.history.pulse_due |= not self._reconstruction.zeroes_at_once
        self._window = None

    def _close_window(self) -> None:
        """End an open window with what it has seen; one that has seen nothing stays open."""
        if self._window and self._window.seen:
            if isinstance(self._window, WindowBefore):
                self._prune(self._window)
            else:
                self._restore(self._window)

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values and tensors (readable with `weights_only=True`)."""
        return {
            "masks": self._masks,
            "epoch": self._epoch,
            "frozen": self.frozen,
            "difference": self.difference,
            "window": self._window and self._window.state_dict(),
            "reconstruction": self._reconstruction.state_dict(),
            "selector": self._selector.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict()` of a pruner made with the same arguments."""
        self._masks, self._epoch = state["masks"], state["epoch"]
        self.frozen, self.difference = state["frozen"], state["difference"]
        self._window = resumed(state["window"], self.groups[0].weights[0].tensor.device)
        self._selector.load_state_dict(state["selector"])
        self.history.load_state_dict(state["history"])
        supervised = isinstance(self._window, WindowAfter)
        self._reconstruction.load_state_dict(
            state["reconstruction"], self._masks, final=self.frozen, window_open=supervised
        )
