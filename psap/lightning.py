"""Pruning inside Lightning's training loop (pip install lightning): a callback that makes the Pruner's calls.

callback = PruningCallback(torch.randn(1, 3, 32, 32), target=0.5, network="model")
trainer = Trainer(max_epochs=epochs, callbacks=[callback])
trainer.fit(module, loader)
small = callback.compact()
"""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from psap.errors import PsapError, suggestion
from psap.pruning.arguments import check_settings
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.utils.bounds import Measure
from psap.utils.mappings import StateDict

try:
    from lightning.fabric.utilities import move_data_to_device
    from lightning.pytorch import Callback, LightningModule, Trainer
except ModuleNotFoundError as error:
    raise PsapError("psap.lightning needs the package lightning: pip install lightning") from error


class PruningCallback(Callback):
    """Prunes a LightningModule, or a network inside it, while `Trainer.fit` trains it over `Trainer(max_epochs=...)`.

    For automatic optimisation, with accumulated and clipped gradients and loss scaling as the Trainer has them. The
    pruner's state is part of Lightning's checkpoints: `fit(ckpt_path=...)` resumes as if never interrupted, where the
    data do.

    Args:
        example_inputs: A batch (or tuple of arguments) of the shape that the network takes, on any device.
        target: As for `psap.Pruner`.
        method: As for `psap.Pruner`.
        measure: As for `psap.Pruner`.
        seed: As for `psap.Pruner`.
        network: Name of the attribute that holds the network to prune (`""`: the module itself).

    Raises:
        PsapError: As for `psap.Pruner`. Also when `fit` begins: for manual optimisation, a training without an end,
            without an optimiser or that ends before the last pruning step, and a strategy that shards parameters.
    """

    def __init__(
        self,
        example_inputs: Any,
        target: float,
        method: Method | None = None,
        measure: Measure = "macs",
        seed: int = 0,
        network: str = "",
    ) -> None:
        check_settings(target, method, measure, seed)
        self._inputs, self._target, self._network = example_inputs, target, network
        self._method, self._measure, self._seed = method, measure, seed
        self._pruner: Pruner | None = None
        self._restored: StateDict = {}
        self._stepped = False

    @property
    def pruner(self) -> Pruner:
        """The pruner of the last `fit`: its masks, history and counted reduction. PsapError before the first."""
        if self._pruner is None:
            raise PsapError("nothing is pruned yet: the pruner is made when trainer.fit begins")
        return self._pruner

    def compact(self) -> nn.Module:
        """The network without its pruned channels: in eval mode its outputs equal the masked network's.

        Returns:
            A smaller ordinary network, on the device where the network lies now.

        Raises:
            PsapError: Before the masks are final.
        """
        pruner, network = self.pruner, self._trained
        place = next(network.parameters()).device
        network.to(self._device)  # where it was pruned: Lightning takes it to the processor at the end of `fit`
        try:
            return pruner.compact().to(place)
        finally:
            network.to(place)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the pruner: the network has its weights and its device, and the optimiser is there."""
        self._check(trainer, pl_module)
        assert trainer.max_epochs is not None
        self._trained, self._device = dict(pl_module.named_modules())[self._network], pl_module.device
        self._pruner = Pruner(
            self._trained,
            move_data_to_device(self._inputs, pl_module.device),
            self._target,
            trainer.max_epochs,
            trainer.optimizers[0],
            self._method,
            self._measure,
            self._seed,
        )
        self._epoch = -1
        if self._restored:
            self._epoch = self._restored["epoch"]
            self._pruner.load_state_dict(self._restored["pruner"])
            self._restored = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the pruner how long an epoch is: the data are there now."""
        if not math.isfinite(trainer.num_training_batches):
            return
        steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        self.pruner.steps_per_epoch = steps
        if -1 < trainer.max_steps <= self.pruner.last_epoch * steps:
            raise PsapError(
                f"Trainer(max_steps={trainer.max_steps}) ends the training before its last pruning step, in epoch "
                f"{self.pruner.last_epoch} of {steps} steps each; give more steps, or fewer max_epochs"
            )

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin an epoch with its first batch: prune if the schedule says so.

        Not in on_train_epoch_start, which Lightning leaves out after a checkpoint of an epoch's last batch.
        """
        if trainer.current_epoch != self._epoch:
            self._epoch = trainer.current_epoch
            self.pruner.step(self._epoch)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Look at the gradients: accumulated, unscaled, and not clipped yet."""
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        if scaler is None:
            self.pruner.after_backward()
        else:
            self.pruner.after_backward(scaler.get_scale(), _finite(optimizer))
        self._stepped = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Finish the iteration if the optimiser has made a step: not while gradients are accumulated."""
        if self._stepped:
            self.pruner.after_step()
            self._stepped = False

    def state_dict(self) -> StateDict:
        """What a checkpoint holds: the pruner's state, and the epoch that it is in."""
        return {"epoch": self._epoch, "pruner": self._pruner.state_dict()} if self._pruner else self._restored

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Keep the state of a checkpoint until the pruner is made."""
        self._restored = state_dict

    def _check(self, trainer: Trainer, module: LightningModule) -> None:
        if not module.automatic_optimization:
            raise PsapError(
                f"{type(module).__name__} optimises by hand (automatic_optimization = False), where no callback sees "
                "its steps; call psap.Pruner in its training_step instead"
            )
        children = [name for name, _ in module.named_children()]
        if self._network not in dict(module.named_modules()):
            raise PsapError(
                f"{type(module).__name__} has no network {self._network!r}{suggestion(self._network, children)}"
            )
        if not trainer.optimizers:
            raise PsapError(f"{type(module).__name__} has no optimiser: configure_optimizers has to return one")
        if trainer.max_epochs == -1:
            raise PsapError("the schedule needs to know when the training ends: give Trainer a max_epochs")
        if trainer.strategy.restore_checkpoint_after_setup:
            raise PsapError(
                f"{type(trainer.strategy).__name__} shards parameters, and channels cannot be pruned in parts; use ddp "
                "or a single device"
            )


def _finite(optimizer: Optimizer) -> bool:
    """Whether the loss scaler will let the step be taken."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return bool(torch.nn.utils.get_total_norm(gradients).isfinite())
