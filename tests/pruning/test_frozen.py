"""Channels held at zero: exactly, and for no more than a launch before and one after the optimiser's step."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from small_helpers import Small
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from psap.pruning.channels import FrozenChannels
from psap.pruning.cost import CostModel
from psap.pruning.graph.verify import find_prunable_groups
from psap.utils.passes import Call, smaller

X, Y = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])


def launches(action: Callable[[], object]) -> int:
    """Operations that no other operation has called: on a GPU each is a launch or a few."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        action()
    return sum(event.name.startswith("aten::") and event.cpu_parent is None for event in seen.events())


def test_holding_channels_takes_two_launches_and_is_exact() -> None:
    torch.manual_seed(0)
    model = Small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=True)
    groups = [group for group in find_prunable_groups(model, X) if not group.reason]
    masks = [torch.arange(group.channels) % 2 == 0 for group in groups]
    held, none = FrozenChannels(), FrozenChannels()
    held.set(groups, masks)

    def step(frozen: FrozenChannels) -> None:
        F.cross_entropy(model(X), Y).backward()
        frozen.mask_gradients()
        optimizer.step()
        frozen.mask_values()
        optimizer.zero_grad()

    step(none)  # makes the optimiser's state
    plain, holding = (launches(partial(step, frozen)) for frozen in (none, held))
    assert plain < holding <= plain + 2
    assert any(bool(optimizer.state[p]["momentum_buffer"].any()) for p in model.parameters())
    for group, mask in zip(groups, masks, strict=True):
        for slot in group.slots:
            rows = slot.tensor.detach()[slot.member.positions(mask)]
            assert not isinstance(slot.tensor, torch.nn.Parameter) or not rows.any()
            assert slot.attribute.startswith("running") or slot.tensor.detach()[slot.member.positions(~mask)].any()


def test_costs_are_counted_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model, passes = Small(), []
    groups = [group for group in find_prunable_groups(model, X) if not group.reason]
    model.register_forward_hook(lambda *_: passes.append(1))
    CostModel(model, X, groups)
    assert len(passes) == 1


def test_large_images_are_tried_small_and_others_as_they_are() -> None:
    sizes = {224: 28, 96: 24, 47: 47, 32: 32, 8: 8}
    for size, cut in sizes.items():
        assert smaller(Call.of(torch.zeros(1, 3, size, size))).args[0].shape == (1, 3, cut, cut)
    words = Call.of((torch.zeros(1, 9, 300), torch.ones(2, 2, 99, 99, dtype=torch.int64)))
    assert smaller(words) is words


def test_a_network_for_one_size_is_tried_at_that_size() -> None:
    class OneSize(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(3, 6, 3, stride=8), torch.nn.Conv2d(6, 4, 1)
            self.head = torch.nn.Linear(4 * 12 * 12, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.second(self.first(x)).flatten(1))
            return out

    groups = find_prunable_groups(OneSize(), torch.randn(1, 3, 96, 96))
    assert [group.reason for group in groups[:2]] == ["", ""]
