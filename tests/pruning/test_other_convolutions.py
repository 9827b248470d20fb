"""Transposed and grouped convolutions: pruned in every way, compacted exactly, counted, saved and read again."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import psap
from psap import Method, Pruner
from psap.pruning.cost import CostModel, count_macs
from psap.pruning.graph.groups import Group
from psap.pruning.graph.masked import compact_masked
from psap.pruning.graph.verify import find_prunable_groups
from psap.utils.mappings import JsonObject

X = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Upsampling(nn.Module):
    """Transposed convolutions: plain, depthwise, and the second of two that batch-norm follows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.up, self.bn = nn.Conv2d(3, 10, 3), nn.ConvTranspose2d(10, 8, 4, 2), nn.BatchNorm2d(8)
        self.each, self.up2 = nn.ConvTranspose2d(8, 8, 2, 2, groups=8), nn.ConvTranspose2d(8, 6, 3, bias=False)
        self.out = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.up(self.a(x).relu())).relu()
        out: Tensor = self.out(self.up2(self.each(x).relu()).relu()).mean((2, 3))
        return out


class Grouped(nn.Module):
    """Grouped convolutions in a residual block, with a bias, and one that is transposed too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)
        self.grouped, self.bn2 = nn.Conv2d(12, 12, 3, padding=1, groups=4), nn.BatchNorm2d(12)
        self.b, self.up, self.c = nn.Conv2d(12, 8, 1), nn.ConvTranspose2d(8, 8, 2, 2, groups=2), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.a(x)).relu()
        x = x + self.bn2(self.grouped(x)).relu()
        out: Tensor = self.head(self.c(self.up(self.b(x).relu()).relu()).relu().mean((2, 3)))
        return out


def by_name(model: nn.Module) -> dict[str, Group]:
    return {group.name: group for group in find_prunable_groups(model, X)}


def test_channels_of_a_transposed_convolution_lie_in_its_second_dimension() -> None:
    torch.manual_seed(0)
    model = Upsampling()
    groups = by_name(model)
    assert {name: group.channels for name, group in groups.items() if not group.reason} == {"a": 10, "up": 8, "up2": 6}
    assert [member.name for member in groups["up"].producers] == ["each", "up"] or [
        member.name for member in groups["up"].producers
    ] == ["up", "each"]
    weight = model.up2.weight.detach()
    assert torch.equal(groups["up2"].filters(), weight.transpose(0, 1).flatten(1))


def test_whole_groups_of_a_grouped_convolution_are_its_channels() -> None:
    groups = by_name(Grouped())
    sizes = {name: (group.channels, len(group.root.position)) for name, group in groups.items() if not group.reason}
    assert sizes == {"a": (4, 12), "b": (2, 8), "c": (8, 8)}
    assert groups["a"].root.channel.tolist() == sorted([*range(4)] * 3)


@pytest.mark.parametrize("network", [Upsampling, Grouped])
def test_all_is_counted(network: type[nn.Module]) -> None:
    model = network().eval()
    groups = [group for group in find_prunable_groups(model, X) if not group.reason]
    cost = CostModel(model, X, groups)
    assert cost.macs == count_macs(model, X) and cost._rest_macs == cost._rest_params == 0


AFTER = {"when": "after", "quantile": 0.6, "share": 0.4, "immunity": 1, "rest": "free"}
METHODS: dict[str, JsonObject] = {
    "psap": {},
    "returning": {"protection": AFTER},
    "gates": {"protection": {**AFTER, "signal": "gate_gradient"}},
    "soft": {"reconstruction": "soft"},
    "hard": {"reconstruction": "hard", "criterion": "fpgm", "allocation": "uniform"},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", [Upsampling, Grouped])
def test_trained_and_compacted_it_is_the_masked_network(network: type[nn.Module], method: str, tmp_path: Path) -> None:
    """`compact` compares outputs in float64 and counts; channels that stay pruned are zero at every step."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    pruner = Pruner(model, X, 0.4, 6, optimizer, Method(window=2, **METHODS[method]))
    y = torch.arange(4)
    for epoch in range(6):
        pruner.step(epoch)
        for _ in range(3):
            nn.functional.cross_entropy(model(X), y).backward()
            pruner.after_backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
            if pruner.frozen:
                for group, mask in zip(pruner.groups, pruner.masks, strict=True):
                    assert not group.filters()[mask].any()
    small = pruner.compact()
    assert pruner.max_output_difference < 1e-9 and 1 - count_macs(small, X) / count_macs(model, X) >= 0.4
    with torch.no_grad():
        again, removed = compact_masked(model, X)
        assert torch.allclose(again.eval()(X), small.eval()(X), atol=1e-5)
    assert removed == sum(int(mask.sum()) for mask in pruner.masks)
    psap.save(small, tmp_path)
    with torch.no_grad():
        assert torch.equal(psap.load(tmp_path, into=network()).eval()(X), small(X))


def test_what_was_backed_up_comes_back_bit_for_bit() -> None:
    from psap.pruning.channels import ChannelBackup, zero

    torch.manual_seed(0)
    for model in (Upsampling(), Grouped()):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for group in (group for group in find_prunable_groups(model, X) if not group.reason):
            mask = torch.arange(group.channels) % 2 == 0
            backup = ChannelBackup()
            backup.save(group, mask)
            zero(group.slots, mask)
            assert not group.filters()[mask].any() and group.filters()[~mask].any()
            backup.restore(group, mask)
            assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
