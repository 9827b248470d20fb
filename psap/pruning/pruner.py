"""The iterative prune-train procedure, in the few calls that a training loop makes.

pruner = Pruner(model, example_inputs, target=0.5, epochs=epochs, optimizer=optimizer)
for epoch in range(epochs):
    pruner.step(epoch)                      # adapt the ratios, select, back up, zero
    for x, y in loader:
        loss_fn(model(x), y).backward()
        pruner.after_backward()             # supervise gradients (after unscaling, before clipping)
        optimizer.step(); optimizer.zero_grad()
        pruner.after_step()                 # restore what matters; keep at zero what must stay zero
small = pruner.compact()                    # a smaller ordinary network, same outputs
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from psap.errors import PsapError
from psap.pruning.arguments import check_optimizer, check_settings, check_training, groups_of
from psap.pruning.calls import Calls
from psap.pruning.cost import CostModel, OrderedCost, check_as_planned
from psap.pruning.cycle import Cycle
from psap.pruning.graph import compact as compaction
from psap.pruning.graph.admission import check_network
from psap.pruning.graph.find import require_prunable
from psap.pruning.graph.groups import Group
from psap.pruning.keep import kept_whole, restricted
from psap.pruning.method import Method
from psap.pruning.parts import check_target, make_reconstruction, make_selector
from psap.pruning.schedule import steps
from psap.pruning.witness import Witness, unwatch
from psap.utils.bounds import Measure
from psap.utils.mappings import StateDict
from psap.utils.passes import varied


class Pruner:
    """Prunes a network in place while it trains; see the module's text for the calls and docs/method.md for the method.

    A window never outlasts its epoch, so that the last pruning step lies within its own. Until the number of steps in
    an epoch is known, from the argument or from the first epoch, a window still open ends where the next epoch begins
    (and in a training of a single epoch after one iteration). A few small batches of the training are kept, and the
    compacted network is compared on them too.

    Args:
        model: The network.
        example_inputs: A batch of the shape that it takes, on its device: a tensor, a tuple of several arguments, or a
            dict of named ones. Outputs may be tensors in tuples, dicts and dataclasses.
        target: Share of multiply-adds or parameters to remove, in (0, 1).
        epochs: How many times `step` will be called.
        optimizer: Only its per-channel state is touched; it may train some of the parameters, or others too.
        method: What to do (default: PSAP).
        measure: What the target is a share of: `"macs"` or `"params"`.
        seed: For the `random` criterion.
        groups: What `find_prunable_groups` found in a network like `model`, for pruning several (default: found here).
        steps_per_epoch: The optimiser's steps in an epoch.
        ignore: Layers to keep whole, such as `["stem", "head.*"]`, in place of the method's own.
        ratios: Bounds on what some layers lose, such as `{"layer4.*": (0, 0.3)}`, in place of the method's own.

    Attributes:
        groups: The prunable groups.
        unprunable: The others, each with its `reason`.
        cost: The multiply-adds and parameters of the network, as functions of what its groups lose.
        history: Its `rows` have one row for each pruning step and group.
        max_output_difference: That of the masked and the compacted network, once there is one.

    Raises:
        PsapError: Before anything is changed, when an argument is wrong, the network has nothing to prune or cannot be
            compacted, or the target cannot be met; and when calls are missing or out of order.
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
        ignore: Sequence[str] = (),
        ratios: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        check_settings(target, method, measure, seed)
        check_training(epochs, steps_per_epoch)
        check_network(model)
        check_optimizer(model, optimizer)
        self.method = restricted(method or Method(), ignore, ratios)
        self._model, self._inputs = model, example_inputs
        found = kept_whole(groups_of(model, example_inputs, groups, self.method.through_norms), self.method)
        require_prunable(model, found)
        self.groups = [group for group in found if not group.reason]
        self.unprunable = [group for group in found if group.reason]
        self.cost = CostModel(model, example_inputs, self.groups)
        selector = make_selector(model, example_inputs, self.groups, self.cost, self.method, measure, seed)
        check_target(target, self.groups, self.cost, self.method, measure, self.unprunable)
        reconstruction = make_reconstruction(self.groups, self.method, optimizer)
        shares = steps(epochs=epochs, **self.method.schedule.model_dump())
        targets = {epoch: share * target for epoch, share in shares.items()}
        self._cycle = Cycle(model, self.groups, self.method, targets, selector, reconstruction)
        self.history = self._cycle.history
        self.max_output_difference = 0.0
        self._calls = Calls(epochs, steps_per_epoch)
        self._witness = Witness(model)

    def step(self, epoch: int) -> None:
        """Begin an epoch, once each and in order; prunes if the schedule has a step here.

        A step that needs gradients first gathers them over the method's window and then acts. A window still open
        ends here.

        Args:
            epoch: The number of the epoch, from 0.
        """
        self._calls.begin_epoch(epoch, waiting=self._cycle.window is not None)
        self._cycle.begin_epoch(epoch, self.steps_per_epoch)

    def after_backward(self, scale: float = 1.0, step_taken: bool = True) -> None:
        """Look at the gradients. Call it between `backward` and the optimiser's step, before gradients are clipped.

        Under a loss scaler: after unscaling.

        Args:
            scale: The scale of the loss. It is for the gradients of gates, which no scaler unscales.
            step_taken: Whether the optimiser will step: gradients that overflowed say nothing.

        Raises:
            PsapError: When there are no gradients, or `scale` is not a positive number.
        """
        self._calls.look()
        if not step_taken:
            self._cycle.discard()
            return
        if not 0 < scale < float("inf"):
            raise PsapError(f"after_backward: scale is {scale!r}; give the loss scale, scaler.get_scale()")
        if all(slot.tensor.grad is None for group in self.groups for slot in group.weights):
            raise PsapError("after_backward: there are no gradients; call it after backward and before zero_grad")
        self._cycle.look(scale)

    def after_step(self) -> None:
        """Finish the iteration. Call it after the optimiser's step."""
        self._cycle.finish_step()
        epoch_ends = self._calls.step()
        if epoch_ends or self._cycle.window_is_full:
            self._cycle.close_window()

    def compact(self) -> nn.Module:
        """The network without its pruned channels: in eval mode its outputs equal the masked network's.

        Returns:
            A smaller ordinary network, with parameters of its own.

        Raises:
            PsapError: Before the freeze (the masks are not final), and when outputs or counted cost are not as planned.
        """
        self._cycle.close_last_window()
        if not self.frozen:
            raise PsapError(
                f"the masks are not final: the last pruning step belongs to epoch {self.last_epoch} and needs at "
                "least one iteration of it; train that far before compact()"
            )
        small = self.compact_copy(self._model)
        unwatch(self._model)
        others = [*varied(self._inputs), *self._witness.batches]
        self.max_output_difference = compaction.difference(self._model, small, self._inputs, others)
        check_as_planned(small, self._inputs, self._counted()(self._pruned_counts()))
        return small

    def compact_copy(self, network: nn.Module) -> nn.Module:
        """Copy another network without the channels that are pruned now, whatever values they have.

        Args:
            network: A network built as the model is, such as one that holds its momentum.

        Returns:
            A smaller ordinary network.
        """
        return compaction.compact(network, self._inputs, self.groups, self._cycle.masks)

    @property
    def frozen(self) -> bool:
        """Whether the masks are final."""
        return self._cycle.frozen

    @property
    def last_epoch(self) -> int:
        """The epoch of the last pruning step, the freeze."""
        return self._cycle.last_epoch

    @property
    def hooked(self) -> bool:
        """Whether hooks on the network's layers look now: call the network itself then, not a compiled one.

        torch.compile does not run hooks that are set after it.
        """
        return self._cycle.hooked

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
        return [mask.clone() for mask in self._cycle.masks]

    def reduction(self, measure: Measure = "macs") -> float:
        """Counted reduction that removing the channels pruned now would give.

        Args:
            measure: Of multiply-adds (`"macs"`) or of parameters (`"params"`).

        Returns:
            A share, in [0, 1).
        """
        return self._counted().reduction(self._pruned_counts(), measure)

    def _counted(self) -> OrderedCost:
        return self.cost.order([(~mask).long().argsort(stable=True) for mask in self._cycle.masks])

    def _pruned_counts(self) -> list[int]:
        return [int(mask.sum()) for mask in self._cycle.masks]

    def state_dict(self) -> StateDict:
        """What a resumed run needs.

        Returns:
            Plain values and tensors, which `torch.load` reads with `weights_only=True`.
        """
        own = {"max_output_difference": self.max_output_difference, "calls": self._calls.state_dict()}
        return own | self._cycle.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from the state of a pruner that was made with the same arguments.

        Args:
            state: What its `state_dict()` gave.

        Raises:
            PsapError: When it is not a state of such a pruner.
        """
        sizes = [len(mask) for mask in state.get("masks", [])]
        if state.keys() != self.state_dict().keys() or sizes != [group.channels for group in self.groups]:
            raise PsapError(
                "the state is not one of this pruner: its network, its arguments or psap's version were others"
            )
        self.max_output_difference = state["max_output_difference"]
        self._calls.load_state_dict(state["calls"])
        self._cycle.load_state_dict(state)
