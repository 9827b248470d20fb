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
from psap.pruning.arguments import check_optimizer, check_settings, check_training, groups_of
from psap.pruning.calls import Calls
from psap.pruning.channels import penalise_scales
from psap.pruning.cost import CostModel, Measure, OrderedCost, check_as_planned
from psap.pruning.graph import compact as compaction
from psap.pruning.graph.admission import check_network
from psap.pruning.graph.groups import Group
from psap.pruning.history import History
from psap.pruning.method import Method
from psap.pruning.parts import check_target, make_reconstruction, make_selector
from psap.pruning.schedule import steps
from psap.pruning.windows import WindowAfter, WindowBefore, resumed
from psap.pruning.witness import Witness, unwatch
from psap.utils.distributed import average, decide_on_rank0
from psap.utils.passes import varied

_STATE = {"masks", "frozen", "max_output_difference", "window", "calls", "reconstruction", "selector", "history"}


class Pruner:
    """Prunes `model` in place while it trains; see the module's text for the calls and docs/method.md for the method.

    model, example_inputs: the network and a batch of the shape that it takes, on its device; a tuple is of several
    arguments, a dict of named ones. Outputs may be tensors in tuples, dicts and dataclasses.
    target: share of multiply-adds (`measure="macs"`) or parameters (`"params"`) to remove, in (0, 1).
    epochs: how many times `step` will be called. optimizer: only its per-channel state is touched; it may train some of
    the parameters, or others beside. method: what to do (default: PSAP). seed: for the `random` criterion.
    groups: what `find_prunable_groups` found in a network like `model`, for pruning several (default: found here).
    steps_per_epoch: the optimiser's steps in an epoch. A window never outlasts its epoch, so that the last pruning step
    lies within its own; until the number is known, from here or from the first epoch, a window still open ends where
    the next epoch begins (and in a training of a single epoch after one iteration).

    A few small batches of the training are kept, and the compacted network is compared on them too.

    `groups` are the prunable groups, `unprunable` the others, each with its `reason`; `masks` the bool mask (C_g,) of
    each prunable group's pruned channels, `restored` the number of channels given back since the last `step`, `frozen`
    whether the masks are final, `history.rows` a row for each pruning step and group, `max_output_difference` that of
    the masked and the compacted network, once there is one.
    Errors: PsapError, before anything is changed, when an argument is wrong, the network has nothing to prune or cannot
    be compacted, or the target cannot be met; and when calls are missing or out of order.
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
        steps_per_epoch: int | None = None,
    ) -> None:
        check_settings(target, method, measure, seed)
        check_training(epochs, steps_per_epoch)
        check_network(model)
        check_optimizer(model, optimizer)
        self.method = method or Method()
        self._model, self._inputs = model, example_inputs
        found = groups_of(model, example_inputs, groups)
        self.groups = [group for group in found if not group.reason]
        self.unprunable = [group for group in found if group.reason]
        self.cost = CostModel(model, example_inputs, self.groups)
        self._selector = make_selector(model, example_inputs, self.groups, self.cost, self.method, measure, seed)
        check_target(target, self.groups, self.cost, self.method, measure, self.unprunable)
        self._reconstruction = make_reconstruction(self.groups, self.method, optimizer)
        shares = steps(epochs=epochs, **self.method.schedule.model_dump())
        self._targets = {epoch: share * target for epoch, share in shares.items()}
        self._masks = [torch.zeros(group.channels, dtype=torch.bool) for group in self.groups]
        self._window: WindowBefore | WindowAfter | None = None
        self.frozen, self.max_output_difference = False, 0.0
        self.history = History(self.groups)
        self._calls = Calls(epochs, steps_per_epoch)
        self._witness = Witness(model)

    def step(self, epoch: int) -> None:
        """Begin epoch `epoch` (0-based), once each and in order; prunes if the schedule has a step here.

        A step that needs gradients first gathers them over the method's window and then acts. A window still open
        ends here.
        """
        self._calls.begin_epoch(epoch, waiting=self._window is not None)
        self._close_window()
        self.history.begin_epoch()
        if epoch not in self._targets or self.frozen:
            return
        if isinstance(self._window, WindowAfter):  # opened just now: the window before it took the whole epoch
            self._restore(self._window)
        window = WindowBefore(self._window_before(epoch), epoch)
        if self._selector.needs_gradients or self._reconstruction.looks_before:
            self._window = window
            self._reconstruction.look_before()
        else:
            self._prune(window)

    def _window_before(self, epoch: int) -> int:
        """Iterations before the step of `epoch`: in a short one fewer than asked, so that those after it have room."""
        after = 0 if epoch == self.last_epoch else self._reconstruction.looks_after
        return max(1, min(self.method.window, (self.steps_per_epoch or self.method.window + after) - after))

    def after_backward(self, scale: float = 1.0, step_taken: bool = True) -> None:
        """Look at the gradients. Call it between `backward` and the optimiser's step, before gradients are clipped.

        Under a loss scaler: after unscaling, with the `scale` of the loss, and whether the optimiser will step
        (`step_taken`), since gradients that overflowed say nothing. The scale is for the gradients of
        gates, which no scaler unscales.
        """
        self._calls.look()
        if not step_taken:
            self._reconstruction.discard()
            return
        if not 0 < scale < float("inf"):
            raise PsapError(f"after_backward: scale is {scale!r}; give the loss scale, scaler.get_scale()")
        if all(slot.tensor.grad is None for group in self.groups for slot in group.weights):
            raise PsapError("after_backward: there are no gradients; call it after backward and before zero_grad")
        if not self.frozen:
            penalise_scales(self._model, self.method.bn_penalty)
        if self._window:
            self._window.look(self._selector, self._reconstruction, scale)
        self.history.note_pulse(self._masks)
        self._reconstruction.frozen.mask_gradients()

    def after_step(self) -> None:
        """Finish the iteration. Call it after the optimiser's step."""
        self._reconstruction.frozen.mask_values()
        ends = self._calls.step()
        if ends or (self._window and self._window.seen >= self._window.length):
            self._close_window()

    def compact(self) -> nn.Module:
        """The network without its pruned channels: in eval mode its outputs equal the masked network's.

        Raises PsapError before the freeze (the masks are not final), and when outputs or counted cost are not as
        planned.
        """
        if isinstance(self._window, WindowBefore) and self._window.epoch == self.last_epoch:
            self._close_window()
        if not self.frozen:
            raise PsapError(
                f"the masks are not final: the last pruning step belongs to epoch {self.last_epoch} and needs at "
                "least one iteration of it; train that far before compact()"
            )
        small = self.compact_copy(self._model)
        unwatch(self._model)
        others = [*varied(self._inputs), *self._witness.batches]
        self.max_output_difference = compaction.difference(self._model, small, self._inputs, others)
        check_as_planned(small, self._inputs, self._counted()([int(mask.sum()) for mask in self._masks]))
        return small

    def compact_copy(self, network: nn.Module) -> nn.Module:
        """A copy of `network`, built as the model is, without the channels pruned now, whatever values they have."""
        return compaction.compact(network, self._inputs, self.groups, self._masks)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last pruning step, the freeze."""
        return max(self._targets)

    @property
    def steps_per_epoch(self) -> int | None:
        """The optimiser's steps in an epoch, as far as is known; may be told once the data are there."""
        return self._calls.steps_per_epoch

    @steps_per_epoch.setter
    def steps_per_epoch(self, steps: int) -> None:
        self._calls.steps_per_epoch = steps

    @property
    def restored(self) -> int:
        """Channels given back since the last `step`."""
        return self.history.restored

    @property
    def masks(self) -> list[Tensor]:
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
        how, masks, target = self._reconstruction, self._masks, self._targets[window.epoch]
        scores, constraints = window.scores or self._selector.scores(), how.constraints(masks, window.signals)
        selection = decide_on_rank0(lambda: self._selector.select(scores, target, masks, constraints))
        self.history.add_step(window.epoch, target, selection, constraints.last)
        self.frozen = window.epoch == self.last_epoch
        self.history.pulse_due = self.frozen or how.zeroes_at_once
        self._window = None
        if self.frozen:
            how.last_step(masks, selection.masks)
        elif length := how.step(masks, selection.masks):
            self._window = WindowAfter(length)
        self._masks = selection.masks

    def _restore(self, window: WindowAfter) -> None:
        """Give back what the window after the step has shown to be important."""
        restored = self._reconstruction.restore(self._masks, window.signals)
        self._masks = [mask & ~back for mask, back in zip(self._masks, restored, strict=True)]
        self.history.note_restored(restored)
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
            "frozen": self.frozen,
            "max_output_difference": self.max_output_difference,
            "window": self._window and self._window.state_dict(),
            "calls": self._calls.state_dict(),
            "reconstruction": self._reconstruction.state_dict(),
            "selector": self._selector.state_dict(),
            "history": self.history.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the `state_dict()` of a pruner made with the same arguments. PsapError where it is none."""
        sizes = [len(mask) for mask in state.get("masks", [])]
        if state.keys() != _STATE or sizes != [group.channels for group in self.groups]:
            raise PsapError(
                "the state is not one of this pruner: its network, its arguments or psap's version were others"
            )
        self._masks, self.frozen, self.max_output_difference = (
            state["masks"],
            state["frozen"],
            state["max_output_difference"],
        )
        self._window = resumed(state["window"], self.groups[0].weights[0].tensor.device)
        self._calls.load_state_dict(state["calls"])
        self._selector.load_state_dict(state["selector"])
        self.history.load_state_dict(state["history"])
        self._reconstruction.load_state_dict(
            state["reconstruction"],
            self._masks,
            final=self.frozen,
            window_open=isinstance(self._window, WindowAfter),
        )
        if isinstance(self._window, WindowBefore):
            self._reconstruction.look_before()
