"""The examples do what they say."""

import os
import re
import runpy
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from psap.data import dataset
from psap.data.photo_batches import PhotoBatches
from psap.data.schema import Photos
from psap.data.sources import prepare
from psap.models import published_weights
from psap.pruning.cost import count_macs
from psap.pruning.criteria import CRITERIA
from psap.training.evaluation import accuracy

PHOTOGRAPHS = Path(os.environ.get("PSAP_DATA", "/nonexistent"), "imagenette")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    script = pytestconfig.rootpath / "examples" / "lite0_weights.py"
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(folder / "timm.tf_efficientnet_lite0.safetensors")
    return folder


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="PSAP_DATA names no folder with imagenette/")
def test_lite0_has_the_accuracy_that_its_weights_have(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Top-1 over 1,000 classes on the 500 validation images of ten: a name mapped wrongly would leave chance."""
    monkeypatch.setenv("PSAP_WEIGHTS", str(weights))
    photos = Photos(size=224, min_area=1.0, mean=(0.5,) * 3, std=(0.5,) * 3)
    prepare("imagenet", str(PHOTOGRAPHS), tmp_path / "data.safetensors")
    data = dataset.load(tmp_path / "data.safetensors", PHOTOGRAPHS)
    network = published_weights.load("timm:tf_efficientnet_lite0", len(data.classes), photos).network
    score = accuracy(network, PhotoBatches(data.test, 50, photos, train=False).epoch(0))
    assert len(data.test) == 500
    assert score.top1 == pytest.approx(69.2, abs=0.5) and score.top5 == pytest.approx(91.4, abs=0.5)


@pytest.fixture
def run(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], list[float]]]:
    """Run an example in this process; the numbers, in percent, that it prints."""

    def run(name: str) -> list[float]:
        runpy.run_path(str(root / "examples" / name), run_name="__main__")
        return [float(number) for number in re.findall(r"(\d+\.\d) %", capsys.readouterr().out)]

    yield run
    CRITERIA.pop("spread", None)  # which one of them registers


def test_a_plain_loop(run: Callable[[str], list[float]]) -> None:
    macs, params, masked, compacted = run("plain_loop.py")
    assert 50 <= macs < 55 and params > 30 and masked == compacted > 95


def test_a_loop_of_lightning(run: Callable[[str], list[float]]) -> None:
    macs, accuracy = run("lightning_loop.py")
    assert 50 <= macs < 55 and accuracy > 90


def test_a_criterion_of_ones_own(run: Callable[[str], list[float]]) -> None:
    macs, accuracy, own_macs, own_accuracy = run("own_criterion.py")
    assert 50 <= macs < 52 and 50 <= own_macs < 52 and accuracy > 80 and own_accuracy > 80


def test_a_u_net_with_transposed_convolutions(run: Callable[[str], list[float]]) -> None:
    macs, params, masked, compacted = run("segmentation.py")
    assert 70 <= macs < 73 and params > 50 and masked == compacted > 90


def test_a_detector(run: Callable[[str], list[float]]) -> None:
    """The example itself compares the raw outputs of its heads."""
    macs, params, masked, compacted = run("detection.py")
    assert 50 <= macs < 52 and params > 40 and masked == compacted > 20


def test_a_classifier_of_sequences(run: Callable[[str], list[float]]) -> None:
    macs, params, masked, compacted = run("sequence.py")
    assert 50 <= macs < 53 and params > 30 and masked == compacted > 70


def test_torch_pruning_is_held_to_the_same_target(root: Path) -> None:
    """The rest of the comparison takes minutes; that both networks lose as much is what makes it one."""
    example = torch.randn(1, 3, 16, 16)
    layers = {"a": nn.Conv2d(3, 32, 3), "b": nn.Conv2d(32, 32, 3), "pool": nn.AdaptiveAvgPool2d(1)}
    network = nn.Sequential(OrderedDict(layers | {"flat": nn.Flatten(), "classifier": nn.Linear(32, 10)}))
    compared = runpy.run_path(str(root / "examples" / "beside_torch_pruning.py"))
    macs = count_macs(network, example)
    small = compared["one_shot"](network, example, 0.7 * macs)
    assert 0.65 * macs < count_macs(small, example) <= 0.7 * macs and small(example).shape == (1, 10)
