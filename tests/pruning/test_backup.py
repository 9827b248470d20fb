"""What is backed up comes back, each group's own, also where groups share a tensor."""

import copy
import inspect
from functools import cache
from pathlib import Path

import architectures_helpers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_helpers import Small
from timm.layers.mixed_conv2d import MixedConv2d
from torch import Tensor, nn

from psap.bench.readings import READINGS, not_given_back, prune_in_training
from psap.models import build, saved
from psap.models.architecture import Widths
from psap.models.widths import set_widths, widths
from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.graph.find import trace_groups
from psap.pruning.graph.groups import Group
from psap.pruning.graph.verify import randomise_parameters

IMAGE = torch.randn(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
SHARED = ["UNet", "Concatenated", "Behind"]  # tensors that belong to several groups
NAMED = ["torchvision:densenet121", "timm:densenet121", "timm:mixnet_s"]
OTHERS = {"Padded", "Encoder", "Tied", "Branching"}  # nothing to prune, no images, or refused where they branch
ALL = [
    name
    for name, kind in vars(architectures_helpers).items()
    if inspect.isclass(kind) and kind.__module__ == "architectures_helpers" and not issubclass(kind, nn.Conv2d)
]
NETWORKS = [*(name for name in ALL if name not in OTHERS), "Small", *NAMED]
NETWORKS += ["resnet20", "resnet20_b", "vgg16_bn", "timm:resnet50", "timm:mobilenetv2_100", "timm:efficientnet_b0"]


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    own = Small if name == "Small" else getattr(architectures_helpers, name, None)
    model = own() if own else build(name, 5)
    randomise_parameters(model)
    return model.double().eval()


@cache
def found(name: str) -> tuple[nn.Module, list[Group]]:
    model, size = make(name), 32 if ":" in name or "_" in name or name == "resnet20" else 16
    groups = trace_groups(model, torch.randn(1, 3, size, size, dtype=torch.float64))
    return model, [group for group in groups if not group.reason]


@pytest.mark.parametrize("name", NETWORKS)
def test_save_all_zero_all_restore_all_is_the_identity(name: str) -> None:
    model, groups = found(name)
    assert len({group.name for group in groups}) == len(groups)
    assert not_given_back(model, groups) == ""


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*SHARED, "Flattened", "Gated", "GatedTokens", "Small"]), st.data())
def test_what_comes_back_is_what_was_there_and_nothing_else_moves(name: str, data: st.DataObject) -> None:
    """Any channels saved in any order of the groups, and any of them restored, after all values have changed."""
    dense, groups = found(name)
    model = copy.deepcopy(dense)
    own = [group.within(model) for group in groups]
    order = data.draw(st.permutations(range(len(own))))
    masks = drawn_masks(own, data)
    back = [
        mask & torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(mask), max_size=len(mask))))
        for mask in masks
    ]
    backup = ChannelBackup()
    for g in order:
        backup.save(own[g], masks[g])
    for group in own:
        zero(group.slots, torch.ones(group.channels, dtype=torch.bool))
    zeroed = copy.deepcopy(model.state_dict())
    for g in reversed(order):
        backup.restore(own[g], back[g])
    given_back = {name: torch.zeros(len(value), dtype=torch.bool) for name, value in zeroed.items() if value.dim()}
    for group, mask in zip(own, back, strict=True):
        for slot in group.slots:
            given_back[slot.name][slot.member.positions(mask)] = True
    for name, rows in given_back.items():
        now = model.state_dict()[name]
        assert torch.equal(now[rows], dense.state_dict()[name][rows]), name
        assert torch.equal(now[~rows], zeroed[name][~rows]), name


def drawn_masks(groups: list[Group], data: st.DataObject) -> list[Tensor]:
    sizes = [group.channels for group in groups]
    return [torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size))) for size in sizes]


FREE = {
    f"{reading}, rest free": method.model_copy(
        update={"protection": method.protection.model_copy(update={"rest": "free"})}
    )
    for reading, method in READINGS.items()
}


@pytest.mark.parametrize("reading", [*READINGS, *FREE])
@pytest.mark.parametrize("name", SHARED)
def test_groups_that_share_a_norm_are_pruned_over_several_steps(name: str, reading: str) -> None:
    model = make(name)
    pruner = prune_in_training(model, IMAGE, 0.4, (READINGS | FREE)[reading])
    small = pruner.compact().eval()
    assert 0.4 <= pruner.reduction() < 0.6 and pruner.max_output_difference <= 1e-12
    assert any(row["restored"] for row in pruner.history.rows) or reading.startswith("before")
    equal(model, small, 16)
    again = make(name)
    set_widths(again, Widths.model_validate_json(widths(small).model_dump_json()))
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(IMAGE), small(IMAGE))


@pytest.mark.parametrize(
    ("name", "target", "reading"),
    [
        ("torchvision:densenet121", 0.4, "before"),
        ("torchvision:densenet121", 0.4, "after, weight gradient"),
        ("timm:densenet121", 0.4, "before"),
        ("timm:densenet121", 0.4, "after, gate gradient"),
        *(("timm:mixnet_s", 0.2, reading) for reading in READINGS),  # which holds most of its channels by heart
    ],
)
def test_networks_full_of_concatenations_are_pruned_saved_and_loaded(
    name: str, target: float, reading: str, tmp_path: Path
) -> None:
    model, groups = make(name), [group for group in found(name)[1] if not splits(found(name)[0], group)]
    image = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    pruner = prune_in_training(model, image, target, READINGS[reading], groups)
    small = pruner.compact().eval()
    assert pruner.reduction() >= target
    assert any(row["restored"] for row in pruner.history.rows) or reading.startswith("before")
    equal(model, small, 32)
    saved.save(small.float(), tmp_path, name=name, classes=5, in_channels=3)
    assert torch.equal(saved.load(tmp_path).eval()(image.float()), small(image.float()))


def splits(model: nn.Module, group: Group) -> bool:
    """Whether a mixed convolution splits the group's channels by numbers that it has by heart.

    The trial finds it as well, in minutes.
    """
    mixed = {part for module in model.modules() if isinstance(module, MixedConv2d) for part in module.modules()}
    reading = [*group.consumers, *(member for member in group.producers if getattr(member.module, "groups", 1) > 1)]
    return any(member.module in mixed for member in reading)


@torch.no_grad()
def equal(masked: nn.Module, small: nn.Module, size: int) -> None:
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    expected: Tensor = masked(images)
    assert (expected - small(images)).abs().max() <= 1e-10 * expected.abs().max()
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())
