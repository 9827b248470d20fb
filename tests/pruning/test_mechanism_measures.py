"""Checks of the mechanism: spread and sensitivity of ratios, and what history says of protected channels."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layer_helpers import grad
from small_helpers import ACROSS, Small, X, Y, iterate, start
from torch import nn
from torch.nn import functional as F

from psap.models import build
from psap.pruning.adaptivity import rank_correlation, spread
from psap.pruning.graph.find import trace_groups
from psap.pruning.importance import AcrossNetwork, select_protected
from psap.pruning.mechanism import sensitivity
from psap.pruning.method import Method


def test_spread_and_rank_correlation() -> None:
    assert spread([0.3, 0.3, 0.3]) == 0 == spread([0.0, 0.0])
    assert spread([0.2, 0.4]) == pytest.approx(1 / 3)
    assert rank_correlation([0.1, 0.2, 0.9], [3.0, 2.0, -1.0]) == -1
    assert rank_correlation([0.5, 0.5], [1.0, 2.0]) is None


def test_sensitivity_is_the_loss_without_the_weakest_and_leaves_the_model_alone() -> None:
    model = Small().eval()
    groups = trace_groups(model, X)[:2]
    before = copy.deepcopy(model.state_dict())

    def loss(network: nn.Module) -> float:
        with torch.no_grad():
            return F.cross_entropy(network(X), Y).item()

    found = sensitivity(model, groups, loss)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    weakest = model.conv1.weight.flatten(1).norm(dim=1).argsort()[:5]
    hook = model.norm1.register_forward_hook(lambda _, __, out: out.index_fill(1, weakest, 0))
    changed = loss(model)
    hook.remove()
    assert found[0] == pytest.approx(changed - loss(model), abs=1e-6) and len(found) == 2


@given(st.data())
def test_protection_across_the_network(data: st.DataObject) -> None:
    """The strongest candidates of all groups, but for what their group's cap leaves out, and as many as asked for."""
    sizes = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=4))
    values = st.floats(0, 1, width=32)
    signals = [torch.tensor(data.draw(st.lists(values, min_size=n, max_size=n))) for n in sizes]
    masks = [torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))) for n in sizes]
    quantile, share = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    kept = AcrossNetwork(quantile, share).select(signals, masks)
    count = int((1 - quantile) * sum(sizes) + 1e-9)
    allowed = [select_protected(signal, mask, 0.0, share) for signal, mask in zip(signals, masks, strict=True)]
    assert sum(int(mask.sum()) for mask in kept) == min(count, sum(int(mask.sum()) for mask in allowed))
    assert not any((mask & ~ok).any() for mask, ok in zip(kept, allowed, strict=True))
    flat, ok, chosen = (torch.cat(list(part)) for part in (signals, allowed, kept))
    if chosen.any() and (ok & ~chosen).any():
        assert flat[chosen].min() >= flat[ok & ~chosen].max()


def test_a_group_that_the_loss_hangs_on_is_spared_and_the_others_meet_the_target() -> None:
    """Ranked in each group, protection cannot tell groups apart; across the network it can, and the target is met."""
    counts = {}
    for scope in ("group", "network"):
        protection = {"when": "before", "signal": "gate_gradient", "scope": scope, "quantile": 0.6, "share": 0.9}
        model = Small()
        with torch.no_grad():
            model.norm1.weight[:] = 1e-4  # the loss hardly hears of the first group
            model.norm2.bias[:] = 0.5
        pruner, optimizer = start(model, target=0.5, protection=protection | {"rest": "fix"}, window=3)
        pruner.step(0)
        for _ in range(3):
            assert not any(mask.any() for mask in pruner.masks), "gradients are gathered first"
            iterate(model, optimizer, pruner)
        counts[scope] = [int(mask.sum()) for mask in pruner.masks]
        assert 0.5 <= pruner.reduction() < 0.62
        assert not model.conv2._forward_pre_hooks and not model.head._forward_pre_hooks, "no gate is left behind"
    assert counts["network"][0] > counts["group"][0] and counts["network"][1] < counts["group"][1]


def test_a_target_beyond_what_protection_leaves_takes_protected_channels_too() -> None:
    protection = {"when": "before", "scope": "network", "quantile": 0.0, "share": 1.0, "rest": "fix"}
    model = Small()
    pruner, optimizer = start(model, target=0.6, protection=protection)
    pruner.step(0)
    iterate(model, optimizer, pruner)
    assert pruner.reduction() >= 0.6


def test_gates_of_live_channels_read_what_parameters_know() -> None:
    """At an open gate behind batch-norm, d loss / d gate = scale d loss / d scale + shift d loss / d shift."""
    model = Small()
    pruner, _ = start(model, protection={"when": "before", "signal": "gate_gradient"}, window=5)
    pruner.step(0)
    F.cross_entropy(model(X), Y).backward()
    norm = model.norm1
    expected = (norm.weight * grad(norm.weight) + norm.bias * grad(norm.bias)).abs()
    torch.testing.assert_close(pruner._cycle._reconstruction.signals_before(1.0)[0], expected, rtol=1e-3, atol=1e-6)


def test_only_newly_pruned_channels_come_back_where_the_rest_is_fixed() -> None:
    protection = {"when": "after", "scope": "network", "quantile": 0.8, "share": 1.0, "rest": "fix", "immunity": 1}
    model = Small()
    pruner, optimizer = start(model, target=0.6, protection=protection, schedule={"kind": "cubic", "freeze": 0.8})
    gone: list[set[int]] = [set(), set()]
    restored = protected = 0
    for epoch in range(8):
        for _ in range(3):
            iterate(model, optimizer, pruner)
            for lost, mask in zip(gone, pruner.masks, strict=True):
                assert lost <= set(mask.nonzero().flatten().tolist()), "what is fixed stays"
            for tensor in (model.conv1.weight, model.norm1.weight, model.norm1.bias):
                assert not tensor[sorted(gone[0])].any()
        gone = [set(mask.nonzero().flatten().tolist()) for mask in pruner.masks]
        pruner.step(epoch)
        iterate(model, optimizer, pruner)
        restored += pruner.restored
        gone = [set(mask.nonzero().flatten().tolist()) for mask in pruner.masks]
    rows = pruner.history.rows
    protected = sum(row["protected"] for row in rows)
    assert restored == sum(row["restored"] for row in rows) > 0 and protected > 0
    for row in rows:
        assert row["kept"] >= max(row["restored"], row["protected"]) and 0 <= row["differs"] <= 1


@pytest.mark.parametrize("rest", ["fix", "hold", "free"])
def test_the_pulse_brings_back_what_protection_before_the_choice_let_go(rest: str) -> None:
    """Live channels are judged by their gates over the window, then pruned ones by one iteration's pulse."""
    protection = {"when": "before", "signal": "gate_gradient", "scope": "network", "quantile": 0.7, "share": 0.7}
    model = Small()
    pruner, optimizer = start(model, protection=protection | {"pulse": 0.2, "rest": rest}, window=2)
    for epoch in range(3):
        pruner.step(epoch)
        for _ in range(2):
            iterate(model, optimizer, pruner)
        chosen = pruner.masks
        assert pruner.restored == 0
        iterate(model, optimizer, pruner)
        back = [was & ~now for was, now in zip(chosen, pruner.masks, strict=True)]
        assert pruner.restored == sum(int(mask.sum()) for mask in back) > 0 or epoch
        assert model.conv1.weight[back[0]].flatten(1).any(1).all()
        iterate(model, optimizer, pruner)
        assert bool(model.conv1.weight[pruner.masks[0]].any()) is (rest == "free")


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_share_for_the_pulse_decides_nothing_where_the_quantile_does(one: float, other: float) -> None:
    first, second = (Method.model_validate({"protection": {"when": "after", "pulse": pulse}}) for pulse in (one, other))
    assert first.identity() == second.identity()


@pytest.mark.parametrize("reconstruction", ["hard", "soft"])
def test_history_shows_no_mechanism_where_there_is_none(reconstruction: str) -> None:
    model = Small()
    pruner, optimizer = start(model, reconstruction=reconstruction)
    for epoch in range(4):
        pruner.step(epoch)
        iterate(model, optimizer, pruner)
    assert all(row["protected"] == row["restored"] == row["kept"] == 0 for row in pruner.history.rows)
    assert all(row["differs"] == 0 for row in pruner.history.rows if row["step"] == 0)


def test_both_mechanisms_act_together() -> None:
    """Ratios differ, protection saves channels and the pulse brings some back; what is fixed is in every later mask."""
    model = build("resnet8", 5)
    pruner, optimizer = start(model, **ACROSS)
    before = [torch.zeros(group.channels, dtype=torch.bool) for group in pruner.groups]
    for epoch in range(10):
        pruner.step(epoch)
        for _ in range(22):  # the window before the step, the pulse, and one more
            iterate(model, optimizer, pruner)
        assert all(bool((now | ~old).all()) for now, old in zip(pruner.masks, before, strict=True))
        before = pruner.masks
    rows = pruner.history.rows
    steps = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["step"])]
    assert pruner.frozen and pruner.reduction() >= 0.5 and spread([row["ratio"] for row in steps[-1]]) > 0.05
    assert sum(row["protected"] for row in rows) > 0 and sum(row["restored"] for row in rows) > 0
    assert sum(row["kept"] for row in steps[-1]) > 0
    assert pruner.compact() is not model and pruner.max_output_difference < 1e-5
