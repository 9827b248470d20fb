"""Protective reconstruction: what comes back, what is protected, and what must not move."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from layer_helpers import grad
from small_helpers import CONSTANT, Small, X, Y, iterate, start
from torch import Tensor
from torch.nn import functional as F

from psap.models import build
from psap.pruning.importance import select_protected
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.pruning.selection import pruning_order
from psap.utils.mappings import JsonObject


@pytest.mark.parametrize("signal", ["weight_gradient", "gate_gradient"])
def test_restored_bit_for_bit_and_not_without_protection(signal: str) -> None:
    protection = {"signal": signal, "quantile": 0.5, "share": 0.5, "immunity": 2}
    model = Small()
    pruner, optimizer = start(model, protection=protection)
    iterate(model, optimizer, pruner)  # some momentum, and batch-norm statistics
    before = copy.deepcopy(model.state_dict())
    pruner.step(0)
    chosen = pruner.masks
    iterate(model, optimizer, pruner)
    back = [was & ~now for was, now in zip(chosen, pruner.masks, strict=True)]
    assert pruner.restored == sum(int(mask.sum()) for mask in back) > 0
    names = (
        ("conv1.weight", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"),
        ("conv2.weight",),
    )
    for group_names, mask in zip(names, back, strict=True):
        for name in group_names:
            assert torch.equal(model.state_dict()[name][mask], before[name][mask]), name
    momentum = optimizer.state[model.conv1.weight]["momentum_buffer"]
    assert not momentum[back[0]].any(), "a restored channel starts without momentum"

    soft = Small()
    pruner, optimizer = start(soft, reconstruction="soft")
    iterate(soft, optimizer, pruner)
    before = copy.deepcopy(soft.state_dict())
    pruner.step(0)
    iterate(soft, optimizer, pruner)
    assert pruner.restored == 0
    for name, mask in zip(("conv1.weight", "conv2.weight"), pruner.masks, strict=True):
        now = soft.state_dict()[name][mask]
        assert not torch.isclose(now, before[name][mask], rtol=0.2).all(dim=1).any(), "nothing comes back by itself"


def test_soft_filters_regrow_and_hard_ones_do_not() -> None:
    for reconstruction, regrows in (("soft", True), ("hard", False)):
        model = Small()
        pruner, optimizer = start(model, reconstruction=reconstruction)
        pruner.step(0)
        for _ in range(3):
            iterate(model, optimizer, pruner)
        assert bool(model.conv1.weight[pruner.masks[0]].any()) is regrows


def tensors_of_first(model: Small) -> tuple[Tensor, ...]:
    """All of the first group that has a value for each of its channels."""
    assert model.norm1.running_mean is not None
    return model.conv1.weight, model.norm1.weight, model.norm1.bias, model.norm1.running_mean


@pytest.mark.parametrize("signal", ["weight_gradient", "gate_gradient"])
def test_held_channels_stay_at_zero_and_can_come_back_steps_later_as_they_were(signal: str) -> None:
    protection = {"signal": signal, "quantile": 0.7, "share": 0.2, "immunity": 0, "rest": "hold"}
    model = Small()
    pruner, optimizer = start(model, protection=protection, target=0.6)
    iterate(model, optimizer, pruner)
    banked: dict[int, Tensor] = {}
    late = 0
    for epoch in range(6):
        live, values = ~pruner.masks[0], model.conv1.weight.detach().clone()
        pruner.step(epoch)
        banked |= {c: values[c] for c in range(10) if live[c]}
        iterate(model, optimizer, pruner)  # the window
        for c in range(10):
            if not live[c] and not pruner.masks[0][c]:
                assert torch.equal(model.conv1.weight[c], banked[c]), "back as it was when it was first pruned"
                late += 1
        for _ in range(2):
            iterate(model, optimizer, pruner)
            for tensor in tensors_of_first(model):
                assert not tensor[pruner.masks[0]].any()
        assert optimizer.state[model.conv1.weight]["momentum_buffer"][~pruner.masks[0]].any()
    assert late > 0, "no channel came back at a later step than its own"


def test_protection_before_the_choice_can_hold_the_rest() -> None:
    protection = {"when": "before", "rest": "hold", "quantile": 0.5, "share": 0.3}
    model = Small()
    pruner, optimizer = start(model, protection=protection)
    for epoch in range(4):
        pruner.step(epoch)
        for _ in range(3):
            iterate(model, optimizer, pruner)
            assert pruner.masks[0].any(), "the window before the choice was one iteration"
            for tensor in tensors_of_first(model):
                assert not tensor[pruner.masks[0]].any()
        assert pruner.restored == 0


def test_immune_channels_are_chosen_last() -> None:
    model = Small()
    pruner, optimizer = start(model, target=0.4, protection={"quantile": 0.5, "share": 0.5, "immunity": 1})
    pruner.step(0)
    chosen = pruner.masks
    iterate(model, optimizer, pruner)
    back = [was & ~now for was, now in zip(chosen, pruner.masks, strict=True)]
    pruner.step(1)
    assert not any((mask & now).any() for mask, now in zip(back, pruner.masks, strict=True))


def test_protection_before_the_choice_keeps_the_strongest_gradients() -> None:
    model = Small()
    pruner, optimizer = start(model, protection={"when": "before", "quantile": 0.7, "share": 0.3}, window=2)
    pruner.step(0)
    assert not any(mask.any() for mask in pruner.masks), "gradients are gathered first"
    total = torch.zeros(10)
    for _ in range(2):
        F.cross_entropy(model(X), Y).backward()
        total += grad(model.conv1.weight).flatten(1).norm(dim=1)
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
    assert pruner.masks[0].any()
    assert not pruner.masks[0][total.argsort(descending=True)[:3]].any()
    assert pruner.restored == 0


@pytest.mark.parametrize("momentum", ["clear", "keep"])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_frozen_channels_stay_exactly_zero(
    make: type[torch.optim.SGD] | type[torch.optim.AdamW], momentum: str
) -> None:
    model = build("resnet8", 5)
    kwargs: JsonObject = {"momentum": 0.9} if make is torch.optim.SGD else {}
    optimizer = make(model.parameters(), lr=0.05, weight_decay=1e-2, **kwargs)
    method = Method.model_validate({"momentum": momentum, "schedule": {"kind": "cubic", "freeze": 0.5}})
    pruner = Pruner(model, X, 0.5, 4, optimizer, method)
    for epoch in range(4):
        pruner.step(epoch)
        for _ in range(3):
            iterate(model, optimizer, pruner)
    assert pruner.frozen and pruner.reduction() >= 0.5
    for group, mask in zip(pruner.groups, pruner.masks, strict=True):
        for slot in [*group.weights, *group.others]:
            if slot.attribute != "running_var":
                assert not slot.tensor[slot.member.positions(mask)].any(), slot.name
            for value in optimizer.state.get(slot.tensor, {}).values():
                if isinstance(value, Tensor) and value.shape == slot.tensor.shape:
                    assert not value[slot.member.positions(mask)].any(), "nor is anything remembered of them"
    small = pruner.compact()
    assert pruner.max_output_difference < 1e-5
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_slimming_adds_the_subgradient_of_its_penalty() -> None:
    model = Small()
    pruner, _ = start(
        model, criterion="bn_scale", reconstruction="hard", bn_penalty=0.01, schedule=CONSTANT | {"start": 0.5}
    )
    F.cross_entropy(model(X), Y).backward()
    before = grad(model.norm1.weight).clone()
    pruner.after_backward()
    assert torch.allclose(grad(model.norm1.weight), before + 0.01 * model.norm1.weight.sign())


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.data())
def test_order_and_protect(values: list[float], data: st.DataObject) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    masks = st.lists(st.booleans(), min_size=len(values), max_size=len(values)).map(torch.tensor)
    first, last, candidates = data.draw(masks), data.draw(masks), data.draw(masks)
    ranked = pruning_order(scores, first, last)
    assert sorted(ranked.tolist()) == list(range(len(values)))
    kinds = [0 if first[c] else 2 if last[c] else 1 for c in ranked.tolist()]
    assert kinds == sorted(kinds)
    for kind in (0, 1, 2):
        inside = [values[c] for c, k in zip(ranked.tolist(), kinds, strict=True) if k == kind]
        assert inside == sorted(inside)
    quantile, share = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    kept = select_protected(scores, candidates, quantile, share)
    assert not (kept & ~candidates).any() and (scores[kept] > 0).all()
    assert int(kept.sum()) <= share * len(values) + 1e-9
    assert int(kept.sum()) <= round((1 - quantile) * int(candidates.sum()))
    if kept.any() and (candidates & ~kept).any():
        assert scores[kept].min() >= scores[candidates & ~kept].max()
