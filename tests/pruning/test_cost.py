"""Multiply-adds against closed formulas: attention and recurrent layers count, whatever kernel does them."""

import copy
from typing import cast

import pytest
import timm
import torch
import torchvision
from architectures_helpers import Encoder, Tied
from layer_helpers import layer
from torch import Tensor, nn
from torch.nn import functional as F

from psap.pruning.cost import CostModel, count_macs, count_params
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

TOKENS = torch.arange(10).reshape(2, 5)
AT_ONCE = Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


def block(tokens: int, width: int, hidden: int, heads: int | None = None) -> int:
    """Of a transformer's block: projections to queries, keys, values and back, both products of attention, the MLP.

    heads: width of all heads together, as wide as the block unless it has lost some.
    """
    heads = heads or width
    return tokens * width * 4 * heads + 2 * tokens * tokens * heads + 2 * tokens * width * hidden


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_torchvision_vit(device: str) -> None:
    with torch.device(device):
        model, image = torchvision.models.vit_b_16(), torch.empty(1, 3, 224, 224)
    expected = 196 * 16 * 16 * 3 * 768 + 12 * block(197, 768, 3072) + 768 * 1000
    assert count_macs(model, image) == expected == 17_563_828_224
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.mkldnn.enabled and model.training


def test_timm_vit_with_scaled_dot_product_attention() -> None:
    model = timm.create_model("test_vit", num_classes=10, img_size=64)
    width, count = layer(model, "head", nn.Linear).in_features, len(layer(model, "blocks", nn.Sequential))
    hidden, tokens = layer(model, "blocks.0.mlp.fc1", nn.Linear).out_features, 1 + 16
    expected = 16 * 16 * 16 * 3 * width + count * block(tokens, width, hidden) + width * 10
    assert count_macs(model, torch.randn(1, 3, 64, 64)) == expected


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_encoder_of_torch_counts_its_parts_and_compacts_as_planned(training: bool, dtype: torch.dtype) -> None:
    model = Encoder().to(dtype).train(training)
    x = torch.randn(2, 7, 8, dtype=dtype)
    expected = 2 * (7 * 8 * 32 + 2 * block(7, 32, 64) + 32 * 5)
    assert count_macs(model, x) == CostModel(model, x, []).macs == expected
    pruner = Pruner(model, x, 0.3, 1, method=AT_ONCE)
    layers = [f"enc.layers.{i}.{layer}" for i in range(2) for layer in ("self_attn", "linear1")]
    assert [group.name for group in pruner.groups] == layers
    pruner.step(0)
    small = pruner.compact()
    blocks = [
        (layer(small, f"enc.layers.{i}.linear1", nn.Linear).out_features, 8 * cast(int, heads.num_heads))
        for i in range(2)
        for heads in [small.get_submodule(f"enc.layers.{i}.self_attn")]
    ]
    assert count_macs(small, x) == 2 * (7 * 8 * 32 + sum(block(7, 32, *each) for each in blocks) + 32 * 5)
    assert count_macs(small, x) <= 0.7 * expected


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(kind: type[nn.LSTM | nn.GRU | nn.RNN], gates: int) -> None:
    recurrent = kind(8, 16, num_layers=2, bidirectional=True, batch_first=True)
    steps = 2 * 5
    expected = steps * 2 * gates * (16 * (8 + 16) + 16 * (32 + 16))
    assert count_macs(recurrent, torch.randn(2, 5, 8)) == expected


def test_one_attention_by_itself() -> None:
    class Attention(nn.Module):
        def forward(self, q: Tensor, k: Tensor) -> Tensor:
            return F.scaled_dot_product_attention(q, k, k)

    query, key = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 9, 8)
    assert count_macs(Attention(), (query, key)) == 2 * (2 * 4 * 7 * 9 * 8)


@pytest.mark.parametrize("residual", [False, True])
def test_tied_embeddings_stay_whole_and_tied_and_the_rest_is_pruned(residual: bool) -> None:
    model = Tied(residual)
    assert count_macs(model, TOKENS) == 10 * (16 * 32 + 32 * 16 + 16 * 11)
    reasons = {group.name: group.reason for group in find_prunable_groups(model, TOKENS)}
    assert reasons["up"] == "" and "shares a tensor with" in reasons["down"]
    pruner = Pruner(copy.deepcopy(model), TOKENS, 0.3, 1, method=AT_ONCE)
    pruner.step(0)
    small = pruner.compact()
    width = layer(small, "up", nn.Linear).out_features
    assert width < 32 and layer(small, "head", nn.Linear).weight is layer(small, "emb", nn.Embedding).weight
    assert count_macs(small, TOKENS) == 10 * (2 * 16 * width + 16 * 11)
    assert count_params(small) == 11 * 16 + 16 * width + width + width * 16 + 16
