"""What a training changes and a checkpoint holds: the network, its optimiser and what prunes it."""

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from psap.pruning.pruner import Pruner
from psap.training.optim import sgd
from psap.training.recovery import Objective, averaged
from psap.training.schema import TrainConfig
from psap.utils import distributed
from psap.utils.mappings import StateDict


class TrainState:
    """A network in training, pruned on the way by the Pruner that `pruning` makes of network and optimiser.

    From the epoch after the freeze on, what trains is the compacted network: the masked one and it are the same
    function with the same gradients, and the small one is faster. The momentum of what remains goes with it.

    `model` is the network that trains now, `replica` averages its gradients where several ranks train it, `forward`
    calls this, compiled if the training asks for it. `scaler` keeps float16 gradients in range; else it does nothing.
    `objective` is what it minimises. `average` follows the weights if the training asks for it, once no step prunes any
    more: means over masks that change would be no network's.
    """

    def __init__(
        self,
        model: nn.Module,
        training: TrainConfig,
        pruning: Callable[..., Pruner] | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        self._training = training
        self.objective = Objective(training, teacher)
        self._set_model(model)
        self.device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=training.precision == "float16")
        self.pruner = pruning(self.model, optimizer=self.optimizer) if pruning else None
        self.compacted = False
        self.average = None if pruning else self._averaged()

    def begin_epoch(self, epoch: int) -> None:
        """Begin epoch `epoch` (0-based): prune if the schedule says so, go over to the compacted network if it can."""
        if not self.pruner or self.compacted:
            return
        if self.pruner.frozen:
            self._compact()
        self.pruner.step(epoch)

    @property
    def forward(self) -> Callable[..., Tensor]:
        """What to call in training: compiled if the training asks for it, but not while the pruner's hooks look."""
        return self.replica if (pruner := self.active_pruner()) and pruner.hooked else self._compiled

    def active_pruner(self) -> Pruner | None:
        """The pruner while its masks act on the network in training."""
        return None if self.compacted else self.pruner

    def network(self) -> nn.Module:
        """The network that the training leads to: the compacted one if there is a pruner."""
        return self.pruner.compact() if self.pruner and not self.compacted else self.current()

    def current(self) -> nn.Module:
        """What the training is worth now: the mean of the weights if there is one, else the network itself."""
        return self.average.module if self.average else self.model

    def running_statistics(self) -> Iterator[Tensor]:
        """The statistics that batch-norm layers keep, of all networks here."""
        buffers = itertools.chain(self.model.buffers(), self.average.module.buffers() if self.average else ())
        return (buffer for buffer in buffers if buffer.is_floating_point())

    def finish_step(self) -> None:
        """After a step of the optimiser: the mean follows."""
        if self.average:
            self.average.update_parameters(self.model)

    def set_learning_rate(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def gradients_are_finite(self) -> bool:
        """Whether the step to come will be taken; float16 alone has to ask, and to wait for the answer."""
        if not self.scaler.is_enabled():
            return True
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return bool(torch.nn.utils.get_total_norm(gradients).isfinite())

    def _compact(self) -> None:
        assert self.pruner
        momentum = copy.deepcopy(self.model)
        for parameter, remembered in zip(self.model.parameters(), momentum.parameters(), strict=True):
            buffer = self.optimizer.state[parameter].get("momentum_buffer")
            remembered.data = torch.zeros_like(parameter) if buffer is None else buffer
        remains = self.pruner.compact_copy(momentum)
        self._set_model(self.pruner.compact())
        for parameter, remembered in zip(self.model.parameters(), remains.parameters(), strict=True):
            self.optimizer.state[parameter]["momentum_buffer"] = remembered.detach().clone(
                memory_format=torch.preserve_format
            )
        self.compacted = True
        self.average = self._averaged()

    def _averaged(self) -> AveragedModel | None:
        return averaged(self.model, self._training.recipe.ema)

    def _set_model(self, model: nn.Module) -> None:
        self.model = model.to(memory_format=torch.channels_last)
        self.replica = distributed.wrap_ddp(self.model)
        self._compiled = torch.compile(self.replica) if self._training.compile else self.replica
        self.optimizer = sgd(self.model, self._training)

    def state_dict(self) -> StateDict:
        """All that a resumed training needs, as plain values and tensors (readable with `weights_only=True`)."""
        return {
            "compacted": self.compacted,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "pruner": self.pruner.state_dict() if self.pruner else None,
            **({"average": self.average.state_dict()} if self.average else {}),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from the `state_dict()` of a TrainState made with the same arguments."""
        if self.pruner:
            self.pruner.load_state_dict(state["pruner"])
        if state["compacted"]:
            assert self.pruner
            self._set_model(self.pruner.compact_copy(self.model))
            self.compacted = True
            self.average = self._averaged()
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.load_state_dict(state["average"])
