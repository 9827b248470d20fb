import pytest
import torch
from layer_helpers import layer
from narrow_helpers import narrowed
from torch import nn

from psap.errors import PsapError
from psap.layers import PadShortcut
from psap.models import build
from psap.models.widths import set_widths, widths


def test_setting_a_networks_own_widths_changes_nothing() -> None:
    model = build("resnet20", 10)
    before = dict(model.named_parameters())
    set_widths(model, widths(model))
    assert all(p is before[name] for name, p in model.named_parameters())


def test_a_narrowed_network_grows_back() -> None:
    full = widths(build("resnet20", 10))
    model = narrowed("resnet20", build("resnet20", 10))
    assert widths(model) != full
    set_widths(model, full)
    assert widths(model) == full


def test_shortcuts_after_channel_removal_are_rebuilt() -> None:
    shortcut, again = PadShortcut(16, 32), PadShortcut(16, 32)
    model, copy = nn.Sequential(shortcut), nn.Sequential(again)
    shortcut.remove_inputs([3, 15])
    shortcut.remove_outputs([0, 20])
    set_widths(copy, widths(model))
    x = torch.randn(2, 14, 8, 8)
    assert torch.equal(model(x), copy(x))
    again.remove_inputs([0])
    shortcut.remove_inputs([0])
    assert torch.equal(shortcut.source, again.source)


@pytest.mark.parametrize(
    "layer",
    [
        nn.PReLU(8),
        nn.LayerNorm(8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 4),
        nn.Linear(8, 4, bias=False),
        nn.Conv2d(8, 4, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 16, 3, groups=2, bias=False),
    ],
    ids=str,
)
def test_every_kind_of_layer(layer: nn.Module) -> None:
    model, half = nn.Sequential(layer), widths(nn.Sequential(layer))
    for shape in half.shapes.values():
        shape[:2] = [max(1, n // 2) for n in shape[:2]]
    if getattr(layer, "groups", 1) == 8:
        half.groups["0"] = 4
    if getattr(layer, "groups", 1) == 2:
        half.shapes["0.weight"][1] = 3
    set_widths(model, half)
    assert widths(model) == half
    x = torch.randn(2, getattr(layer, "in_channels", 4), 5, 5)
    torch.nn.init.constant_(next(layer.parameters()), 0.5)
    if isinstance(layer, nn.Conv2d):
        assert model(x).shape[1] == layer.out_channels
    else:
        assert model(torch.randn(2, 4)).shape[0] == 2


@pytest.mark.parametrize(
    ("tensor", "shape", "says"),
    [
        ("layer1.0.conv1.weight", [16, 16, 5, 5], "layer1.0.conv1: kernel"),
        ("layer1.0.conv1.weight", [16, 16], "layer1.0.conv1: weight of shape"),
        ("layer1.0.bn1.bias", [5], "layer1.0.bn1: its tensors differ"),
        ("linear.bias", [11], "linear: weight and bias differ"),
        ("layer2.0.shortcut.gain", [31], "layer2.0.shortcut: wiring and shapes differ"),
        ("layer9.weight", [1], "layer9.weight: this network has no such tensor"),
    ],
)
def test_what_does_not_fit_is_named(tensor: str, shape: list[int], says: str) -> None:
    model = build("resnet8", 10)
    target = widths(model)
    target.shapes[tensor] = shape
    with pytest.raises(PsapError, match=says):
        set_widths(model, target)


def test_missing_tensors_wiring_and_false_wiring_are_named() -> None:
    model = build("resnet8", 10)
    target = widths(model)
    target.shortcuts["layer2.0.shortcut"].source[0] = 17
    with pytest.raises(PsapError, match=r"layer2.0.shortcut: an output shows a channel that is not there"):
        set_widths(model, target)
    del target.shortcuts["layer2.0.shortcut"]
    with pytest.raises(PsapError, match=r"layer2.0.shortcut: the wiring"):
        set_widths(model, target)
    del target.shapes["conv1.weight"]
    with pytest.raises(PsapError, match=r"conv1.weight: missing"):
        set_widths(model, target)


def test_numbers_that_are_none_of_a_layer_are_named() -> None:
    model = nn.Sequential(nn.GroupNorm(2, 8))
    target = widths(model)
    target.shapes["0.weight"] = target.shapes["0.bias"] = [4]
    target.attributes["0"] = {"num_channels": 4}
    set_widths(model, target)
    norm = layer(model, "0", nn.GroupNorm)
    assert norm.num_channels == len(norm.weight) == 4
    for name, key, value in (("0", "heads", 4), ("0", "num_groups", [2]), ("1", "num_groups", 2)):
        target.attributes[name] = {key: value}
        with pytest.raises(PsapError, match=f"{name}: {key} is no such number of this network"):
            set_widths(model, target)
        del target.attributes[name]
