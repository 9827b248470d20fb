"""The one training loop: dense training, prune-training and fine-tuning."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.data.batches import Batches
from psap.errors import PsapError
from psap.evaluate import Score
from psap.training.learner import Learner
from psap.training.optim import learning_rate

Row = dict[str, Any]


@dataclass
class Progress:
    """Where a training stands: epochs done, a row for each of them, and the seconds that they took."""

    epoch: int = 0
    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0


def train(
    learner: Learner,
    batches: Batches,
    training: Mapping[str, Any],
    seed: int,
    score: Callable[[nn.Module], Score],
    progress: Progress,
    after_epoch: Callable[[Progress], None],
    reduction: float = 0.0,
) -> None:
    """Train from `progress.epoch` to the recipe's last epoch, pruning where there is a pruner.

    After each epoch a row joins `progress.rows` and `after_epoch` is called; after every `score_every` epochs and the
    last one, `score` evaluates the network. All that is random in an epoch follows from (seed, epoch), so a resumed
    training goes on bit for bit. `reduction` is what the rows show where there is no pruner. Raises PsapError when the
    loss is no longer finite.
    """
    recipe, pruner = training["recipe"], learner.pruner
    for epoch in range(progress.epoch, recipe["epochs"]):
        start = time.perf_counter()
        torch.manual_seed((seed << 20) + epoch)  # for layers that draw numbers, such as dropout
        learner.begin(epoch)
        loss, lr = run_epoch(learner, batches, training, epoch)
        if not math.isfinite(loss):
            raise PsapError(
                f"the loss is {loss} in epoch {epoch + 1}; a lower training lr than {recipe['lr']} may help"
            )
        due = (epoch + 1) % training["score_every"] == 0 or epoch + 1 == recipe["epochs"]
        result = score(learner.model) if due else None
        progress.rows.append(
            {
                "epoch": epoch + 1,
                "lr": lr,
                "train_loss": loss,
                "loss": result and result.loss,
                "top1": result and result.top1,
                "reduction": pruner.reduction() if pruner else reduction,
                "pruned": sum(int(mask.sum()) for mask in pruner.pruned) if pruner else 0,
                "restored": pruner.restored if pruner else 0,
                "final": int(pruner.frozen) if pruner else 1,
                "time": int(1000 * time.time()),
            }
        )
        progress.epoch = epoch + 1
        progress.seconds += time.perf_counter() - start
        after_epoch(progress)


def run_epoch(learner: Learner, batches: Batches, training: Mapping[str, Any], epoch: int) -> tuple[float, float]:
    """One epoch; returns the mean training loss and the last learning rate. Nothing in it waits for the device."""
    learner.model.train()
    optimizer, pruner = learner.optimizer, learner.active_pruner()
    recipe, smoothing = training["recipe"], training["label_smoothing"]
    half = training["precision"] == "bfloat16"
    total: Tensor | None = None
    for i, (images, labels) in enumerate(batches.epoch(epoch)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, (epoch + i / len(batches)) / recipe["epochs"])
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            loss = F.cross_entropy(learner.forward(images), labels, label_smoothing=smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if pruner:
            pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        if pruner:
            pruner.after_step()
        total = loss.detach() if total is None else total + loss.detach()
    assert total is not None, "an epoch without a batch"
    return float(total) / len(batches), float(optimizer.param_groups[0]["lr"])
