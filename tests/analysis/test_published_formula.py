"""The closed formula of SFP and FPGM gives what they print, and the whole filters what a count gives."""

import pytest
import torch
from torch import nn

from psap.analysis.published_formula import cifar_depth, counted_reduction, formula_reduction
from psap.models import build


@pytest.mark.parametrize(
    ("depth", "rate", "formula", "counted"),
    [(20, 0.3, 42.22, 39.03), (32, 0.3, 41.51, 38.44), (56, 0.4, 52.63, 50.41), (110, 0.3, 40.78, 37.81)],
)
def test_the_published_reductions_beside_the_counted_ones(
    depth: int, rate: float, formula: float, counted: float
) -> None:
    assert round(100 * formula_reduction(depth, rate), 2) == formula
    assert round(100 * counted_reduction(depth, rate), 2) == counted


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_the_formula_walks_the_network_that_we_build(depth: int) -> None:
    """Count the convolutions that the network really runs, with a quarter of the filters of each one gone."""
    model, kept, total = build(f"resnet{depth}", 10), 0.0, 0.0

    def count(module: nn.Conv2d | nn.Linear, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal kept, total
        macs = output[0].numel() * module.weight[0].numel()
        convolution = isinstance(module, nn.Conv2d)
        name = names[module]
        saves_inputs = name.endswith("conv2") or name == first_behind_stem
        total += macs
        kept += macs * (0.75 if convolution else 1) * (0.75 if convolution and saves_inputs else 1)

    names = {module: name for name, module in model.named_modules()}
    layers = [module for module in names if isinstance(module, nn.Conv2d | nn.Linear)]
    first_behind_stem = names[layers[1]]
    for layer in layers:
        layer.register_forward_hook(count)
    model.eval()(torch.zeros(1, 3, 32, 32))
    assert formula_reduction(depth, 0.25) == pytest.approx(1 - kept / total, rel=1e-12)
    assert counted_reduction(depth, 0.25) == pytest.approx(formula_reduction(depth, 0.25), rel=1e-12)


def test_it_knows_its_networks() -> None:
    assert [cifar_depth(name) for name in ("resnet20", "resnet110", "resnet18", "resnet20_b", "vgg16_bn")] == [
        20, 110, None, None, None,
    ]  # fmt: skip
