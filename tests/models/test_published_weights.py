"""Weights that are on disk already, and one clear line where they are not, or are not those of the network."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from psap.data.schema import Photos
from psap.errors import PsapError
from psap.models import build, published_weights

NAME = "torchvision:resnet18"
PHOTOS = Photos()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(published_weights.FOLDER, str(tmp_path))
    return tmp_path


def trained(name: str, classes: int = 1000) -> nn.Module:
    torch.manual_seed(1)
    model = build(name, classes)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 1)
    return model


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


@pytest.mark.parametrize("name", [NAME, "timm:resnet10t"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_folder_of_the_user_s(name: str, suffix: str, folder: Path) -> None:
    model, file = trained(name), folder / (name.replace(":", ".") + suffix)
    write = torch.save if suffix == ".pth" else safetensors.torch.save_file
    write(model.state_dict(), file)
    found = published_weights.load(name, 1000, PHOTOS)
    assert same(model, found.network) and found.origin == str(file)
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1
    write(model.state_dict(), file)
    assert published_weights.load(name, 1000, PHOTOS).digest != found.digest


def test_torch_s_cache_is_used_without_a_network(tmp_path: Path) -> None:
    file = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir(parents=True)
    torch.save(trained(NAME).state_dict(), file)
    said = without_network(NAME, TORCH_HOME=str(tmp_path))
    assert said == str(float(trained(NAME).state_dict()["fc.bias"].sum()))


def test_timm_s_cache_is_used_without_a_network(tmp_path: Path) -> None:
    """As huggingface_hub leaves it: a snapshot of a commit that the reference `main` names."""
    repository = tmp_path / "models--timm--resnet10t.c3_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    safetensors.torch.save_file(trained("timm:resnet10t").state_dict(), snapshot / "model.safetensors")
    said = without_network("timm:resnet10t", HF_HUB_CACHE=str(tmp_path))
    assert said == str(float(trained("timm:resnet10t").state_dict()["fc.bias"].sum()))


def without_network(name: str, **environment: str) -> str:
    """What a process says that loads the weights of `name`, or why it cannot; it reaches no other machine."""
    code = (
        "from psap.models import published_weights\nfrom psap.errors import PsapError\n"
        f"try: print(float(published_weights.load({name!r}, 1000).network.state_dict()['fc.bias'].sum()))\n"
        "except PsapError as error: print(error)"
    )
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    offline = os.environ | nowhere | {"HF_HUB_OFFLINE": "1"} | environment
    offline.pop(published_weights.FOLDER, None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=offline, check=True)
    return done.stdout.strip().splitlines()[-1]  # torch says that it tries to download


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (NAME, "put resnet18-f37072fd.pth of https://download.pytorch.org/models/resnet18-f37072fd.pth into {}/hub"),
        ("timm:resnet10t", "fetch model.safetensors of https://huggingface.co/timm/resnet10t.c3_in1k"),
    ],
)
def test_neither_weights_nor_network(name: str, says: str, tmp_path: Path) -> None:
    said = without_network(name, TORCH_HOME=str(tmp_path), HF_HUB_CACHE=str(tmp_path))
    assert f"{name}: its weights are not on this machine and could not be downloaded" in said
    assert says.format(tmp_path) in said
    assert f"name a folder with {name.replace(':', '.')}.safetensors in the environment variable PSAP_WEIGHTS" in said


def test_names_without_published_weights(folder: Path) -> None:
    with pytest.raises(PsapError, match="resnet20 has no published weights"):
        published_weights.load("resnet20", 10)
    with pytest.raises(PsapError, match="unknown model 'timm:resnet10t_x'; did you mean"):
        published_weights.load("timm:resnet10t_x", 10)


def of_another_network(file: Path) -> str:
    safetensors.torch.save_file(trained("torchvision:resnet34").state_dict(), file)
    return r"not the weights of torchvision:resnet18 .* \(layer1.2.bn1.bias is not in this network\)"


def of_other_classes(file: Path) -> str:
    safetensors.torch.save_file(trained(NAME, 10).state_dict(), file)
    return r"with 1000 classes \(fc.weight has shape \[10, 512\], not \[1000, 512\]\)"


def with_a_layer_less(file: Path) -> str:
    tensors = trained(NAME).state_dict()
    del tensors["fc.bias"]
    safetensors.torch.save_file(tensors, file)
    return "fc.bias is missing"


def a_folder_that_is_none(file: Path) -> str:
    os.environ[published_weights.FOLDER] = str(file)
    return f"PSAP_WEIGHTS={file}: no such folder"


def truncated(file: Path) -> str:
    safetensors.torch.save_file(trained(NAME).state_dict(), file)
    file.write_bytes(file.read_bytes()[:1000])
    return "not a file of weights"


@pytest.mark.parametrize(
    "spoil", [of_another_network, of_other_classes, with_a_layer_less, truncated, a_folder_that_is_none]
)
def test_wrong_weights(spoil: Callable[[Path], str], folder: Path) -> None:
    file = folder / "torchvision.resnet18.safetensors"
    says = spoil(file)
    with pytest.raises(PsapError, match=says) as caught:
        published_weights.load(NAME, 1000)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path("was-here"),)


def test_a_pickle_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "torchvision.resnet18.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(PsapError, match="not a file of weights") as caught:
        published_weights.load(NAME, 1000)
    assert "\n" not in str(caught.value)
    assert not (folder / "was-here").exists()


def test_a_checkpoint_of_somebody_s_training(folder: Path) -> None:
    model = trained(NAME)
    torch.save({"epoch": 3, "state_dict": model.state_dict()}, folder / "torchvision.resnet18.pth")
    assert same(model, published_weights.load(NAME, 1000).network)


def test_images_must_be_normalised_as_the_weights_want_them(folder: Path) -> None:
    name = "timm:tf_efficientnet_lite0"
    safetensors.torch.save_file(trained(name).state_dict(), folder / "timm.tf_efficientnet_lite0.safetensors")
    with pytest.raises(PsapError, match=r"mean \[0.5, 0.5, 0.5\]; say so: photos: \{mean: \[0.5, 0.5, 0.5\]\}"):
        published_weights.load(name, 1000, PHOTOS)
    published_weights.load(name, 1000, Photos(mean=(0.5,) * 3, std=(0.5,) * 3))
