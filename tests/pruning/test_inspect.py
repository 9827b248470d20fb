"""What is said of a network's groups is counted and measured, and the network is left as it was."""

import copy

import pytest
import torch
from fixture_types import Randomise
from torch import nn

from psap.models.open import open_named
from psap.pruning.cost import count_macs
from psap.pruning.graph.compact import compact
from psap.pruning.graph.find import trace_groups
from psap.pruning.inspect import COLUMNS, inspect_network, output_change


class Chain(nn.Module):
    """Multiply-adds at 4 x 4: 3 * 8 * 16 = 384, 8 * 4 * 16 = 512, 4 * 2 = 8; 904 in all."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.b(self.a(x).relu()).relu().mean((2, 3)))
        return out


def test_a_chain_by_hand() -> None:
    first, second, head = inspect_network(Chain().eval(), torch.zeros(1, 3, 4, 4))
    assert tuple(first) == COLUMNS
    assert [row["group"] for row in (first, second, head)] == ["a", "b", "head"]
    assert [row["channels"] for row in (first, second, head)] == [8, 4, 2]
    assert [row["macs"] for row in (first, second, head)] == pytest.approx([896 / 904, 520 / 904, 8 / 904])
    assert (first["most"], second["most"]) == (7, 3), "max_ratio 0.9, and one channel stays"
    assert first["most_macs"] == pytest.approx(7 / 8 * 896 / 904)
    assert second["most_macs"] == pytest.approx(3 / 4 * 520 / 904)
    assert head["reason"] == "feeds the network's output" and first["reason"] == ""
    assert head["most"] is head["change"] is head["sparsity"] is None
    assert 0 < first["sparsity"] < 1 and first["change"] > 0


def test_a_residual_network(randomise: Randomise) -> None:
    torch.manual_seed(0)
    network = open_named("resnet20")
    randomise(network.model)
    before = copy.deepcopy(network.model.state_dict())
    rows = {row["group"]: row for row in inspect_network(network.model, network.images)}
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.model.state_dict().items())
    assert rows["conv1"]["layers"] == "conv1 layer1.0.conv2 layer1.1.conv2 layer1.2.conv2"
    assert sum(row["channels"] for row in rows.values()) == 16 + 3 * 16 + 32 + 3 * 32 + 64 + 3 * 64 + 10
    # What a group is said to be able to save, and to change, is what removing its channels does.
    groups = {group.name: group for group in trace_groups(network.model, network.images)}
    for name in ("conv1", "layer2.1.conv1"):
        group, row = groups[name], rows[name]
        lowest = group.filters().norm(dim=1).argsort()
        most, half = (torch.zeros(group.channels, dtype=torch.bool) for _ in range(2))
        most[lowest[: row["most"]]] = half[lowest[: group.channels // 2]] = True
        macs = [
            count_macs(net, network.images)
            for net in (network.model, compact(network.model, network.images, [group], [most]))
        ]
        assert row["most_macs"] == pytest.approx(1 - macs[1] / macs[0])
        x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        smaller = compact(network.model, network.images, [group], [half])
        with torch.no_grad():
            expected, found = network.model(x), smaller(x)
        assert row["change"] == pytest.approx(float((found - expected).norm() / expected.norm()), rel=1e-3)


def test_a_group_that_nothing_hangs_on_changes_nothing() -> None:
    model = Chain().eval()
    nn.init.zeros_(model.b.weight)
    group = trace_groups(model, torch.zeros(1, 3, 4, 4))[0]
    x = torch.randn(2, 3, 4, 4)
    with torch.no_grad():
        outputs = model(x)
    assert output_change(model, group, x, outputs) == 0
