"""Masked network equals compacted network, counted cost equals an independent counter, targets are met."""

import copy
from functools import cache

import pytest
import timm
import torch
from fixture_types import Randomise
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from psap.models import build
from psap.pruning.allocation import ALLOCATIONS
from psap.pruning.channels import zero
from psap.pruning.cost import CostModel
from psap.pruning.criteria import CRITERIA
from psap.pruning.graph.compact import compact
from psap.pruning.graph.find import trace_groups
from psap.pruning.method import Method
from psap.pruning.parts import make_selector
from psap.pruning.pruner import Pruner
from psap.pruning.selection import Constraints
from psap.utils.bounds import Measure

NETWORKS = ["resnet20", "resnet20_b", "vgg16_bn", "resnet50", "mobilenetv2_100", "efficientnet_b0"]
ONE_SHOT = {"kind": "one_shot", "freeze": 0.0}


@cache
def network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(1)
    model = build(name, 10) if name.startswith(("resnet20", "vgg")) else timm.create_model(name)
    return model.double(), torch.randn(2, 3, 32, 32, dtype=torch.float64)


def counted(model: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(x)
    total: int = counter.get_total_flops()
    assert total % 2 == 0
    return total // 2


def prune(model: nn.Module, x: Tensor, target: float, measure: Measure = "macs", **parameters: object) -> Pruner:
    method = Method.model_validate({"reconstruction": "hard", "schedule": ONE_SHOT, **parameters})
    pruner = Pruner(model, x, target, 2, method=method, measure=measure)
    pruner.step(0)
    if not pruner.frozen:  # a criterion that wants gradients
        model(x).square().mean().backward()
        pruner.after_backward()
        pruner.after_step()
    assert pruner.frozen
    return pruner


class Prepared:
    """A randomised network with gradients, its groups and its cost model, found once for all criteria."""

    def __init__(self, name: str, randomise: Randomise) -> None:
        dense, self.x = network(name)
        self.macs = counted(dense, self.x)
        self.model = randomise(copy.deepcopy(dense), seed=3).eval()
        self.model(self.x).square().mean().backward()
        self.state = copy.deepcopy(self.model.state_dict())
        self.groups = [group for group in trace_groups(self.model, self.x) if not group.reason]
        self.cost = CostModel(self.model, self.x, self.groups)

    def choose(self, criterion: str, allocation: str) -> list[Tensor]:
        self.model.load_state_dict(self.state)
        method = Method.model_validate({"criterion": criterion, "allocation": allocation})
        selector = make_selector(self.model, self.x, self.groups, self.cost, method, "macs", seed=0)
        none = [torch.zeros(group.channels, dtype=torch.bool) for group in self.groups]
        return selector.select(selector.scores(), 0.5, none, Constraints(none, none, none, none)).masks

    def dearest_channel(self, masks: list[Tensor]) -> float:
        """How far one channel more can move the reduction: the slack that the target allows."""
        counts = [int(mask.sum()) for mask in masks]
        ordered = self.cost.order([(~mask).long().argsort(stable=True) for mask in masks])
        full = ordered.reduction(counts, "macs")
        fewer = [[*counts[:g], n - 1, *counts[g + 1 :]] for g, n in enumerate(counts) if n]
        return max(full - ordered.reduction(less, "macs") for less in fewer)


prepared = cache(Prepared)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", NETWORKS)
def test_masked_equals_compacted_for_every_allocation(name: str, criterion: str, randomise: Randomise) -> None:
    net = prepared(name, randomise)
    assert net.cost.macs == net.macs
    for allocation in ALLOCATIONS:
        masks = net.choose(criterion, allocation)
        for group, mask in zip(net.groups, masks, strict=True):
            zero([*group.weights, *group.others], mask)
        small = compact(net.model, net.x, net.groups, masks).eval()
        with torch.no_grad():
            expected, found = net.model(net.x), small(net.x)
        assert expected.abs().max() > 1e-3, "a network that says nothing proves nothing"
        assert (expected - found).abs().max() <= 1e-10 * expected.abs().max()
        # What was planned is what is there, by PyTorch's counter and by counting parameters.
        after = counted(small, net.x)
        planned = net.cost.order([(~mask).long().argsort(stable=True) for mask in masks])
        macs, params = planned([int(mask.sum()) for mask in masks])
        assert (macs, params) == (after, sum(p.numel() for p in small.parameters()))
        assert 0.5 <= 1 - after / net.macs < 0.5 + net.dearest_channel(masks)


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2_100"])
def test_targets_in_parameters(name: str, randomise: Randomise) -> None:
    dense, x = network(name)
    model = randomise(copy.deepcopy(dense))
    small = prune(model, x, 0.6, measure="params").compact()
    before, after = (sum(p.numel() for p in net.parameters()) for net in (dense, small))
    assert 0.6 <= 1 - after / before < 0.62


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2_100"])
def test_channels_that_remain_are_multiples(name: str, randomise: Randomise) -> None:
    dense, x = network(name)
    pruner = prune(randomise(copy.deepcopy(dense)), x, 0.5, round_to=8)
    left = [group.channels - int(mask.sum()) for group, mask in zip(pruner.groups, pruner.masks, strict=True)]
    assert all(n % 8 == 0 for n in left) and left != [group.channels for group in pruner.groups]
    small = pruner.compact()
    widths = {m.weight.shape[0] for m in small.modules() if isinstance(m, nn.Conv2d)}
    assert all(width % 8 == 0 for width in widths)
    assert counted(small, x) <= 0.5 * counted(dense, x)


def test_the_original_stays_as_it_was_and_trains_on(randomise: Randomise) -> None:
    dense, x = network("resnet20")
    model = randomise(copy.deepcopy(dense)).train()
    for parameter in list(model.parameters())[::3]:
        parameter.requires_grad_(False)
    flags = [p.requires_grad for p in model.parameters()]
    pruner = prune(model, x, 0.5)
    small = pruner.compact()
    assert model.training and all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == flags, "discovery gives frozen parameters back frozen"
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in dense.parameters())
    small(x).sum().backward()
    assert all(p.grad is not None for p in small.parameters() if p.requires_grad)
