"""A run in this process: what it reports is what its network is, and stopping it anywhere changes nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from layer_helpers import layer
from torch import nn

from psap.data import dataset, sources
from psap.data.batches import Batches
from psap.data.dataset import DataSet, cut_validation
from psap.data.schema import Data
from psap.errors import PsapError
from psap.models import architecture, build, saved
from psap.pruning.channels import zero
from psap.pruning.cost import count_macs
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.training.checkpoint import Checkpoints
from psap.training.divergence import Diverged, wrong_network
from psap.training.evaluation import Score, accuracy, compared_latencies, latencies
from psap.training.loop import Progress
from psap.training.result import TrainResult, images_per_second
from psap.training.schema import Distillation, Recipe, Retraining, RunConfig, TrainConfig
from psap.training.trainer import Trainer
from psap.utils.mappings import JsonObject

CPU = torch.device("cpu")


def config(
    epochs: int = 3,
    lr: float = 0.05,
    training: JsonObject | None = None,
    data: JsonObject | None = None,
    **more: object,
) -> RunConfig:
    recipe = Recipe.model_construct(epochs=epochs, lr=lr)  # far beyond what a suite may ask for, too
    settings = TrainConfig(batch_size=50, label_smoothing=0.1, recipe=recipe).model_copy(update=training)
    images = Data(source="digits", **{"train_images": 300, "pad": 1} | (data or {}))
    return RunConfig(**{"model": "resnet8", "seed": 3, "data": images, "training": settings} | more)


def pruning(**parameters: object) -> JsonObject:
    return {"target": 0.5, "measure": "macs", "method": Method.model_validate(parameters)}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    file = tmp_path_factory.mktemp("data") / "digits.safetensors"
    sources.prepare("digits", None, file)
    return dataset.load(file)


@pytest.fixture(scope="module")
def dense(digits: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense network on disk, as a dense run leaves it."""
    folder = tmp_path_factory.mktemp("dense")
    outcome = Trainer(config(), digits, CPU, None, None).run(
        Checkpoints(folder / "state", "a run"), lambda progress: None
    )
    extra = {"top1_last": outcome.result["top1_last"]}
    saved.save(outcome.network, folder, name="resnet8", classes=10, in_channels=1, extra=extra)
    return folder


class Stopped(Exception):
    pass


def finish(trainer: Trainer, folder: Path, stop: int | None = None) -> TrainResult:
    def after(progress: Progress) -> None:
        if progress.epoch == stop:
            raise Stopped

    return trainer.run(Checkpoints(folder, "a run"), after)


@pytest.mark.parametrize(
    "method", [{}, {"criterion": "taylor", "allocation": "global", "reconstruction": "hard", "window": 2}]
)
def test_a_pruned_run_tells_the_truth_about_its_network(
    digits: DataSet, dense: Path, tmp_path: Path, method: JsonObject
) -> None:
    trainer = Trainer(config(**pruning(**method)), digits, CPU, dense, dense)
    outcome = finish(trainer, tmp_path)
    result, x = outcome.result, torch.zeros(1, 1, 8, 8)
    assert result["macs"] == count_macs(outcome.network, x)
    assert result["macs_dense"] == count_macs(build("resnet8", 10, 1), x)
    assert 0.5 <= result["macs_reduction"] < 0.53
    assert result["params"] == sum(p.numel() for p in outcome.network.parameters())
    batches = [(images, labels) for images, labels in trainer.data.scoring.epoch(0)]
    assert sum(len(labels) for _, labels in batches) == len(digits.test)
    assert result["top1_last"] == accuracy(outcome.network, batches).top1
    right = sum(int((outcome.network.eval()(x).argmax(1) == y).sum()) for x, y in batches)
    assert result["top1_last"] == pytest.approx(100 * right / len(digits.test))
    assert result["dense_top1"] == architecture.read(dense).extra["top1_last"]
    assert result["drop"] == result["dense_top1"] - result["top1_last"]
    assert result["masked_compact_difference"] < 1e-5
    assert result["images"] == 3 * 6 * 50
    rows = trainer.progress.rows
    assert [row["epoch"] for row in rows] == [1, 2, 3] and rows[-1]["final"] == 1
    assert result["top1_best"] == max(row["top1"] for row in rows if row["final"])
    assert rows[-1]["reduction"] == pytest.approx(result["macs_reduction"])
    assert trainer.pruner
    assert len({row["group"] for row in trainer.pruner.history.rows}) == len(trainer.pruner.groups)
    json.dumps(outcome.result, allow_nan=False)


RECOVERY: dict[str, JsonObject] = {
    "distill": {"distill": Distillation()},
    "ema": {"ema": 0.9},
    "both": {"distill": Distillation(), "ema": 0.9},
    "dense ema": {"ema": 0.9},
}


@pytest.mark.parametrize("kind", ["dense", "pretrained", "scratch", *RECOVERY])
def test_stopped_after_any_epoch_and_resumed_is_the_same_run(
    digits: DataSet, dense: Path, tmp_path: Path, kind: str
) -> None:
    training = {"recipe": Recipe(epochs=4, lr=0.05, **RECOVERY.get(kind, {}))}
    unpruned = kind.startswith("dense")
    settings = config(training=training, **({} if unpruned else pruning(schedule={"freeze": 0.3})))

    def trainer() -> Trainer:
        start = None if unpruned or kind == "scratch" else dense
        return Trainer(settings, digits, CPU, start, None if unpruned else dense)

    whole = finish(trainer(), tmp_path / "whole")
    for stop in (1, 2, 3):  # while pruning, with the final masks, in the compacted network
        with pytest.raises(Stopped):
            finish(trainer(), tmp_path / f"stop{stop}", stop)
        resumed = trainer()
        resumed.resume(Checkpoints(tmp_path / f"stop{stop}", "a run"))
        assert resumed.progress.epoch == stop
        assert resumed.train_state.compacted == (not unpruned and stop == 3)
        averages = "ema" in RECOVERY.get(kind, {}) and (unpruned or stop == 3)
        assert (resumed.train_state.average is not None) == averages
        again = finish(resumed, tmp_path / f"stop{stop}")
        assert again.result == whole.result
        for name, tensor in whole.network.state_dict().items():
            assert torch.equal(again.network.state_dict()[name], tensor), name


def test_the_dense_network_that_it_starts_from_teaches(digits: DataSet, dense: Path, tmp_path: Path) -> None:
    """Its word alone, at no learning rate to speak of: the loss is none, for the pupil is what the teacher is."""
    recipe = Recipe(epochs=1, lr=1e-9, distill=Distillation(weight=1.0))
    settings = config(training={"recipe": recipe, "label_smoothing": 0.0})
    trainer = Trainer(settings, digits, CPU, dense, dense)
    trainer.train_state.model.eval()
    images, labels = next(iter(trainer.data.scoring.epoch(0)))
    loss = trainer.train_state.objective(trainer.train_state.model(images), images, labels)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    teacher = trainer.train_state.objective._teacher
    assert teacher is not None and not teacher.training
    expected = saved.load(dense).state_dict()
    finish(trainer, tmp_path)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in teacher.state_dict().items())


def test_scoring_seldom_changes_only_what_is_seen_on_the_way(digits: DataSet, dense: Path, tmp_path: Path) -> None:
    often = finish(Trainer(config(epochs=4, **pruning()), digits, CPU, dense, dense), tmp_path / "a")
    settings = config(epochs=4, training={"score_every": 3}, **pruning())
    trainer = Trainer(settings, digits, CPU, dense, dense)
    seldom = finish(trainer, tmp_path / "b")
    assert [row["top1"] is None for row in trainer.progress.rows] == [True, True, False, False]
    assert often.result | {"top1_best": 0} == seldom.result | {"top1_best": 0}
    assert seldom.result["top1_best"] == max(row["top1"] for row in trainer.progress.rows[2:])


def test_on_the_way_networks_are_scored_as_they_train_and_at_the_end_in_float32(
    digits: DataSet, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(config(epochs=3, training={"precision": "bfloat16"}, **pruning()), digits, CPU, dense, dense)
    computed_in: list[torch.dtype] = []
    score = trainer._score

    def spy(network: torch.nn.Module) -> Score:
        computed_in.append(network(trainer.data.example(1)).dtype)
        return score(network)

    monkeypatch.setattr(trainer, "_score", spy)
    finish(trainer, tmp_path)
    assert computed_in == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]


def test_a_retrained_run_has_the_architecture_and_none_of_the_weights(
    digits: DataSet, dense: Path, tmp_path: Path
) -> None:
    pruned = finish(Trainer(config(**pruning()), digits, CPU, dense, dense), tmp_path / "a")
    saved.save(pruned.network, tmp_path, name="resnet8", classes=10, in_channels=1)
    trainer = Trainer(
        config(target=0.5, measure="macs", method=Retraining(retrain="psap")), digits, CPU, tmp_path, dense
    )
    shapes = {name: tensor.shape for name, tensor in pruned.network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in trainer.train_state.model.state_dict().items()} == shapes
    first, second = (layer(net, "conv1", nn.Conv2d) for net in (trainer.train_state.model, pruned.network))
    assert not torch.equal(first.weight, second.weight)
    outcome = finish(trainer, tmp_path / "b")
    assert outcome.result["macs"] == pruned.result["macs"] and trainer.pruner is None
    assert all(row["reduction"] == pytest.approx(outcome.result["macs_reduction"]) for row in trainer.progress.rows)


def test_validation_keeps_away_from_the_test_images(digits: DataSet, dense: Path) -> None:
    settings = config(data={"validation": 0.2, "evaluate": "validation", "train_images": None})
    trainer = Trainer(settings, digits, CPU, None, None)
    seen = {row.numpy().tobytes() for row in digits.train.images}
    held_out = [image for images, _ in trainer.data.scoring.epoch(0) for image in images]
    mean, std = torch.tensor(digits.mean), torch.tensor(digits.std)
    back = [((image.permute(1, 2, 0) * std + mean) * 255).round().to(torch.uint8) for image in held_out]
    assert all(image.numpy().tobytes() in seen for image in back), "every scored image is a training image set aside"
    assert len(back) == pytest.approx(0.2 * len(digits.train), abs=10)
    assert len(trainer.data.training) == (len(digits.train) - len(back)) // 50


@pytest.mark.parametrize(
    ("lr", "what"),
    [
        (1e2, "the loss is .*, over 1000 times"),
        (1e3, "the loss is .*, over 1000 times"),
        (1e18, "the loss is (nan|inf)"),
    ],
)
@pytest.mark.parametrize("method", [None, {}, {"protection": {"when": "after"}}, {"criterion": "taylor"}])
def test_a_training_that_explodes_ends_after_that_epoch(
    digits: DataSet, tmp_path: Path, lr: float, what: str, method: JsonObject
) -> None:
    trainer = Trainer(config(lr=lr, **({} if method is None else pruning(**method))), digits, CPU, None, None)
    with pytest.raises(Diverged, match=f"{what}.* in epoch 1; a lower training lr than .* may help") as lost:
        finish(trainer, tmp_path)
    assert lost.value.epoch == 1 and "\n" not in str(lost.value)
    (row,) = trainer.progress.rows
    json.dumps(row, allow_nan=False)
    assert row["top1"] is None and not list(tmp_path.glob("*.pt")), "there is no state to go on from"


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e30], ids=str)
def test_a_network_without_numbers_is_known_by_any_tensor(value: float) -> None:
    for name in build("resnet8", 10, 1).state_dict():
        model = build("resnet8", 10, 1)
        assert wrong_network(model) == ""
        if (tensor := model.state_dict()[name]).is_floating_point():
            tensor.flatten()[0] = value
            assert wrong_network(model).startswith(f"the norm of {name} is ")


def test_a_score_that_is_no_number_ends_the_run(
    digits: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psap.training.trainer.accuracy", lambda *_: Score(float("nan"), 10.0, 50.0, torch.zeros(0)))
    trainer = Trainer(config(), digits, CPU, None, None)
    with pytest.raises(Diverged, match="the loss on held-out images is nan in epoch 1"):
        finish(trainer, tmp_path)
    (row,) = trainer.progress.rows
    assert row["loss"] is None and row["train_loss"] < 10


def test_another_architecture_is_refused(digits: DataSet, dense: Path) -> None:
    settings = config(model="resnet20", **pruning())
    with pytest.raises(PsapError, match=r"architecture\.json: a resnet8, where a resnet20 is expected"):
        Trainer(settings, digits, CPU, dense, dense)


def test_latencies_are_measured_in_turns() -> None:
    small, large = build("resnet8", 10), build("resnet20", 10)
    first, second = latencies([small, large], torch.randn(4, 3, 16, 16), repetitions=5)
    assert 0 < first < second


@pytest.mark.parametrize(("batch", "images"), [(50, 300), (70, 280), (300, 300), (301, 300), (10**9, 300)])
def test_images_are_those_of_the_data_set_however_large_the_batch(digits: DataSet, batch: int, images: int) -> None:
    trainer = Trainer(config(training={"batch_size": batch}), digits, CPU, None, None)
    assert trainer.data.images_per_epoch == images == sum(len(labels) for _, labels in trainer.data.training.epoch(0))
    assert images_per_second(trainer.data, Progress()) == 0
    for seconds in (0.0, 1e-300):  # whatever a clock says, the rate is a number
        assert images_per_second(trainer.data, Progress(2, [{}, {}], seconds)) == pytest.approx(2 * images / 1e-6)
    assert images_per_second(trainer.data, Progress(2, [{}, {}], 4.0)) == images / 2


def test_a_latency_needs_a_machine_that_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = torch.nn.Identity(), torch.zeros(1)
    for again, told in ((2.0, True), (2.09, True), (2.11, False), (1.89, False)):
        monkeypatch.setattr("psap.training.evaluation.latencies", lambda models, images, again=again: [1.0, 2.0, again])
        assert compared_latencies(network, network, images) == ((1.0, 2.0) if told else None)


def test_images_got_right_are_those_of_the_network(digits: DataSet, dense: Path, tmp_path: Path) -> None:
    outcome = Trainer(config(**pruning()), digits, CPU, dense, dense).run(
        Checkpoints(tmp_path, "a run"), lambda _: None
    )
    images = torch.from_numpy(np.asarray(digits.test.images)).float() / 255
    mean, std = (torch.tensor(values) for values in (digits.mean, digits.std))
    with torch.no_grad():
        logits = outcome.network.eval()(((images - mean) / std).permute(0, 3, 1, 2))
    assert torch.equal(outcome.right, logits.argmax(1) == digits.test.labels)
    assert outcome.result["top1_last"] == pytest.approx(100 * float(outcome.right.double().mean()))


def test_sensitivity_is_measured_on_validation_images_of_dense_runs(digits: DataSet, tmp_path: Path) -> None:
    trainer = Trainer(config(data={"validation": 0.2}), digits, CPU, None, None)
    outcome = trainer.run(Checkpoints(tmp_path, "a run"), lambda _: None)
    found = find_prunable_groups(outcome.network, torch.randn(1, 1, 8, 8))
    groups = {group.name: group for group in found if not group.reason}
    assert outcome.sensitivity is not None and set(outcome.sensitivity) == set(groups)
    _, validation = cut_validation(digits.train, 0.2, 0)
    batches = Batches(validation, 500, digits.mean, digits.std, train=False)
    name, group = next(iter(groups.items()))
    whole = accuracy(outcome.network, batches.epoch(0)).loss
    ranked = torch.linalg.vector_norm(group.filters(), dim=1).argsort(stable=True)
    zero(group.slots, torch.zeros(group.channels, dtype=torch.bool).index_fill(0, ranked[: group.channels // 2], True))
    change = accuracy(outcome.network, batches.epoch(0)).loss - whole
    assert outcome.sensitivity[name] == pytest.approx(change, abs=1e-9)


def test_without_validation_images_no_sensitivity_is_told(digits: DataSet, tmp_path: Path) -> None:
    outcome = Trainer(config(epochs=1), digits, CPU, None, None).run(Checkpoints(tmp_path, "a run"), lambda _: None)
    assert outcome.sensitivity is None


def test_each_seed_draws_its_own_images_where_asked(digits: DataSet) -> None:
    drawn = {
        (by_seed, seed): Trainer(
            config(seed=seed, data={"validation": 0.2, "by_seed": by_seed}), digits, CPU, None, None
        ).data.training.labels
        for by_seed in (False, True)
        for seed in (1, 2)
    }
    assert torch.equal(drawn[False, 1], drawn[False, 2])
    assert not torch.equal(drawn[True, 1], drawn[True, 2]) and not torch.equal(drawn[True, 1], drawn[False, 1])
