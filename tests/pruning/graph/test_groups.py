"""Groups: what belongs together, what is refused and why, and the traps of tracing."""

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from architectures_helpers import (
    Bilinear,
    Concatenated,
    Flattened,
    Gated,
    GatedTokens,
    Ghost,
    Grouped,
    Keeping,
    Padded,
    Standardised,
)
from fixture_types import Randomise
from layer_helpers import layer
from torch import Tensor, nn

from psap.errors import PsapError
from psap.layers import PadShortcut
from psap.models import build
from psap.pruning.graph import _torch_pruning as walks
from psap.pruning.graph.find import trace_groups
from psap.pruning.graph.groups import Group
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

IMAGE = torch.randn(2, 3, 16, 16)


def by_name(model: nn.Module, x: Tensor = IMAGE) -> dict[str, Group]:
    return {group.name: group for group in trace_groups(model, x)}


def test_residual_stream_of_option_a_is_one_group_for_each_stage() -> None:
    groups = by_name(build("resnet8", 10))
    assert [m.name for m in groups["conv1"].producers] == ["conv1", "layer1.0.conv2"]
    stream = groups["layer2.0.conv2"]
    assert stream.channels == 32
    assert any(isinstance(m.module, PadShortcut) for m in stream.producers)
    assert any(isinstance(m.module, PadShortcut) for m in groups["conv1"].consumers)


def test_the_classifier_is_never_a_group() -> None:
    model = build("resnet8", 10)
    reasons = {group.name: group.reason for group in trace_groups(model, IMAGE) if group.reason}
    assert set(reasons.values()) == {"feeds the network's output"}
    assert all(layer(model, name, nn.Linear).weight.shape[0] == 10 for name in reasons)


def test_depthwise_pairs_go_together() -> None:
    net, found = timm.create_model("mobilenetv2_100"), 0
    for group in trace_groups(net, torch.randn(1, 3, 32, 32)):
        for member in group.producers:
            if getattr(member.module, "groups", 1) > 1:
                assert len(group.producers) > 1, "a depthwise convolution cannot lose a channel alone"
                found += 1
    assert found == 17


def test_gated_halves_are_one_channel_each() -> None:
    group = by_name(Gated())["wide"]
    assert group.channels == 6
    assert group.filters().shape == (6, 2 * 28), "two filters of 27 weights and a bias for each channel"
    mask = torch.tensor([True, False, False, False, True, False])
    assert sorted(group.producers[0].positions(mask).tolist()) == [0, 4, 6, 10]


def test_what_a_concatenation_joins_twice_is_one_channel() -> None:
    group = by_name(Ghost())["primary.0"]
    mask = torch.tensor([False, True, False, False, False, False])
    places = {member.name: member.positions(mask).tolist() for member in (*group.producers, *group.consumers)}
    assert places == {"primary.0": [1], "cheap.0": [1], "over.0": [1, 7], "head": [1, 7]} and not group.reason


def test_flattened_channels_take_all_their_positions() -> None:
    consumer = by_name(Flattened())["conv"].consumers[0]
    assert consumer.name == "hidden"
    mask = torch.tensor([False, True, False, False, False, False])
    assert sorted(consumer.positions(mask).tolist()) == [4, 5, 6, 7]


@pytest.mark.parametrize("make", [Gated, GatedTokens, Bilinear, Flattened, Concatenated, Keeping, Ghost])
def test_small_architectures_compact_exactly(make: Callable[[], nn.Module], randomise: Randomise) -> None:
    torch.manual_seed(0)
    model, x = randomise(make().double()), IMAGE.double()
    pruner = Pruner(model, x, 0.25, 1, method=Method(reconstruction="hard"))
    pruner.step(0)
    small = pruner.compact()
    assert pruner.max_output_difference <= 1e-12
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_refused_with_the_reason() -> None:
    groups = by_name(Grouped())
    assert "grouped convolution" in groups["first"].reason
    assert "grouped convolution" in groups["grouped"].reason
    assert (groups["free"].reason, groups["free"].channels) == ("", 2), "whole sets of GroupNorm are its channels"
    assert groups["last"].reason == ""


def test_a_network_without_a_prunable_group_is_one_line() -> None:
    with pytest.raises(PsapError, match=r"no group of filters that can be pruned .*feeds the network's output"):
        trace_groups(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)), IMAGE)
    with pytest.raises(PsapError, match="no convolution or linear layer"):
        trace_groups(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 16 * 16)), IMAGE)


def test_wrong_example_input_is_one_line() -> None:
    with pytest.raises(PsapError, match="cannot be traced for pruning on the example input"):
        trace_groups(build("resnet8", 10), torch.randn(1, 5, 8, 8))


def test_frozen_parameters_and_no_grad_hide_nothing() -> None:
    model = build("resnet8", 10)
    expected = list(by_name(model))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        assert list(by_name(model)) == expected
    assert not any(p.requires_grad for p in model.parameters())


def test_shortcut_padded_with_f_pad_is_refused() -> None:
    with pytest.raises(PsapError):
        pruner = Pruner(Padded(), IMAGE, 0.3, 1)
        pruner.step(0)
        pruner.compact()


def test_gated_linear_layers_are_split_in_their_last_dimension() -> None:
    groups = by_name(GatedTokens())
    assert groups["gated"].channels == 8 and groups["gated"].reason == ""
    assert groups["gated"].filters().shape == (8, 2 * 7), "two filters of 6 weights and a bias for each channel"
    assert groups["patch"].reason


def test_what_a_network_keeps_in_eval_mode_is_not_kept_from_tracing() -> None:
    model = Keeping().eval()
    trace_groups(model, IMAGE)
    assert model.kept is None and not model.training
    copy.deepcopy(model)  # which a kept tensor with gradients would forbid


def test_weight_standardisation_over_lost_inputs_is_refused() -> None:
    groups = by_name(Standardised())
    assert groups["a"].reason.startswith("b: weight standardisation")
    assert (groups["b"].reason, groups["b"].channels) == ("", 6), "c reads them in pairs, each by itself"
    assert groups["d"].reason == ""


def test_splits_of_something_else_are_refused() -> None:
    groups = by_name(Bilinear())
    assert "mixes channels" in groups["1.ba.conv_p"].reason and groups["1.ba.conv2.conv"].reason == ""


def test_indices_that_go_round_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "_ITEM", 0)
    monkeypatch.setattr(walks, "_MOST_INDICES", 5)  # fewer than are flattened here
    groups = by_name(Flattened())
    assert "mixes channels" in groups["conv"].reason and groups["hidden"].reason == ""


def test_torch_pruning_used_beside_us_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "_ITEM", 0)
    monkeypatch.setattr(walks, "_MOST_INDICES", 5)
    model = Flattened()
    trace_groups(model, IMAGE)
    graph = walks.tp.DependencyGraph().build_dependency(model, IMAGE)
    group = graph.get_pruning_group(model.conv, walks.tp.prune_conv_out_channels, [0])
    group.prune()
    assert model.conv.out_channels == 5 and model.hidden.in_features == 20


def test_a_frozen_layer_with_a_bias_is_pruned_and_compacted() -> None:
    model = Flattened()
    for parameter in model.conv.parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    pruner = Pruner(model, IMAGE, 0.4, 4, optimizer)
    for epoch in range(4):
        pruner.step(epoch)
        model(IMAGE).square().mean().backward()
        pruner.after_backward()
        optimizer.step()
        pruner.after_step()
    assert pruner.masks[0].any()
    pruner.compact()


def test_padded_shortcut_removes_channels_on_either_side() -> None:
    shortcut = PadShortcut(4, 6)
    x = torch.randn(2, 4, 6, 6)
    full = shortcut(x)
    assert torch.equal(full[:, :4], x[:, :, ::2, ::2]) and not full[:, 4:].any()
    shortcut.remove_inputs([1])
    shortcut.remove_outputs([0, 5])
    out = shortcut(x[:, [0, 2, 3]])
    assert out.shape == (2, 4, 3, 3)
    assert not out[:, 0].any(), "its input channel is gone"
    assert torch.equal(out[:, 1:3], full[:, 2:4]) and not out[:, 3].any()
