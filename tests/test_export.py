"""Files for other programs compute what the network does, for any batch, or are not there."""

import sys
from pathlib import Path
from typing import Literal

import onnxruntime
import pytest
import torch
from fixture_types import Randomise
from torch import Tensor, nn

from psap.errors import PsapError
from psap.export import difference, export
from psap.models.open import Network, open_named, open_saved
from psap.models.saved import save
from psap.pruning.one_shot import prune_at_once

COMPACTED = ["resnet20", "vgg16_bn", "torchvision:resnet50", "torchvision:mobilenet_v2", "timm:efficientnet_lite0"]
WHOLE = ["resnet20_b", "timm:resnet18", "timm:densenet121", "timm:regnetx_002", "timm:convnext_atto"]


def stored(folder: Path, network: Network) -> Network:
    """`network` as it comes back from disk."""
    extra = {"image_size": list(network.images.shape[2:])}
    save(network.model, folder, name=network.name, classes=network.classes, in_channels=3, extra=extra)
    return open_saved(folder)


@pytest.mark.parametrize("name", COMPACTED + WHOLE)
def test_onnx_runtime_computes_what_the_network_does(tmp_path: Path, name: str, randomise: Randomise) -> None:
    torch.manual_seed(0)
    network = open_named(name, size=32, classes=10)
    randomise(network.model)
    if name in COMPACTED:
        network = network._replace(model=prune_at_once(network.model, network.images, 0.5, round_to=1))
    network = stored(tmp_path, network)
    assert export(network.model, network.images, tmp_path / "model.onnx", "onnx").relative <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = torch.randn(batch, 3, 32, 32)
        with torch.no_grad():
            expected = network.model(x)
        (found,) = session.run(None, {"images": x.numpy()})
        assert found.shape == (batch, 10) and expected.std() > 1e-3, "a network that says nothing proves nothing"
        assert abs(found - expected.numpy()).max() <= 1e-4 * expected.abs().max()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["architecture.json", "model.onnx", "model.safetensors"]


@pytest.mark.parametrize("name", ["resnet20", "vgg16_bn"])
def test_a_program_of_torch_export_does_too(tmp_path: Path, name: str, randomise: Randomise) -> None:
    network = open_named(name, size=32, classes=10)
    randomise(network.model)
    network = stored(tmp_path, network._replace(model=prune_at_once(network.model, network.images, 0.4, round_to=8)))
    assert export(network.model, network.images, tmp_path / "model.pt2", "torch").relative <= 1e-4
    program = torch.export.load(tmp_path / "model.pt2").module()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(program(x), network.model(x), rtol=1e-4, atol=1e-4)


class Noisy(nn.Module):
    """Never the same twice, so that no file can compute what it does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + torch.rand(x.shape[0], 3)


class Undecided(nn.Module):
    """What it does depends on the values it sees: nothing that could be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class Several(nn.Module):
    """Returns more than a tensor."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": x.mean((2, 3))}


@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Noisy(), "not written: its outputs differ"),
        (Undecided(), "Undecided"),
        (Several(), "its output is a dict; wrap it so that it returns one tensor"),
    ],
)
def test_a_file_that_would_be_wrong_is_not_there(
    tmp_path: Path, network: nn.Module, says: str, format: Literal["onnx", "torch"]
) -> None:
    file = tmp_path / "model"
    file.write_text("what was there before")
    with pytest.raises(PsapError, match=says) as caught:
        export(network, torch.zeros(1, 3, 8, 8), file, format)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["model"] and file.read_text() == "what was there before"


def test_difference_is_the_largest_of_all_batches() -> None:
    zeros = torch.zeros(1, 3, 4, 4)

    def network(x: Tensor) -> Tensor:
        return x.flatten(1) * 0 + 4

    def silent(x: Tensor) -> Tensor:
        return x.flatten(1) * 0

    assert difference(network, lambda x: network(x) + (len(x) == 7) * 0.5, zeros).relative == 0.125
    assert difference(network, network, zeros).absolute == 0
    assert difference(silent, silent, zeros).relative == 0
    assert not difference(network, lambda x: network(x) / 0 * 0, zeros).relative <= 1, "NaN is no agreement"
    assert not difference(silent, network, zeros).relative <= 1


def test_the_network_stays_as_it_was(tmp_path: Path) -> None:
    model = open_named("resnet8").model.train()
    export(model, torch.zeros(1, 3, 8, 8), tmp_path / "model.pt2", "torch")
    assert model.training and all(p.requires_grad for p in model.parameters())


def test_without_the_packages_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    with pytest.raises(PsapError, match=r"onnx needs onnxruntime, not installed here: pip install onnxruntime"):
        export(nn.Flatten(), torch.zeros(1, 3, 8, 8), tmp_path / "model.onnx", "onnx")
    assert not list(tmp_path.iterdir())
