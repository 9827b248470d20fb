"""The one training loop: dense training, prune-training and fine-tuning."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from psap.data.seeds import derive_seed
from psap.training.divergence import Diverged, wrong_loss, wrong_network, wrong_score
from psap.training.evaluation import Score
from psap.training.optim import learning_rate
from psap.training.precision import autocast
from psap.training.schema import TrainConfig
from psap.training.train_state import TrainState
from psap.utils import distributed
from psap.utils.mappings import JsonObject


class BatchSource(Protocol):
    """What there is to train on: `epoch(n)` yields `len(...)` micro-batches, `accumulation_steps` to each step."""

    accumulation_steps: int

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


@dataclass
class Progress:
    """Where a training stands: epochs done, a row for each of them, and the seconds that they took."""

    epoch: int = 0
    rows: list[JsonObject] = field(default_factory=list)
    seconds: float = 0.0


def train(
    train_state: TrainState,
    batches: BatchSource,
    training: TrainConfig,
    seed: int,
    score: Callable[[nn.Module], Score],
    progress: Progress,
    after_epoch: Callable[[Progress], None],
    classes: int,
    reduction: float = 0.0,
) -> None:
    """Train from `progress.epoch` to the recipe's last epoch, pruning where there is a pruner.

    After each epoch a row joins `progress.rows` and `after_epoch` is called; after every `score_every` epochs and the
    last one, `score` evaluates the network. All that is random in an epoch follows from (seed, epoch), so a resumed
    training resumes bit for bit. `reduction` is what the rows show where there is no pruner. Raises Diverged when loss,
    network or score are no numbers any more; the row of that epoch is there, and `after_epoch` is not called for it.
    """
    recipe, pruner = training.recipe, train_state.pruner
    for epoch in range(progress.epoch, recipe.epochs):
        start = time.perf_counter()
        torch.manual_seed(derive_seed(seed, epoch, distributed.rank()))  # for layers that draw numbers, such as dropout
        train_state.begin_epoch(epoch)
        loss, lr = run_epoch(train_state, batches, training, epoch)
        distributed.average(train_state.running_statistics())
        wrong = wrong_loss(loss, classes) or wrong_network(train_state.model)
        last = epoch + 1 == recipe.epochs  # which counts, and is scored in float32
        due = last or (epoch + 1) % training.score_every == 0
        with nullcontext() if last else autocast(training.precision, train_state.device):
            result = score(train_state.current()) if due and not wrong else None
        wrong = wrong or (wrong_score(result) if result else "")
        progress.rows.append(
            {
                "epoch": epoch + 1,
                "lr": lr,
                "train_loss": _finite(loss),
                "loss": result and _finite(result.loss),
                "top1": result and result.top1,
                "reduction": pruner.reduction() if pruner else reduction,
                "pruned": sum(int(mask.sum()) for mask in pruner.masks) if pruner else 0,
                "restored": pruner.restored if pruner else 0,
                "final": int(pruner.frozen) if pruner else 1,
                "time": int(1000 * time.time()),
            }
        )
        progress.seconds += time.perf_counter() - start
        if wrong:
            raise Diverged(epoch + 1, wrong, recipe.lr)
        progress.epoch = epoch + 1
        after_epoch(progress)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def run_epoch(train_state: TrainState, batches: BatchSource, training: TrainConfig, epoch: int) -> tuple[float, float]:
    """One epoch; returns the mean training loss and the last learning rate. Nothing in it waits for the device, but for
    float16, where a step whose gradients overflow is left out.
    """
    train_state.model.train()
    total: Tensor | None = None
    for i, (images, labels) in enumerate(batches.epoch(epoch)):
        if i % batches.accumulation_steps == 0:
            lr = learning_rate(training.recipe, (epoch + i / len(batches)) / training.recipe.epochs)
            train_state.set_learning_rate(lr)
        complete = (i + 1) % batches.accumulation_steps == 0
        loss = _backward(train_state, images, labels, training, 1 / batches.accumulation_steps, complete)
        if complete:
            _step(train_state, training)
        total = loss if total is None else total + loss
    assert total is not None, "an epoch without a batch"
    distributed.average([total])
    return float(total) / len(batches), lr


def _backward(
    train_state: TrainState, images: Tensor, labels: Tensor, training: TrainConfig, weight: float, complete: bool
) -> Tensor:
    """Add `weight` times the gradient of a micro-batch; once the batch is `complete`, it is the mean over the ranks."""
    with nullcontext() if complete else distributed.no_sync(train_state.replica):
        with autocast(training.precision, images.device):
            loss = train_state.objective(train_state.forward(images), images, labels)
        train_state.scaler.scale(loss * weight).backward()
    return loss.detach()


def _step(train_state: TrainState, training: TrainConfig) -> None:
    """An optimiser's step, with what pruning does before and after it."""
    pruner, scaler, clip = train_state.active_pruner(), train_state.scaler, training.clip_norm
    scaler.unscale_(train_state.optimizer)
    if pruner:
        pruner.after_backward(scaler.get_scale(), train_state.gradients_are_finite())
    if clip:
        torch.nn.utils.clip_grad_norm_(train_state.model.parameters(), clip)
    scaler.step(train_state.optimizer)
    scaler.update()
    train_state.optimizer.zero_grad()
    if pruner:
        pruner.after_step()
    train_state.finish_step()
