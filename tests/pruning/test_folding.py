"""Sparsity on weights as inference sees them: what is folded, and that a reparametrisation changes nothing."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_helpers import layer
from small_helpers import Small, X, start
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from psap.models import build
from psap.pruning.cost import CostModel
from psap.pruning.folding import folded_weights, norms_behind
from psap.pruning.graph.find import trace_groups
from psap.pruning.method import Method
from psap.pruning.parts import make_selector
from psap.pruning.selection import Constraints


def randomised(model: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            assert module.running_var is not None
            nn.init.uniform_(module.running_var, 0.1, 3)
    return model


@pytest.mark.parametrize("network", [Small, lambda: build("resnet8", 5), lambda: build("vgg16_bn", 5)])
def test_folded_weights_are_those_of_the_fused_network(network: Callable[[], nn.Module]) -> None:
    """PyTorch's own fusion of a convolution and its batch-norm has the same weights; the biases in front are gone."""
    model = randomised(network()).eval()
    groups = trace_groups(model, X)
    behind = norms_behind(model, X, groups)
    modules = dict(model.named_modules())
    assert set(behind) == {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    for group in groups:
        fused = [
            fuse_conv_bn_eval(modules[m.name], modules[behind[m.name]]).weight.abs().flatten(1)
            for m in group.producers
            if m.name in behind
        ]
        if fused:
            torch.testing.assert_close(folded_weights(behind, group), torch.cat(fused, dim=1))


def test_a_layer_without_batch_norm_stays_as_it_is() -> None:
    class Mixed(nn.Module):
        """Of two convolutions one has no batch-norm, one a ReLU before it: neither can be folded."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3)
            self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.b(self.a(x).relu())
            out: Tensor = self.head(self.c(self.norm(x.relu()).relu()).mean((2, 3)))
            return out

    model = randomised(Mixed())
    groups = trace_groups(model, X)
    assert norms_behind(model, X, groups) == {}
    for group in groups:
        assert torch.equal(folded_weights({}, group), group.filters().abs())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2), st.floats(0.01, 100))
def test_scaling_a_layer_in_front_of_batch_norm_changes_no_folded_sparsity(place: int, factor: float) -> None:
    """The function of the network stays the same, and so do the folded ratios, which the raw ones do not."""

    def ratios(model: nn.Module, weights: str) -> list[float]:
        groups = trace_groups(model, X)
        method = Method.model_validate({"sparsity": {"scale": "model", "weights": weights}})
        selector = make_selector(model, X, groups, CostModel(model, X, groups), method, "macs", 0)
        none = Constraints.none([group.channels for group in groups])
        return selector.select(selector.scores(), 0.3, none.first, none).sparsity

    model = randomised(build("resnet8", 5))
    scaled = copy.deepcopy(model)
    names = [("conv1", "bn1"), ("layer2.0.conv1", "layer2.0.bn1"), ("layer3.0.conv2", "layer3.0.bn2")][place]
    conv, norm = layer(scaled, names[0], nn.Conv2d), layer(scaled, names[1], nn.BatchNorm2d)
    assert norm.running_var is not None
    with torch.no_grad():
        conv.weight *= factor
        norm.running_var.copy_((norm.running_var + norm.eps) * factor**2 - norm.eps)
    assert ratios(scaled, "folded") == pytest.approx(ratios(model, "folded"), abs=2e-3)
    if factor > 3 or factor < 0.3:
        assert ratios(scaled, "raw") != pytest.approx(ratios(model, "raw"), abs=2e-3)


def test_a_pruner_reads_folded_weights() -> None:
    model = Small()
    pruner, _ = start(model, allocation="sparsity", sparsity={"scale": "model", "weights": "folded", "alpha": 2.0})
    with torch.no_grad():
        model.norm1.weight.mul_(100)  # what this group makes is large whatever its weights
    pruner.step(0)
    first, second = (row["sparsity"] for row in pruner.history.rows)
    assert first < second and pruner.masks[0].float().mean() < pruner.masks[1].float().mean()
