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
from psap.pruning.arguments import check_epoch, check_network, check_settings, check_training, groups_of
from psap.pruning.channels import penalise_scales
from psap.pruning.choice import Chooser
from psap.pruning.cost import CostModel, Measure, OrderedCost, check_as_planned
from psap.pruning.criteria import CRITERIA
from psap.pruning.groups import Group
from psap.pruning.history import History
from psap.pruning.method import Method
from psap.pruning.passes import varied
from psap.pruning.reconstruction import Reconstruction, protect
from psap.pruning.schedule import steps
from psap.pruning.signals import added, weight_gradient
from psap.pruning.witness import Witness, unwatch
from psap.ranks import agreed, average

_IDLE, _COLLECT, _SUPERVISE = "idle", "collect", "supervise"
_STATE = ["_pruned", "_immune", "_phase", "_seen", "_epoch", "_pulse_due", "_signals", "_scores"]
_STATE += ["_begun", "_looks", "_iterations", "steps_per_epoch", "frozen", "restored", "difference"]


class Pruner:
    """Prunes `model` in place while it trains; see the module's text for the calls and docs/method.md for the method.

    model, example_inputs: the network and a batch of the shape that it takes, on its device; a tuple is of several
    arguments, a dict of named ones. Outputs may be tensors in tuples, dicts and dataclasses.
    target: share of multiply-adds (`measure="macs"`) or parameters (`"params"`) to remove, in (0, 1).
    epochs: how many times `step` will be called. optimizer: only its per-channel state is touched; it may train some of
    the parameters, or others beside. method: what to do (default: PSAP). seed: for the `random` criterion.
    groups: what `usable_groups` found in a network like `model`, where several are pruned (default: found anew).
    steps_per_epoch: the optimiser's steps in an epoch. A window never outlasts its epoch, so that the last pruning step
    lies within its own; until the number is known, from here or from the first epoch, a window still open ends where
    the next epoch begins (and in a training of a single epoch after one iteration).

    A few small batches of the training are kept, and the compacted network is compared on them too.

    `groups` are the prunable groups, `refused` the others, each with its `reason`; `pruned` the bool mask (C_g,) of
    each prunable group's pruned channels, `restored` the number of channels given back since the last `step`, `frozen`
    whether the masks are final, `history.rows` a row for each pruning step and group, `difference` that of the masked
    and the compacted network, once there is one.
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
        check_network(model, optimizer)
        self.method = method or Method()
        self._model, self._inputs = model, example_inputs
        found = groups_of(model, example_inputs, groups)
        self.groups = [group for group in found if not group.reason]
        self.refused = [group for group in found if group.reason]
        self.cost = CostModel(model, example_inputs, self.groups)
        self._chooser = Chooser(self.groups, self.cost, self.method, measure, seed)
        self._chooser.check_reachable(target, self.refused)
        self._reconstruction = Reconstruction(self.groups, self.method, optimizer)
        shares = steps(epochs=epochs, **self.method.schedule.model_dump())
        self._targets = {epoch: share * target for epoch, share in shares.items()}
        self._collects = CRITERIA[self.method.criterion].needs_gradients or self.method.protects_before
        self._pruned = [torch.zeros(group.channels, dtype=torch.bool) for group in self.groups]
        self._immune = [torch.zeros(group.channels, dtype=torch.int64) for group in self.groups]
        self._phase, self._seen, self._epoch, self._pulse_due = _IDLE, 0, -1, False
        self._signals: list[Tensor] = []
        self._scores: list[Tensor] = []
        self._epochs = epochs
        self.steps_per_epoch = steps_per_epoch or (1 if epochs == 1 else None)  # the fewest, as far as is known
        self._begun, self._looks, self._iterations = -1, 0, 0
        self.frozen, self.restored, self.difference = False, 0, 0.0
        self.history = History(self.groups)
        self._witness = Witness(model)

    def step(self, epoch: int) -> None:
        """Begin epoch `epoch` (0-based), once each and in order; prunes if the schedule has a step here.

        A step that needs gradients first gathers them over the method's window and then acts. A window still open
        ends here.
        """
        self._begin(epoch)
        self._close_window()
        self.restored = 0
        if epoch not in self._targets or self.frozen:
            return
        if self._phase == _SUPERVISE:  # opened just now: the window before it took the whole epoch
            self._restore()
        self._epoch = epoch
        if self._collects:
            self._phase, self._seen, self._signals, self._scores = _COLLECT, 0, [], []
        else:
            self._prune()

    def after_backward(self, scale: float = 1.0, taken: bool = True) -> None:
        """Look at the gradients. Call it between `backward` and the optimiser's step, before gradients are clipped.

        Under a loss scaler: after unscaling, with the `scale` of the loss, and whether the step will be `taken` or not,
        since gradients that overflowed say nothing. The scale is for the gradients of gates, which no scaler unscales.
        """
        self._looks += 1
        if not taken:
            self._reconstruction.discard()
            return
        if not 0 < scale < float("inf"):
            raise PsapError(f"after_backward: scale is {scale!r}; give the loss scale, scaler.get_scale()")
        if all(slot.tensor.grad is None for group in self.groups for slot in group.weights):
            raise PsapError("after_backward: there are no gradients; call it after backward and before zero_grad")
        if not self.frozen:
            penalise_scales(self._model, self.method.bn_penalty)
        if self._phase == _COLLECT:
            self._scores = added(self._scores, self._chooser.scores())
            if self.method.protects_before:
                self._signals = added(self._signals, [weight_gradient(group) for group in self.groups])
        elif self._phase == _SUPERVISE:
            self._signals = added(self._signals, self._reconstruction.signals(scale))
        self._seen += self._phase != _IDLE
        if self._pulse_due:
            self.history.note_pulse(self._pruned)
            self._pulse_due = False
        self._reconstruction.hold.gradients()

    def after_step(self) -> None:
        """Finish the iteration. Call it after the optimiser's step."""
        self._reconstruction.hold.values()
        self._iterations += 1
        if self._seen >= self.method.window or self._iterations == self.steps_per_epoch:
            self._close_window()

    def compact(self) -> nn.Module:
        """The network without its pruned channels: in eval mode its outputs equal the masked network's.

        Raises PsapError before the freeze (the masks are not final), and when outputs or counted cost are not as
        planned.
        """
        if self._epoch == self.last_epoch:
            self._close_window()
        if not self.frozen:
            raise PsapError(
                f"the masks are not final: the last pruning step belongs to epoch {self.last_epoch} and needs at "
                "least one iteration of it; train that far before compact()"
            )
        small = self.reduced(self._model)
        unwatch(self._model)
        others = [*varied(self._inputs), *self._witness.batches]
        self.difference = compaction.difference(self._model, small, self._inputs, others)
        check_as_planned(small, self._inputs, self._counted()([int(mask.sum()) for mask in self._pruned]))
        return small

    def reduced(self, network: nn.Module) -> nn.Module:
        """A copy of `network`, built as the model is, without the channels pruned now, whatever values they have."""
        return compaction.compact(network, self._inputs, self.groups, self._pruned)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last pruning step, the freeze."""
        return max(self._targets)

    @property
    def pruned(self) -> list[Tensor]:
        """Masks of the channels pruned now: bool, (C_g,), a copy for each group, on the CPU."""
        return [mask.clone() for mask in self._pruned]

    def reduction(self, measure: Measure = "macs") -> float:
        """Counted reduction, in [0, 1), that removing the channels pruned now would give."""
        return self._counted().reduction([int(mask.sum()) for mask in self._pruned], measure)

    def _counted(self) -> OrderedCost:
        return self.cost.order([(~mask).long().argsort(stable=True) for mask in self._pruned])

    def _begin(self, epoch: int) -> None:
        """Check that the epoch before was gone through as it has to be, and learn how long it was."""
        check_epoch(epoch, self._begun, self._epochs)
        if self._phase != _IDLE and not self._looks:
            raise PsapError(
                f"after_backward was not called in epoch {self._begun}, where pruning waits for gradients; call it "
                "between backward and the optimiser's step"
            )
        if self._looks and not self._iterations:
            raise PsapError(f"after_step was not called in epoch {self._begun}; call it after the optimiser's step")
        if self._iterations:
            self.steps_per_epoch = min(self.steps_per_epoch or self._iterations, self._iterations)
        self._begun, self._looks, self._iterations = epoch, 0, 0

    def _prune(self) -> None:
        """Choose, and do to the chosen what the method's reconstruction says."""
        # What is banked must be the same on all ranks, and running statistics are each one's own within an epoch.
        average(buffer for buffer in self._model.buffers() if buffer.is_floating_point())
        protected = [immune > 0 for immune in self._immune]
        if self.method.protects_before:
            settings = self.method.protection
            for g, signal in enumerate(self._signals):
                protected[g] |= protect(signal.cpu(), ~self._pruned[g], settings.quantile, settings.share)
        target = self._targets[self._epoch]
        scores = self._scores or self._chooser.scores()
        choice = agreed(lambda: self._chooser.choose(scores, target, self._pruned, protected))
        self.history.add_step(self._epoch, target, choice)
        freeze = self._epoch == self.last_epoch
        self._phase = _SUPERVISE if self._reconstruction.prune(self._pruned, choice.masks, freeze) else _IDLE
        self._pruned, self.frozen = choice.masks, freeze
        self._immune = [(immune - 1).clamp(min=0) for immune in self._immune]
        self._seen, self._signals, self._scores = 0, [], []
        self._pulse_due = freeze or not self.method.gated

    def _close_window(self) -> None:
        """End an open window with what it has seen; one that has seen nothing stays open."""
        if self._phase == _IDLE or not self._seen:
            return
        if self._phase == _COLLECT:
            self._prune()
        else:
            self._restore()

    def _restore(self) -> None:
        restored = self._reconstruction.restore(self._pruned, self._signals)
        for g, back in enumerate(restored):
            self._pruned[g] = self._pruned[g] & ~back
            self._immune[g][back] = self.method.protection.immunity
        counts = [int(back.sum()) for back in restored]
        self.history.note_restored(counts)
        self.restored += sum(counts)
        self._phase, self._seen, self._signals = _IDLE, 0, []
        self._pulse_due |= self.method.gated

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs, as plain values and tensors (readable with `weights_only=True`)."""
        parts = {"bank": self._reconstruction.state_dict(), "chooser": self._chooser.state_dict()}
        return {name: getattr(self, name) for name in _STATE} | parts | {"history": self.history.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the `state_dict()` of a pruner made with the same arguments. PsapError where it is none."""
        sizes = [len(mask) for mask in state.get("_pruned", [])]
        if not state.keys() >= set(_STATE) or sizes != [group.channels for group in self.groups]:
            raise PsapError(
                "the state is not one of this pruner: its network, its arguments or psap's version were others"
            )
        for name in _STATE:
            setattr(self, name, state[name])
        device = self.groups[0].weights[0].tensor.device
        self._signals, self._scores = ([value.to(device) for value in kept] for kept in (self._signals, self._scores))
        self._chooser.load_state_dict(state["chooser"])
        self.history.load_state_dict(state["history"])
        supervised = self._phase == _SUPERVISE
        held = self.frozen or self.method.reconstruction == "hard" or (self.method.holds and not supervised)
        self._reconstruction.load_state_dict(state["bank"], self._pruned, held=held, supervised=supervised)
