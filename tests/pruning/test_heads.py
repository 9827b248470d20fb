"""Heads of attention: pruned in every way, compacted exactly, counted, saved, exported and read again."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from architectures_helpers import Encoder
from attention_helpers import IMAGE, Cross, Own, Remembering, timm_vit, torchvision_vit
from torch import Tensor, nn

import psap
from psap import Method, Pruner
from psap.export import export
from psap.layers import HeadAttention
from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.cost import CostModel, count_macs, count_params
from psap.pruning.gradients import Gates
from psap.pruning.graph.compact import compact, difference
from psap.pruning.graph.find import trace_groups
from psap.pruning.graph.heads import HeadGroup
from psap.pruning.graph.masked import compact_masked
from psap.pruning.graph.verify import find_prunable_groups, randomise_parameters
from psap.pruning.parts import bounds_of

TOKENS = torch.randn(2, 7, 8)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "timm": (timm_vit, IMAGE),
    "torchvision": (torchvision_vit, IMAGE),
    "torch": (Encoder, TOKENS),
    "apart": (Own, IMAGE[:, :, :16, :16].contiguous()),
    "cross": (Cross, (torch.randn(5, 2, 6), torch.randn(9, 2, 5))),
}
HEADS = {"timm": [4, 4], "torchvision": [4, 4], "torch": [4, 4], "apart": [5], "cross": [4]}


def built(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    model = make()
    randomise_parameters(model)
    return model, inputs


def heads(model: nn.Module, inputs: Any) -> list[HeadGroup]:
    return [g for g in find_prunable_groups(model, inputs) if isinstance(g, HeadGroup) and not g.reason]


def forward(model: nn.Module, inputs: Any) -> Tensor:
    result: Tensor = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_heads_are_removed_exactly_and_counted(name: str) -> None:
    model, inputs = built(name)
    groups = heads(model, inputs)
    assert [group.channels for group in groups] == HEADS[name]
    cost = CostModel(model, inputs, groups)
    assert (cost.macs, cost.params) == (count_macs(model, inputs), count_params(model)) and cost._rest_macs == 0
    masks = [torch.arange(group.channels) % 3 == 1 for group in groups]
    for group, mask in zip(groups, masks, strict=True):
        assert group.filters().shape[0] == group.channels
        zero(group.slots, mask)
    small = compact(model, inputs, groups, masks)
    assert difference(model, small, inputs) < 1e-12
    left = [int((~mask).sum()) for mask in masks]
    assert [small.get_submodule(group.root.name).num_heads for group in groups] == left
    planned = cost.order([(~mask).long().argsort(stable=True) for mask in masks])([int(mask.sum()) for mask in masks])
    assert planned == (count_macs(small, inputs), count_params(small))


AFTER = {"when": "after", "quantile": 0.5, "share": 0.5, "immunity": 1, "rest": "free"}
METHODS: dict[str, dict[str, Any]] = {
    "psap": {},
    "returning": {"protection": AFTER},
    "gates": {"protection": {**AFTER, "signal": "gate_gradient"}},
    "hard": {"reconstruction": "hard", "criterion": "taylor", "allocation": "global"},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_trained_saved_and_read_again_it_is_the_masked_network(name: str, method: str, tmp_path: Path) -> None:
    model, inputs = built(name)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    ratios = {group.name: (0.4, 0.8) for group in heads(model, inputs)}
    target = 0.6 if name == "cross" else 0.3
    pruner = Pruner(model, inputs, target, 3, optimizer, Method(window=1, ratios=ratios, **METHODS[method]))
    for epoch in range(3):
        pruner.step(epoch)
        for _ in range(2):
            forward(model, inputs).square().mean().backward()
            pruner.after_backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
    small = pruner.compact().eval()
    assert pruner.max_output_difference < 1e-9
    lost = [int(m.sum()) for g, m in zip(pruner.groups, pruner.masks, strict=True) if isinstance(g, HeadGroup)]
    assert all(lost)
    _, removed = compact_masked(model, inputs)
    assert removed == sum(int(mask.sum()) for mask in pruner.masks)
    psap.save(small, tmp_path / "small", into=NETWORKS[name][0]())
    loaded = psap.load(tmp_path / "small", into=NETWORKS[name][0]()).eval()
    with torch.no_grad():
        assert torch.equal(forward(loaded, inputs), forward(small, inputs))


@pytest.mark.parametrize("name", NETWORKS)
def test_what_was_backed_up_comes_back_bit_for_bit(name: str) -> None:
    model, inputs = built(name)
    before = copy.deepcopy(model.state_dict())
    for group in heads(model, inputs):
        mask, backup = torch.arange(group.channels) % 2 == 0, ChannelBackup()
        backup.save(group, mask)
        zero(group.slots, mask)
        assert not group.filters()[mask].any()
        backup.restore(group, mask)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_closed_gate_is_a_removed_head(name: str) -> None:
    model, inputs = built(name)
    model.double().train(False)
    inputs = tuple(x.double() for x in inputs) if isinstance(inputs, tuple) else inputs.double()
    groups = heads(model, inputs)
    masks = [torch.arange(group.channels) == 1 for group in groups]
    gates = Gates()
    gates.close(groups, masks)
    torch.backends.mha.set_fastpath_enabled(False)
    gated = forward(model, inputs)
    gated.sum().backward()
    signals = gates.read()
    assert all(bool((signal > 0).all()) for signal in signals)
    gates.remove()
    torch.backends.mha.set_fastpath_enabled(True)
    for group, mask in zip(groups, masks, strict=True):
        zero(group.slots, mask)
    assert torch.allclose(forward(model, inputs), gated, rtol=1e-9, atol=1e-12)


def test_a_pruned_attention_of_torch_goes_to_onnx(tmp_path: Path) -> None:
    model, inputs = built("torchvision")
    groups = heads(model, inputs)
    small = compact(model, inputs, groups, [torch.arange(group.channels) == 0 for group in groups]).eval()
    assert any(isinstance(module, HeadAttention) for module in small.modules())
    assert export(small, inputs, tmp_path / "small.onnx", "onnx").relative < 1e-4


def test_heads_that_a_forward_pass_knows_by_heart_are_refused_before_training() -> None:
    model = nn.Sequential(nn.Linear(8, 16), Remembering(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))
    reasons = {group.name: group.reason for group in find_prunable_groups(model, TOKENS)}
    assert "counts on their number" in reasons["1.qkv"]
    assert reasons["2"] == ""


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_an_attention_of_ours_computes_what_torchs_does(batch_first: bool, bias: bool) -> None:
    torch.manual_seed(0)
    own = nn.MultiheadAttention(12, 3, batch_first=batch_first, bias=bias).double().eval()
    randomise_parameters(own)
    ours = copy.deepcopy(own)
    HeadAttention.adopt(ours)
    q, k = torch.randn(2, 5, 12).double(), torch.randn(2, 7, 12).double()
    q, k = (q, k) if batch_first else (q.transpose(0, 1), k.transpose(0, 1))
    padding, mask = torch.arange(7).expand(2, 7) > 4, torch.randn(5, 7) > 1
    by_head = torch.randn(6, 5, 7).double()
    calls: list[dict[str, Any]] = [
        {},
        {"need_weights": False},
        {"average_attn_weights": False},
        {"key_padding_mask": padding, "attn_mask": mask},
        {"attn_mask": by_head, "need_weights": False, "key_padding_mask": padding.double()},
        {"attn_mask": mask, "need_weights": False},
    ]
    for call in calls:
        for found, expected in zip(ours(q, k, k, **call), own(q, k, k, **call), strict=True):
            assert (found is None) == (expected is None)
            assert found is None or torch.allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert torch.allclose(ours(q[0], q[1], q[1])[0], own(q[0], q[1], q[1])[0], rtol=1e-12, atol=1e-14)


def test_vit_b_16_is_planned_to_the_last_multiply_add() -> None:
    """Traced and compacted with numbers, counted on the meta device, by torch's counter with its fast path off."""
    model, image = torchvision.models.vit_b_16(), torch.zeros(1, 3, 224, 224)
    groups = [group for group in trace_groups(model, image) if isinstance(group, HeadGroup)]
    lost = [i % 5 for i in range(12)]
    masks = [torch.arange(group.channels) < count for group, count in zip(groups, lost, strict=True)]
    small = compact(model, image, groups, masks).to("meta")
    cost = CostModel(model.to("meta"), image.to("meta"), groups)
    assert cost.macs == 17_563_828_224
    planned = cost.order([torch.arange(12) for _ in groups])(lost)
    assert planned == (count_macs(small, image.to("meta")), count_params(small))
    projections, products = 197 * 768 * 4 * 64, 2 * 197 * 197 * 64  # of one head
    assert planned[0] == cost.macs - sum(lost) * (projections + products)


def test_round_to_is_of_the_width_of_heads() -> None:
    model, inputs = built("timm")  # heads of 12 channels: two of them are a multiple of 8
    groups = find_prunable_groups(model, inputs)
    bounds = bounds_of([group for group in groups if not group.reason], Method(round_to=8))
    assert bounds.steps == [2, 8, 2, 8] and bounds.most.tolist()[::2] == [2, 2]
