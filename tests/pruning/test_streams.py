"""Channels that norms look at together: left alone unless asked for, then compared in what the norms compute masked."""

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from architectures_helpers import Encoder, Standardised
from attention_helpers import IMAGE, timm_vit, torchvision_vit
from layer_helpers import layer
from timm.layers.norm import LayerNorm2d, RmsNorm
from timm.layers.std_conv import ScaledStdConv2d
from torch import Tensor, nn

import psap
from psap import Method, Pruner
from psap.pruning.cost import CostModel, count_macs, count_params
from psap.pruning.graph.groups import Group
from psap.pruning.graph.masked import compact_masked
from psap.pruning.graph.norms import keep_only, restore
from psap.pruning.graph.standardised import read_only
from psap.pruning.graph.stream import StreamGroup
from psap.pruning.graph.verify import find_prunable_groups, randomise_parameters
from psap.pruning.inspect import inspect_network


class Images(nn.Module):
    """A residual stream of images through LayerNorm over channels, GroupNorm over all, and RMSNorm behind the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 4, 4), LayerNorm2d(12)
        self.up, self.down, self.scale = nn.Conv2d(12, 20, 1), nn.Conv2d(20, 12, 1), nn.Parameter(torch.ones(12, 1, 1))
        self.all, self.last, self.head = nn.GroupNorm(1, 12), nn.RMSNorm(12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.scale * self.down(self.up(self.norm(x)).relu())
        result: Tensor = self.head(self.last(self.all(x).mean((2, 3))))
        return result


class Sets(nn.Module):
    """GroupNorm in three sets of four channels: a set goes as a whole, and exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 12, 3), nn.GroupNorm(3, 12), nn.Conv2d(12, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.b(self.norm(self.a(x)).relu()).relu().mean((2, 3)))
        return result


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "timm": (timm_vit, IMAGE),
    "torchvision": (torchvision_vit, IMAGE),
    "torch": (Encoder, torch.randn(2, 7, 8)),
    "images": (Images, IMAGE[:, :, :16, :16].contiguous()),
    "standardised": (Standardised, IMAGE[:, :, :16, :16].contiguous()),
}


def built(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = NETWORKS[name][0]()
    randomise_parameters(model)
    return model, NETWORKS[name][1]


def streams(groups: list[Group]) -> list[Group]:
    return [group for group in groups if isinstance(group, StreamGroup)]


@pytest.mark.parametrize("name", NETWORKS)
def test_they_stay_whole_unless_asked_for(name: str) -> None:
    model, x = built(name)
    (plain,), (asked,) = (streams(find_prunable_groups(model, x, through)) for through in (False, True))
    why = "weight standardisation" if name == "standardised" else "mixes or shifts channels"
    assert why in plain.reason and asked.reason == ""
    assert not plain.exact and not asked.exact
    groups = find_prunable_groups(model, x, through_norms=True)
    pruner = Pruner(model, x, 0.1, 1, groups=groups)
    assert pruner.unprunable[0].name == asked.name and "through_norms" in pruner.unprunable[0].reason
    prunable = [group for group in groups if not group.reason]
    cost = CostModel(model, x, prunable)
    assert (cost.macs, cost.params) == (count_macs(model, x), count_params(model)) and cost._rest_macs == 0


AFTER = {"when": "after", "quantile": 0.5, "share": 0.5, "immunity": 1, "rest": "free", "signal": "gate_gradient"}
METHODS: dict[str, dict[str, Any]] = {
    "psap": {},
    "gates": {"protection": AFTER},
    "soft": {"reconstruction": "soft"},
    "hard": {"reconstruction": "hard", "criterion": "taylor", "allocation": "uniform"},
}


def trained(model: nn.Module, x: Tensor, method: Method, target: float, resumed: bool = False) -> Pruner:
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    pruner = Pruner(model, x, target, 4, optimizer, method)
    for epoch in range(4):
        pruner.step(epoch)
        for _ in range(2):
            model(x).square().mean().backward()
            pruner.after_backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
        if resumed and epoch == 2:
            file = io.BytesIO()
            torch.save([part.state_dict() for part in (model, optimizer, pruner)], file)
            file.seek(0)
            for module in model.modules():
                restore(module)
            fresh = Pruner(model, x, target, 4, optimizer, method, groups=[*pruner.groups, *pruner.unprunable])
            parts: tuple[Any, ...] = (model, optimizer, fresh)
            for part, state in zip(parts, torch.load(file, weights_only=True), strict=True):
                part.load_state_dict(state)
            pruner = fresh
    return pruner


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_trained_compacted_saved_and_read_again(name: str, method: str, tmp_path: Path) -> None:
    model, x = built(name)
    pruner = trained(model, x, Method(window=1, through_norms=True, **METHODS[method]), 0.5)
    small = pruner.compact().eval()
    assert pruner.max_output_difference < 1e-9 and 1 - count_macs(small, x) / count_macs(model, x) >= 0.5
    (stream,) = (
        mask for group, mask in zip(pruner.groups, pruner.masks, strict=True) if isinstance(group, StreamGroup)
    )
    assert stream.any() and pruner.hooked
    assert not any(module._forward_hooks for module in small.modules()), "an ordinary network"
    with torch.no_grad():
        assert torch.allclose(model.eval()(x), small(x), rtol=1e-4, atol=1e-5), "what a training evaluates"
        psap.save(small, tmp_path, into=NETWORKS[name][0]())
        assert torch.equal(psap.load(tmp_path, into=NETWORKS[name][0]()).eval()(x), small(x))


def test_a_resumed_training_ends_with_the_same_bits() -> None:
    model, x = built("timm")
    again = copy.deepcopy(model)
    method = Method(window=1, through_norms=True)
    small, other = (trained(net, x, method, 0.5, resumed).compact() for net, resumed in ((model, False), (again, True)))
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), other.parameters(), strict=True))


def test_vit_tiny_loses_80_percent() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5)
    pruner = trained(model, IMAGE, Method(window=1, through_norms=True), 0.8)
    small = pruner.compact()
    assert pruner.max_output_difference < 1e-9 and count_macs(small, IMAGE) <= 0.2 * count_macs(model, IMAGE)


def test_sets_of_groupnorm_go_as_a_whole_and_exactly() -> None:
    model, x = Sets(), IMAGE[:, :, :16, :16].contiguous()
    randomise_parameters(model)
    groups = {group.name: group for group in find_prunable_groups(model, x)}
    assert (groups["a"].channels, groups["a"].reason, groups["a"].exact) == (3, "", True)
    small = trained(model, x, Method(window=1), 0.6).compact()
    norm = layer(small, "norm", nn.GroupNorm)
    assert norm.num_channels == 4 * norm.num_groups < 12
    model.eval()
    assert not any(module._forward_hooks for module in model.modules())
    assert compact_masked(model, x)[1] > 0


@pytest.mark.parametrize("norm", [nn.LayerNorm(6), nn.RMSNorm(6), RmsNorm(6), nn.LayerNorm(6, bias=False)])
def test_a_norm_that_keeps_channels_is_a_norm_of_those(norm: nn.Module) -> None:
    keep, x = torch.tensor([True, False, True, True, False, True]), torch.randn(3, 6)
    randomise_parameters(norm)
    small = type(norm)(4)
    small.load_state_dict({key: value[keep] for key, value in norm.state_dict().items()}, strict=False)
    if getattr(norm, "bias", None) is None and isinstance(bias := getattr(small, "bias", None), nn.Parameter):
        nn.init.zeros_(bias)
    expected = torch.zeros(3, 6).index_copy(1, keep.nonzero().flatten(), small(x[:, keep]))
    before = norm(x)
    keep_only(norm, keep)
    assert torch.allclose(norm(x), expected, atol=1e-6)
    restore(norm)
    assert torch.equal(norm(x), before)


def test_a_convolution_that_reads_some_channels_standardises_over_those() -> None:
    conv = ScaledStdConv2d(6, 4, 3)
    randomise_parameters(conv)
    keep, x = torch.tensor([True, False, True, True, False, True]), torch.randn(2, 6, 5, 5)
    small = ScaledStdConv2d(4, 4, 3)
    small.load_state_dict({**conv.state_dict(), "weight": conv.weight[:, keep]})
    small.scale = conv.scale  # of a network that was built for all of them
    before = conv(x)
    read_only(conv, keep)
    assert torch.allclose(conv(x), small(x[:, keep]), atol=1e-6) and not torch.allclose(conv(x), before, atol=1e-3)
    restore(conv)
    assert torch.equal(conv(x), before)


def test_runs_are_known_by_it_only_where_it_is_asked_for() -> None:
    assert "through_norms" not in Method().identity()
    assert Method(through_norms=True).identity() == {**Method().identity(), "through_norms": True}


def test_inspect_says_which_groups_change_a_norm() -> None:
    model, x = built("images")
    rows = {row["group"]: row for row in inspect_network(model, x, Method(through_norms=True))}
    assert (rows["stem"]["exact"], rows["up"]["exact"], rows["stem"]["reason"]) == (False, True, "")
    assert rows["stem"]["change"] > 0 and not any(module._forward_hooks for module in model.modules())
