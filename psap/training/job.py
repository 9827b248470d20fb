"""One run from start to end in one process: train or prune-train, compact, evaluate, write its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from psap.data.batches import Batches
from psap.data.dataset import DataSet, Split, cut_validation, subset
from psap.evaluate import LATENCY_BATCH, Score, accuracy, latencies, peak_memory_mb
from psap.models import architecture, build
from psap.pruning.cost import count_macs, count_params
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.checkpoint import Checkpoints
from psap.training.learner import Learner
from psap.training.loop import Progress, train

# The subset of the training images and the validation split are the same for every run of a suite.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Outcome:
    """What a finished run found out: the `result` and `cost` of its row, and its network."""

    result: dict[str, Any]
    cost: dict[str, float]
    network: nn.Module


class Job:
    """The training of one run, given its resolved configuration (psap.suite.Run.config).

    `start`: folder of the dense network to start from, or of the architecture to train anew; `dense`: folder of the
    dense network of the same seed, the baseline (None for a dense run itself).
    """

    def __init__(
        self, config: Mapping[str, Any], data: DataSet, device: torch.device, start: Path | None, dense: Path | None
    ) -> None:
        self.config, self._data, self._device, self._dense = config, data, device, dense
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.manual_seed(config["seed"])
        self.classes, self.in_channels = len(data.classes), data.train.images.shape[3]
        self._train, self._score = self._batches()
        self.learner = Learner(self._network(start).to(device), config["training"], self._pruning())
        self.progress = Progress()

    def run(self, checkpoints: Checkpoints, after_epoch: Any) -> Outcome:
        """Train to the end from the newest checkpoint (`resume` first), then compact and evaluate."""

        def done(progress: Progress) -> None:
            checkpoints.save(progress.epoch, {"learner": self.learner.state_dict(), "progress": vars(progress)})
            after_epoch(progress)

        train(
            self.learner,
            self._train,
            self.config["training"],
            self.config["seed"],
            partial(accuracy_of, batches=self._score),
            self.progress,
            done,
            0.0 if self.pruner else 1 - self._macs(self.learner.model) / self._macs(self._reference()),
        )
        return self._outcome()

    def resume(self, checkpoints: Checkpoints) -> None:
        """Go on from the newest whole checkpoint, if there is one."""
        state = checkpoints.load()
        if state is not None:
            self.learner.load_state_dict(state["learner"])
            self.progress = Progress(**state["progress"])

    @property
    def pruner(self) -> Pruner | None:
        return self.learner.pruner

    def _network(self, start: Path | None) -> nn.Module:
        name = self.config["model"]
        if start is None:
            return build(name, self.classes, self.in_channels)
        if "retrain" in self.config.get("method", {}):
            return architecture.build_like(start)
        return architecture.load(start, expect_name=name)

    def _batches(self) -> tuple[Batches, Batches]:
        settings, data = self.config["data"], self._data
        train: Split = data.train
        held_out: Split = data.test
        if settings["validation"]:
            train, validation = cut_validation(train, settings["validation"], _SPLIT_SEED)
            held_out = validation if settings["evaluate"] == "validation" else held_out
        if settings["train_images"]:
            train = subset(train, settings["train_images"], _SPLIT_SEED)
        size, seed = self.config["training"]["batch_size"], self.config["seed"]
        make = partial(Batches, mean=data.mean, std=data.std, device=self._device)
        augmented = make(train, size, seed=seed, train=True, pad=settings["pad"], flip=settings["flip"])
        return augmented, make(held_out, max(size, 500), train=False)

    def _pruning(self) -> dict[str, Any] | None:
        """The arguments of the pruner; None where nothing is pruned."""
        method = self.config.get("method", {"retrain": ""})
        if "retrain" in method:
            return None
        return {
            "example_inputs": self._example(1),
            "epochs": self.config["training"]["recipe"]["epochs"],
            "method": Method.model_validate(method),
        } | {name: self.config[name] for name in ("target", "measure", "seed")}

    def _example(self, count: int) -> torch.Tensor:
        images, _ = next(self._score.epoch(0))
        return images[:count]

    def _macs(self, network: nn.Module) -> int:
        return count_macs(network, self._example(1))

    def _reference(self) -> nn.Module:
        """The dense network, for its cost only."""
        return build(self.config["model"], self.classes, self.in_channels).to(self._device)

    def _outcome(self) -> Outcome:
        network = self.learner.network()
        score = accuracy_of(network, self._score)
        reference = self._reference()
        macs, macs_dense = self._macs(network), self._macs(reference)
        params, params_dense = count_params(network), count_params(reference)
        rows, seconds = self.progress.rows, self.progress.seconds
        dense_top1 = architecture.read(self._dense).extra["top1_last"] if self._dense else score.top1
        images = len(self._train) * self.config["training"]["batch_size"] * len(rows)
        for compared in (network, reference):  # compaction leaves the other layout
            compared.to(memory_format=torch.channels_last)
        speed, speed_dense = latencies([network, reference], self._example(LATENCY_BATCH))
        result = {
            "top1_last": score.top1,
            "top1_best": max([row["top1"] for row in rows if row["final"] and row["top1"] is not None]),
            "top5_last": score.top5,
            "loss_last": score.loss,
            "dense_top1": dense_top1,
            "drop": dense_top1 - score.top1,
            "macs": macs,
            "macs_dense": macs_dense,
            "macs_reduction": 1 - macs / macs_dense,
            "params": params,
            "params_dense": params_dense,
            "params_reduction": 1 - params / params_dense,
            "masked_compact_difference": self.pruner.difference if self.pruner else 0.0,
            "epochs": len(rows),
            "images": images,
        }
        cost = {
            "seconds": seconds,
            "images_per_second": images / seconds,
            "peak_memory_mb": peak_memory_mb(self._device),
            "latency_ms": speed,
            "latency_dense_ms": speed_dense,
        }
        return Outcome(result, cost, network)


def accuracy_of(model: nn.Module, batches: Batches) -> Score:
    """Score a network on the held-out images."""
    return accuracy(model, batches.epoch(0))
