"""Networks by name or from a folder, with the input that they take; what does not fit is one line."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from layer_helpers import layer
from torch import nn

from psap.errors import PsapError
from psap.models import build
from psap.models.open import open_network
from psap.models.saved import save
from psap.utils.mappings import JsonObject


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(build("resnet8", 4, 1), tmp_path / "net", name="resnet8", classes=4, in_channels=1)
    return tmp_path / "net"


def note(folder: Path, size: object) -> None:
    file = folder / "architecture.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"extra": {"image_size": size}}))


def test_a_saved_network_knows_its_images_or_is_told(folder: Path) -> None:
    with pytest.raises(PsapError, match=r"architecture\.json: does not say the size of the images.*--size"):
        open_network(str(folder))
    assert open_network(str(folder), size=8).images.shape == (1, 1, 8, 8)
    note(folder, [12, 20])
    network = open_network(str(folder))
    assert network.images.shape == (1, 1, 12, 20) and (network.name, network.classes) == ("resnet8", 4)
    assert open_network(str(folder), size=8).images.shape == (1, 1, 8, 8), "what is said wins"
    assert network.model(network.images).shape == network.dense().model(network.images).shape == (1, 4)
    assert not network.model.training and not network.dense().model.training


@pytest.mark.parametrize("size", [32, [32], [0, 4], ["a", 4], "32x32", [1, 2, 3]])
def test_a_size_that_is_none(folder: Path, size: object) -> None:
    note(folder, size)
    with pytest.raises(PsapError, match=r"extra\.image_size is .*, not \[height, width\] in pixels"):
        open_network(str(folder))


def test_by_name_with_weights_from_a_file(tmp_path: Path) -> None:
    dense, file = build("resnet8", 7), tmp_path / "weights.safetensors"
    safetensors.torch.save_file(dense.state_dict(), file)
    network = open_network("resnet8", classes=7, weights=file)
    assert network.images.shape == (1, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(network.model.parameters(), dense.parameters(), strict=True))
    with pytest.raises(PsapError, match=r"not the weights of resnet8 with 10 classes \(linear.weight has shape"):
        open_network("resnet8", weights=file)
    with pytest.raises(PsapError, match="not the weights of resnet20 with 7 classes"):
        open_network("resnet20", classes=7, weights=file)


def test_libraries_have_their_own_usual_images() -> None:
    assert open_network("timm:resnet18").images.shape == (1, 3, 224, 224)


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        ("resnet9", {}, "unknown model 'resnet9'"),
        ("no/such/folder", {}, r"no/such/folder/architecture\.json: missing"),
        ("resnet8", {"weights": Path("nowhere.safetensors")}, r"nowhere\.safetensors: no such file of weights"),
    ],
)
def test_what_is_not_there(source: str, options: JsonObject, says: str) -> None:
    with pytest.raises(PsapError, match=says) as caught:
        open_network(source, **options)
    assert "\n" not in str(caught.value)


def test_a_folder_has_its_own_classes_and_weights(folder: Path) -> None:
    with pytest.raises(PsapError, match="leave --classes and --weights out"):
        open_network(str(folder), classes=4)


def test_a_state_dict_is_read_and_a_pickle_of_more_than_tensors_is_not(tmp_path: Path) -> None:
    dense, file = build("resnet8", 10), tmp_path / "weights.pt"
    torch.save(dense.state_dict(), file)
    opened = open_network("resnet8", weights=file).model
    assert torch.equal(*(layer(model, "conv1", nn.Conv2d).weight for model in (opened, dense)))
    torch.save(dense, file)
    with pytest.raises(PsapError, match=r"weights\.pt: not a file of weights"):
        open_network("resnet8", weights=file)
