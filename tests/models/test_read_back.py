"""What is written is what is read: networks of all kinds, and nothing is written that could not be read."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from narrow_helpers import fill
from torch import nn
from torchvision import models

from psap.errors import PsapError
from psap.models import build
from psap.models.architecture import IMAGE_SIZE, files
from psap.models.saved import load, save
from psap.models.state_dicts import fill as fill_from_file
from psap.models.state_dicts import read
from psap.models.widths import widths
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

LARGEST = 12_000_000
AT_ONCE = Method(allocation="uniform", reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


def torchvision_names() -> list[str]:
    """Every classification network that is not large: of most families more than one."""
    sizes = {name: models.get_model_weights(name).DEFAULT.meta["num_params"] for name in models.list_models(models)}
    return [name for name, size in sizes.items() if size <= LARGEST]


def store(folder: Path, name: str, model: nn.Module, **extra: object) -> nn.Module:
    save(model, folder, name=name, classes=10, in_channels=3, extra=extra)
    return load(folder)


@pytest.fixture
def unfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time for random numbers that are replaced anyway."""
    for name in ("trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "xavier_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


def test_every_network_comes_back(tmp_path: Path, unfilled: None) -> None:
    names = [f"torchvision:{name}" for name in torchvision_names()]
    assert {"torchvision:mnasnet0_5", "torchvision:densenet121", "torchvision:shufflenet_v2_x0_5"} <= set(names)
    for name in [*names, *(f"timm:{name}" for name in timm.list_models("test_*"))]:
        model = build(name, 10)
        fill(model)
        again = store(tmp_path, name, model)
        assert widths(again) == widths(model), name
        found = again.state_dict()
        assert all(torch.equal(tensor, found[key]) for key, tensor in model.state_dict().items()), name


@pytest.mark.parametrize("name", ["torchvision:mnasnet0_5", "timm:test_byobnet"])
def test_pruned_ones_come_back_and_compute_the_same(tmp_path: Path, name: str) -> None:
    model, x = build(name, 10), torch.randn(2, 3, 32, 32)
    pruner = Pruner(model, x, 0.2, 1, method=AT_ONCE)
    pruner.step(0)
    small = pruner.compact().eval()
    again = store(tmp_path, name, small, **{IMAGE_SIZE: [32, 32]}).eval()
    with torch.no_grad():
        assert torch.equal(small(x), again(x))
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in model.parameters())


def test_weights_in_a_file_without_versions_are_of_the_layers_as_they_are(tmp_path: Path) -> None:
    name = "torchvision:mnasnet0_5"
    model, other = build(name, 10), build(name, 10)
    store(tmp_path, name, model)
    torch.save(model.state_dict(), tmp_path / "saved.pt")
    for file in (files(tmp_path)[0], tmp_path / "saved.pt"):
        fill_from_file(other, read(file), name, file)
        assert torch.equal(other.layers[0].weight, model.layers[0].weight)


def with_layer(model: nn.Module) -> None:
    model.extra = nn.Linear(2, 2)


def with_kernel(model: nn.Module) -> None:
    model.conv1 = nn.Conv2d(3, 16, 5, padding=2, bias=False)


def with_activation(model: nn.Module) -> None:
    model.bn1 = nn.Sequential(model.bn1, nn.Sigmoid())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (with_layer, r"extra\.(bias|weight): this network has no such tensor"),
        (with_kernel, r"conv1: kernel \[5, 5\]"),
        (with_activation, r"bn1"),
        (lambda model: model.double(), r"conv1\.weight is torch\.float64, and would come back as torch\.float32"),
    ],
)
def test_what_cannot_be_loaded_is_not_written(tmp_path: Path, change: Callable[[nn.Module], object], says: str) -> None:
    good = build("resnet8", 10)
    store(tmp_path, "resnet8", good)
    before = [file.read_bytes() for file in files(tmp_path)]
    for folder in (tmp_path, tmp_path / "new"):
        bad = copy.deepcopy(good)
        change(bad)
        with pytest.raises(PsapError, match=says) as caught:
            store(folder, "resnet8", bad, **{IMAGE_SIZE: [16, 16]})
        assert "not written, for it could not be loaded" in str(caught.value) and "\n" not in str(caught.value)
    assert [file.read_bytes() for file in files(tmp_path)] == before and not (tmp_path / "new").exists()


def test_a_stride_of_ones_own_comes_back(tmp_path: Path) -> None:
    model = build("resnet8", 10)
    model.conv1.stride = (2, 2)
    assert store(tmp_path, "resnet8", model, **{IMAGE_SIZE: [16, 16]}).conv1.stride == (2, 2)


def test_a_diverged_network_is_written_and_comes_back(tmp_path: Path) -> None:
    model = build("resnet8", 10)
    with torch.no_grad():
        model.conv1.weight[0], model.linear.bias[0] = torch.nan, torch.inf
    again = store(tmp_path, "resnet8", model, **{IMAGE_SIZE: [16, 16]})
    assert again.conv1.weight[0].isnan().all() and again.linear.bias[0] == torch.inf


def test_writing_takes_no_random_numbers_from_a_training(tmp_path: Path) -> None:
    model = build("resnet8", 10)
    before = torch.get_rng_state()
    save(model, tmp_path, name="resnet8", classes=10, in_channels=3)
    assert torch.equal(torch.get_rng_state(), before)
