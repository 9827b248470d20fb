"""One run from start to end in one process: train or prune-train, compact, evaluate, write its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from psap.data.batches import Batches
from psap.data.dataset import DataSet, Split, cut_validation, subset
from psap.data.photo_batches import PhotoBatches, lost_workers
from psap.data.sharding import Shard
from psap.models import build, published_weights, saved
from psap.pruning.cost import count_macs, count_params
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.mechanism import sensitivity
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.checkpoint import Checkpoints
from psap.training.divergence import Diverged, wrong_score
from psap.training.evaluation import LATENCY_BATCH, Score, accuracy, compared_latencies, peak_memory_mb
from psap.training.loop import BatchSource, Progress, train
from psap.training.train_state import TrainState
from psap.utils import distributed

# Draws the subset of the training images and the validation split of all runs of a suite, unless each draws its own.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class TrainResult:
    """What a finished run found out: the `result` and `cost` of its row, its network, and what lies next to its row.

    `right`: whether each held-out image (N,) was classified rightly. `sensitivity`: how much the loss on validation
    images grows when a group alone is pruned, by the group's name (None: no dense run, or no validation split).
    """

    result: dict[str, Any]
    cost: dict[str, float]
    network: nn.Module
    right: Tensor
    sensitivity: dict[str, float] | None


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
        _be_deterministic(device.type == "cpu", compiled=config["training"]["compile"])
        torch.manual_seed(config["seed"])
        self.classes, self.in_channels = len(data.classes), data.channels
        photos = config["data"].get("photos")
        self.image_size: list[int] = [photos["size"]] * 2 if photos else list(data.train.images.shape[1:3])
        train_split, held_out, self._validation = self._splits()
        self.batches, self._score = self._batches(train_split, True), self._batches(held_out, False)
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

    def _splits(self) -> tuple[Split[Any], Split[Any], Split[Any] | None]:
        """What is trained on, what is scored, and the validation split."""
        settings, train, held_out = self.config["data"], self._data.train, self._data.test
        seed = self.config["seed"] if settings.get("by_seed") else _SPLIT_SEED
        validation = None
        if settings["validation"]:
            train, validation = cut_validation(train, settings["validation"], seed)
            held_out = validation if settings["evaluate"] == "validation" else held_out
        if settings["train_images"]:
            train = subset(train, settings["train_images"], seed)
        return train, held_out, validation

    def _batches(self, split: Split[Any], train: bool) -> Batches | PhotoBatches:
        """`split` to train on or to score: here alone is asked whether images are photographs."""
        settings, training, data = self.config["data"], self.config["training"], self._data
        size, micro = training["batch_size"], training.get("micro_batch")
        common: dict[str, Any] = {
            "device": self._device,
            "shard": Shard(distributed.rank(), distributed.world_size(), micro),
            "train": train,
        }
        if train:
            common |= {"seed": self.config["seed"], "flip": settings["flip"]}
        if photos := settings.get("photos"):
            at_once = size if train else micro or size
            return PhotoBatches(split, at_once, photos, workers=self._workers, **common)
        at_once = size if train else max(size, 500)
        return Batches(split, at_once, data.mean, data.std, pad=settings["pad"], **common)

    def _pruning(self) -> dict[str, Any] | None:
        """The arguments of the pruner; None where nothing is pruned."""
        method = self.config.get("method", {"retrain": ""})
        if "retrain" in method:
            return None
        return {
            "example_inputs": self._example(1),
            "epochs": self.config["training"]["recipe"]["epochs"],
            "method": Method.of_run(method),
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
        return TrainResult(result, cost, network, score.right, self._sensitivity(network))

    def _sensitivity(self, network: nn.Module) -> dict[str, float] | None:
        if self._dense or self._validation is None:
            return None
        batches = self._batches(self._validation, False)
        groups = [group for group in find_prunable_groups(network, self._example(1)) if not group.reason]
        found = sensitivity(network, groups, lambda model: accuracy_of(model, batches).loss)
        return {group.name: change for group, change in zip(groups, found, strict=True)}


def _be_deterministic(wanted: bool, compiled: bool) -> None:
    """As torch.use_deterministic_algorithms, but that imports the compiler, to set it too, even where none is used."""
    if compiled:
        torch.use_deterministic_algorithms(wanted)
    else:
        torch.set_deterministic_debug_mode("error" if wanted else "default")


def accuracy_of(model: nn.Module, batches: BatchSource) -> Score:
    """Score a network on the held-out images."""
    return accuracy(model, batches.epoch(0))
