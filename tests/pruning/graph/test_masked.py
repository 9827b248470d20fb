"""Zeros in a network become a smaller network, whoever put them there."""

from pathlib import Path

import pytest
import torch
from fixture_types import Psap, Randomise
from torch import nn

from psap.errors import PsapError
from psap.models import build
from psap.models.open import open_saved
from psap.pruning.channels import zero
from psap.pruning.graph.find import trace_groups
from psap.pruning.graph.masked import compact_masked, zeroed
from psap.pruning.pruner import Pruner


@pytest.mark.parametrize("name", ["resnet8", "resnet8_b", "vgg16_bn", "torchvision:mobilenet_v2"])
def test_what_is_zero_goes_and_nothing_else_changes(name: str, randomise: Randomise) -> None:
    model, images = randomise(build(name, 10)).eval(), torch.randn(2, 3, 32, 32)
    groups = [group for group in trace_groups(model, images) if not group.reason]
    masks = [
        torch.rand(group.channels, generator=torch.Generator().manual_seed(g)) < 0.4 for g, group in enumerate(groups)
    ]
    for group, mask in zip(groups, masks, strict=True):
        zero(group.slots, mask)
        assert torch.equal(zeroed(group), mask)
    small, removed = compact_masked(model, images)
    assert removed == sum(int(mask.sum()) for mask in masks)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert torch.allclose(small(images), model(images), rtol=1e-4, atol=1e-5)


def test_statistics_do_not_matter_but_weights_biases_and_shifts_do() -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    assert conv.bias is not None and norm.running_mean is not None
    group = next(group for group in trace_groups(model, torch.zeros(1, 3, 8, 8)) if not group.reason)
    with torch.no_grad():
        for tensor in (conv.weight, conv.bias, norm.weight, norm.bias):
            tensor[1:3] = 0
        norm.running_mean[1] = 5.0
    assert zeroed(group).tolist() == [False, True, True, False]
    with torch.no_grad():
        norm.bias[2] = 0.5  # a constant, which the next layer sees
    assert zeroed(group).tolist() == [False, True, False, False]


def test_one_channel_stays_and_a_network_without_zeros_is_refused(randomise: Randomise) -> None:
    model, images = randomise(build("resnet8", 10)), torch.zeros(1, 3, 32, 32)
    with pytest.raises(PsapError, match="no channel of its 6 groups is zero"):
        compact_masked(model, images)
    group = trace_groups(model, images)[1]
    zero(group.slots, torch.ones(group.channels, dtype=torch.bool))
    assert int(zeroed(group).sum()) == group.channels - 1
    compact_masked(model, images)


def test_the_command_takes_the_checkpoint_of_ones_own_loop(tmp_path: Path, psap: Psap, randomise: Randomise) -> None:
    model, images = randomise(build("resnet8", 10)), torch.zeros(1, 3, 32, 32)
    pruner = Pruner(model, images, target=0.4, epochs=1)
    pruner.step(0)
    while not pruner.frozen:
        model(torch.randn(4, 3, 32, 32)).square().mean().backward()
        pruner.after_backward()
        pruner.after_step()
    torch.save(model.state_dict(), tmp_path / "masked.pt")
    code, out, _ = psap("compact", "resnet8", "--weights", tmp_path / "masked.pt", "--out", tmp_path / "small")
    assert not code and "multiply-adds -4" in out
    small, expected = open_saved(tmp_path / "small").model, pruner.compact()
    assert all(map(torch.equal, small.state_dict().values(), expected.state_dict().values()))
