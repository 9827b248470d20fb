"""Save and load: bit for bit, and every kind of damaged or foreign file refused in one line."""

import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from narrow_helpers import NARROW, fill, narrowed
from torch import nn

from psap.errors import PsapError
from psap.models import build
from psap.models.architecture import read, verify
from psap.models.saved import build_like, load, save
from psap.models.widths import widths
from psap.utils.files import sha256


def store(folder: Path, name: str, model: nn.Module) -> Path:
    save(model, folder, name=name, classes=10, in_channels=3)
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return store(tmp_path / "net", "resnet8", build("resnet8", 10))


def assert_equal(one: nn.Module, other: nn.Module) -> None:
    mine, theirs = one.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for key, tensor in mine.items():
        assert tensor.dtype == theirs[key].dtype and torch.equal(tensor, theirs[key]), key


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("narrow", [False, True], ids=["full", "narrowed"])
def test_round_trip_is_exact(tmp_path: Path, name: str, narrow: bool) -> None:
    model = build(name, 10).eval()
    narrowed(name, model) if narrow else fill(model)
    again = load(store(tmp_path, name, model)).eval()
    x = torch.randn(2, 3, 32, 32)
    assert_equal(model, again)
    assert widths(model) == widths(again)
    with torch.no_grad():
        assert torch.equal(model(x), again(x))


@pytest.mark.parametrize("name", NARROW)
def test_narrowing_really_narrows_the_layers(name: str) -> None:
    full, small = build(name, 10), narrowed(name, build(name, 10))
    assert sum(p.numel() for p in small.parameters()) < 0.9 * sum(p.numel() for p in full.parameters())
    for layer_name, layer in small.named_modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.shape[0] == layer.out_channels
            assert layer.weight.shape[1] * layer.groups == layer.in_channels, layer_name
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.shape == layer.running_var.shape == (layer.num_features,)
        elif isinstance(layer, nn.Linear):
            assert layer.weight.shape == (layer.out_features, layer.in_features)


@pytest.mark.parametrize("name", ["resnet20", "timm:efficientnet_b0"])
def test_build_like_needs_the_description_only_and_gives_trainable_fresh_weights(tmp_path: Path, name: str) -> None:
    model = narrowed(name, build(name, 10))
    folder = store(tmp_path, name, model)
    (folder / "model.safetensors").unlink()
    torch.manual_seed(0)
    one = build_like(folder)
    torch.manual_seed(0)
    other = build_like(read(folder))
    assert_equal(one, other)
    assert widths(one) == widths(model)
    one(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.isfinite().all() for p in one.parameters())
    assert not torch.equal(next(iter(one.parameters())), next(iter(model.parameters())))


def test_channels_last_and_shared_tensors_are_saved(tmp_path: Path) -> None:
    model = build("resnet8", 10).to(memory_format=torch.channels_last)
    model.get_submodule("layer1.0.bn2").weight = model.get_submodule("layer1.0.bn1").weight
    assert_equal(model, load(store(tmp_path, "resnet8", model)))


def test_extra_and_the_number_of_channels_come_back(tmp_path: Path) -> None:
    save(build("resnet8", 4, 1), tmp_path, name="resnet8", classes=4, in_channels=1, extra={"run": "demo/x"})
    assert read(tmp_path).extra == {"run": "demo/x"}
    assert load(tmp_path, expect_name="resnet8")(torch.randn(1, 1, 8, 8)).shape == (1, 4)


class Payload:
    """Unpickling it creates a folder: the proof, if there is one, that something was unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.proof),)


def adopt(folder: Path) -> None:
    """Make architecture.json vouch for whatever model.safetensors is now, as an attacker would."""
    description = json.loads((folder / "architecture.json").read_text())
    description["sha256"] = sha256(folder / "model.safetensors")
    (folder / "architecture.json").write_text(json.dumps(description))


@pytest.mark.parametrize("vouched", [False, True])
@pytest.mark.parametrize("kind", ["pickle", "torch zip", "pickle with a header's first byte"])
def test_a_pickle_is_refused_unread(saved: Path, tmp_path: Path, kind: str, vouched: bool) -> None:
    proof, weights = tmp_path / "proof", saved / "model.safetensors"
    if kind == "torch zip":
        torch.save({"x": Payload(proof)}, weights)
        assert zipfile.is_zipfile(weights)
    else:
        content = pickle.dumps(Payload(proof))
        weights.write_bytes(content if kind == "pickle" else b"\x80\x04\x95\0\0\0\0\0{" + content)
    if vouched:
        adopt(saved)
    with pytest.raises(PsapError, match=r"model\.safetensors: refused unread"):
        load(saved)
    assert not proof.exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path / "proof")))
    assert (tmp_path / "proof").is_dir()


@pytest.mark.parametrize("keep", [0, 7, 8, 9, 500, -1])
@pytest.mark.parametrize("vouched", [False, True])
def test_a_truncated_file_is_refused(saved: Path, keep: int, vouched: bool) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    if vouched:
        adopt(saved)
    with pytest.raises(PsapError, match=r"model\.safetensors: refused unread"):
        load(saved)


@pytest.mark.parametrize("position", [0, 8, 9, 60, 400, 20_000, -1])
def test_a_flipped_bit_is_refused(saved: Path, position: int) -> None:
    weights = saved / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[position] ^= 1
    weights.write_bytes(content)
    with pytest.raises(PsapError, match=r"model\.safetensors: refused unread"):
        load(saved)


def test_weights_of_another_save_are_refused(saved: Path, tmp_path: Path) -> None:
    other = store(tmp_path / "other", "resnet8", build("resnet8", 10))
    (saved / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(PsapError, match="of another save"):
        load(saved)
    adopt(saved)
    assert_equal(load(saved), load(other))


def test_tensors_other_than_the_described_are_refused(saved: Path, tmp_path: Path) -> None:
    other = store(tmp_path / "other", "resnet20", build("resnet20", 10))
    (saved / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    adopt(saved)
    with pytest.raises(PsapError, match=r"model\.safetensors: its tensors are not those of architecture\.json"):
        load(saved)


def test_another_name_than_expected(saved: Path) -> None:
    with pytest.raises(PsapError, match=r"architecture\.json: a resnet8, where a resnet20 is expected"):
        load(saved, expect_name="resnet20")


def test_a_file_larger_than_the_memory_is_not_read(saved: Path) -> None:
    with (saved / "model.safetensors").open("wb") as file:
        file.truncate(2**40)
    for reader in (load, verify):
        with pytest.raises(PsapError, match="1,048,576 MiB, larger than the"):
            reader(saved)


def test_missing_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(PsapError, match=r"nowhere/architecture\.json: missing"):
        load(tmp_path / "nowhere")
    (saved / "model.safetensors").unlink()
    with pytest.raises(PsapError, match=r"model\.safetensors: missing"):
        load(saved)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "resnet20"}, "does not fit resnet20"),
        ({"name": "resnet9"}, "unknown model 'resnet9'"),
        ({"classes": 0}, "classes: Value error, must be greater than 0"),
        ({"format": 2}, "format: Input should be 1"),
        ({"widths": {}}, "widths.shapes: Field required"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_description_that_does_not_fit(saved: Path, change: dict[str, object], says: str) -> None:
    file = saved / "architecture.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PsapError, match=says) as caught:
        load(saved)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x80"])
def test_a_description_that_is_none(saved: Path, content: str) -> None:
    (saved / "architecture.json").write_text(content, encoding="latin-1")
    with pytest.raises(PsapError, match=r"architecture\.json: damaged, or of another kind") as caught:
        load(saved)
    assert "\n" not in str(caught.value)


def test_saving_again_replaces_both_files_and_leaves_no_other(saved: Path) -> None:
    model = build("resnet8", 10)
    assert_equal(model, load(store(saved, "resnet8", model)))
    assert sorted(p.name for p in saved.iterdir()) == ["architecture.json", "model.safetensors"]
