"""One run from start to end in one process: train or prune-train, compact, evaluate, write its files."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from psap.data.dataset import DataSet
from psap.data.photo_batches import lost_workers
from psap.models import build, published_weights, saved
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.checkpoint import Checkpoints
from psap.training.divergence import Diverged, wrong_score
from psap.training.evaluation import Score, accuracy
from psap.training.loop import Progress, train
from psap.training.result import TrainResult, accuracies, cost, sensitivity_by_group, sizes
from psap.training.run_data import RunData
from psap.training.schema import Retraining, RunConfig
from psap.training.train_state import TrainState
from psap.utils import distributed
from psap.utils.mappings import JsonObject


class Trainer:
    """The training of one run, given its resolved configuration (psap.training.schema.RunConfig).

    `start`: folder of the dense network to start from, or of the architecture to train again; `dense`: folder of the
    dense network of the same seed, the baseline (None for a dense run itself). `workers`: processes that decode
    photographs (0: none but this one). `data` holds the images that it trains on and is scored on.
    """

    def __init__(
        self,
        config: RunConfig,
        data: DataSet,
        device: torch.device,
        start: Path | None,
        dense: Path | None,
        workers: int = 0,
    ) -> None:
        self.config, self._device, self._dense = config, device, dense
        self.weights: dict[str, str] = {}  # the published ones that it starts from: origin and digest
        _be_deterministic(device.type == "cpu", compiled=config.training.compile)
        torch.manual_seed(config.seed)
        self.data = RunData(config, data, device, workers)
        network = self._network(start).to(device)
        teacher = copy.deepcopy(network) if config.training.recipe.distill else None
        self.train_state = TrainState(network, config.training, self._pruning(), teacher)
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
                self.data.training,
                self.config.training,
                self.config.seed,
                self._score,
                self.progress,
                done,
                self.data.classes,
                0.0 if self.pruner else self._reduction(self.train_state.model),
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
    def history(self) -> list[JsonObject] | None:
        """The rows of the pruning history; None where nothing is pruned."""
        return self.pruner.history.rows if self.pruner else None

    def _network(self, start: Path | None) -> nn.Module:
        name = self.config.model
        if start is None and self.config.training.recipe.weights:
            found = published_weights.load(name, self.data.classes, self.config.data.photos)
            self.weights = {"origin": found.origin, "sha256": found.digest}
            return found.network
        if start is None:
            return self._fresh()
        if isinstance(self.config.method, Retraining):
            return saved.build_like(start)
        return saved.load(start, expect_name=name)

    def _pruning(self) -> Callable[..., Pruner] | None:
        """What makes the pruner of the network and its optimiser; None where nothing is pruned."""
        config = self.config
        if config.target is None or not isinstance(config.method, Method):
            return None
        return partial(
            Pruner,
            example_inputs=self.data.example(1),
            target=config.target,
            epochs=config.training.recipe.epochs,
            method=config.method,
            measure=config.measure,
            seed=config.seed,
            steps_per_epoch=self.data.steps_per_epoch,
        )

    def _fresh(self) -> nn.Module:
        """The dense network with fresh weights."""
        return build(self.config.model, self.data.classes, self.data.channels)

    def _reduction(self, network: nn.Module) -> float:
        reduction: float = sizes(network, self._fresh().to(self._device), self.data.example(1))["macs_reduction"]
        return reduction

    def _score(self, network: nn.Module) -> Score:
        return accuracy(network, self.data.scoring.epoch(0))

    def _result(self) -> TrainResult:
        network = self.train_state.network()
        score = self._score(network)
        if wrong := wrong_score(score):  # such weights may have been published
            raise Diverged(self.progress.epoch, wrong, self.config.training.recipe.lr)
        reference, epochs = self._fresh().to(self._device), len(self.progress.rows)
        result = accuracies(score, self._dense, self.progress) | sizes(network, reference, self.data.example(1))
        result |= {
            "masked_compact_difference": self.pruner.max_output_difference if self.pruner else 0.0,
            "epochs": epochs,
            "images": epochs * self.data.images_per_epoch,
        }
        measured = cost(network, reference, self.data, self.progress)
        sensitive = None if self._dense else sensitivity_by_group(network, self.data)
        return TrainResult(result, measured, network, score.right, sensitive)


def _be_deterministic(wanted: bool, compiled: bool) -> None:
    """As torch.use_deterministic_algorithms, but that imports the compiler, to set it too, even where none is used."""
    if compiled:
        torch.use_deterministic_algorithms(wanted)
    else:
        torch.set_deterministic_debug_mode("error" if wanted else "default")
