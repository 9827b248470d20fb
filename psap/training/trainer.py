"""One run from start to end in one process: train or prune-train, compact, evaluate, write its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from psap.data.batches import Batches
from psap.data.dataset import DataSet, cut_validation, subset
from psap.data.photo_batches import PhotoBatches, lost_workers
from psap.data.sharding import Shard
from psap.models import build, published_weights, saved
from psap.pruning.cost import count_macs, count_params
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.checkpoint import Checkpoints
from psap.training.divergence import Diverged, wrong_score
from psap.training.evaluation import LATENCY_BATCH, Score, accuracy, compared_latencies, peak_memory_mb
from psap.training.loop import BatchSource, Progress, train
from psap.training.train_state import TrainState
from psap.utils import distributed

# The subset of the training images and the validation split are the same for every run of a suite.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class TrainResult:
    """What a finished run found out: the `result` and `cost` of its row, and its network."""

    result: dict[str, Any]
    cost: dict[str, float]
    network: nn.Module


class Trainer:
    """The training of one run, given its resolved configuration (psap.suites.grid.Run.config).

    `start`: folder of the dense network to start from, or of the architecture to train again; `dense`: folder of the
    dense network of the same seed, the baseline (None for a dense run itself). `workers`: processes that decode
    photographs (0: none but this one). `batches` are those that it trains on.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        data: DataSet,
        device: torch.device,
        start: Path | None,
        dense: Path | None,
        workers: int = 0,
    ) -> None:
        self.config, self._data, self._device, self._dense = config, data, device, dense
        self._workers = workers
        self.weights: dict[str, str] = {}  # the published ones that it starts from: origin and digest
        torch.use_deterministic_algorithms(device.type == "cpu")
        torch.manual_seed(config["seed"])
        self.classes, self.in_channels = len(data.classes), data.channels
        photos = config["data"].get("photos")
        self.image_size: list[int] = [photos["size"]] * 2 if photos else list(data.train.images.shape[1:3])
        self.batches, self._score = self._make_batches()
        self.train_state = TrainState(self._network(start).to(device), config["training"], self._pruning())
        self.progress = Progress()

    def run(self, checkpoints: Checkpoints, after_epoch: Any) -> TrainResult:
        """Train to the end from the newest checkpoint (`resume` first), then compact and evaluate.

        Raises Diverged where the training is lost.
        """

        def done(progress: Progress) -> None:
            if distributed.rank() == 0:
                checkpoints.save(
                    progress.epoch, {"train_state": self.train_state.state_dict(), "progress": vars(progress)}
                )
                after_epoch(progress)

        with lost_workers():
            train(
                self.train_state,
                self.batches,
                self.config["training"],
                self.config["seed"],
                partial(accuracy_of, batches=self._score),
                self.progress,
                done,
                self.classes,
                0.0 if self.pruner else 1 - self._macs(self.train_state.model) / self._macs(self._reference()),
            )
            return self._result()

    def resume(self, checkpoints: Checkpoints) -> None:
        """Resume from the newest whole checkpoint, if there is one, whatever the number of ranks that wrote it."""
        state = distributed.decide_on_rank0(checkpoints.load)
        if state is not None:
            self.train_state.load_state_dict(state["train_state"])
            self.progress = Progress(**state["progress"])

    @property
    def pruner(self) -> Pruner | None:
        return self.train_state.pruner

    @property
    def history(self) -> list[dict[str, Any]] | None:
        """The rows of the pruning history; None where nothing is pruned."""
        return self.pruner.history.rows if self.pruner else None

    @property
    def images_per_epoch(self) -> int:
        """Images that all ranks together train on in an epoch; the only batch may be an incomplete one."""
        complete = len(self.batches) // self.batches.accumulation_steps * int(self.config["training"]["batch_size"])
        return min(complete, len(self.batches.labels))

    @property
    def images_per_second(self) -> float:
        """How fast it has trained so far; no clock measures less than a microsecond."""
        return len(self.progress.rows) * self.images_per_epoch / max(self.progress.seconds, 1e-6)

    def _network(self, start: Path | None) -> nn.Module:
        name = self.config["model"]
        if start is None and "weights" in self.config["training"]["recipe"]:
            found = published_weights.load(name, self.classes, self.config["data"].get("photos"))
            self.weights = {"origin": found.origin, "sha256": found.digest}
            return found.network
        if start is None:
            return build(name, self.classes, self.in_channels)
        if "retrain" in self.config.get("method", {}):
            return saved.build_like(start)
        return saved.load(start, expect_name=name)

    def _make_batches(self) -> tuple[Batches | PhotoBatches, Batches | PhotoBatches]:
        settings, data = self.config["data"], self._data
        train, held_out = data.train, data.test
        if settings["validation"]:
            train, validation = cut_validation(train, settings["validation"], _SPLIT_SEED)
            held_out = validation if settings["evaluate"] == "validation" else held_out
        if settings["train_images"]:
            train = subset(train, settings["train_images"], _SPLIT_SEED)
        training, seed = self.config["training"], self.config["seed"]
        size, micro = training["batch_size"], training.get("micro_batch")
        common: dict[str, Any] = {
            "device": self._device,
            "shard": Shard(distributed.rank(), distributed.world_size(), micro),
        }
        augmented: dict[str, Any] = {"seed": seed, "train": True, "flip": settings["flip"]}
        if photos := settings.get("photos"):
            common |= {"photos": photos, "workers": self._workers}
            scored = PhotoBatches(held_out, micro or size, train=False, **common)
            return PhotoBatches(train, size, **common, **augmented), scored
        common |= {"mean": data.mean, "std": data.std}
        scored_at_once = Batches(held_out, max(size, 500), train=False, **common)
        return Batches(train, size, pad=settings["pad"], **common, **augmented), scored_at_once

    def _pruning(self) -> dict[str, Any] | None:
        """The arguments of the pruner; None where nothing is pruned."""
        method = self.config.get("method", {"retrain": ""})
        if "retrain" in method:
            return None
        return {
            "example_inputs": self._example(1),
            "epochs": self.config["training"]["recipe"]["epochs"],
            "method": Method.model_validate(method),
            "steps_per_epoch": len(self.batches) // self.batches.accumulation_steps,
        } | {name: self.config[name] for name in ("target", "measure", "seed")}

    def _example(self, count: int) -> torch.Tensor:
        """Random numbers in the shape of `count` images: enough to trace, count and time a network."""
        numbers = torch.Generator().manual_seed(self.config["seed"])
        return torch.randn(count, self.in_channels, *self.image_size, generator=numbers).to(self._device)

    def _macs(self, network: nn.Module) -> int:
        return count_macs(network, self._example(1))

    def _reference(self) -> nn.Module:
        """The dense network, for its cost only."""
        return build(self.config["model"], self.classes, self.in_channels).to(self._device)

    def _result(self) -> TrainResult:
        network = self.train_state.network()
        score = accuracy_of(network, self._score)
        if wrong := wrong_score(score):  # such weights may have been published
            raise Diverged(self.progress.epoch, wrong, self.config["training"]["recipe"]["lr"])
        reference = self._reference()
        macs, macs_dense = self._macs(network), self._macs(reference)
        params, params_dense = count_params(network), count_params(reference)
        rows, seconds = self.progress.rows, self.progress.seconds
        dense_top1 = saved.read(self._dense).extra["top1_last"] if self._dense else score.top1
        images = len(rows) * self.images_per_epoch
        for compared in (network, reference):  # compaction leaves the other layout
            compared.to(memory_format=torch.channels_last)
        latency = compared_latencies(network, reference, self._example(LATENCY_BATCH))
        result = {
            "top1_last": score.top1,
            "top1_best": max(
                [row["top1"] for row in rows if row["final"] and row["top1"] is not None], default=score.top1
            ),
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
            "masked_compact_difference": self.pruner.max_output_difference if self.pruner else 0.0,
            "epochs": len(rows),
            "images": images,
        }
        cost = {
            "seconds": seconds,
            "images_per_second": self.images_per_second,
            "peak_memory_mb": peak_memory_mb(self._device),
        }
        cost |= dict(zip(("latency_ms", "latency_dense_ms"), latency or (), strict=False))
        return TrainResult(result, cost, network)


def accuracy_of(model: nn.Module, batches: BatchSource) -> Score:
    """Score a network on the held-out images."""
    return accuracy(model, batches.epoch(0))
