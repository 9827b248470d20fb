"""The standard networks against the literature, and against closed formulas written independently of their code."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from psap.errors import PsapError
from psap.models import build

# Parameters, option A: one decimal more than He et al., arXiv:1512.03385, table 6 (0.27M, 0.46M, 0.85M, 1.7M), and
# than the README of akamaster/pytorch_resnet_cifar10, which checks itself against that table.
# Parameters, option B: README of osmr/imgclsmob, CIFAR-10 table (272,474, 855,770, 1,730,714); ResNet-32
# follows from the formula below.
# VGG-16: 14,728,266 parameters with convolution biases and one 512 -> 10 layer, as in kuangliu/pytorch-cifar.
PARAMETERS = {
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    "resnet20_b": 272_474,
    "resnet32_b": 466_906,
    "resnet56_b": 855_770,
    "resnet110_b": 1_730_714,
    "vgg16_bn": 14_728_266,
}
# Multiply-adds in millions. ResNet-56, -110: HRank, arXiv:2002.10179 (125.49M, 252.89M). ResNet-20, -32: the counter of
# soft filter pruning (he-y/soft-filter-pruning, utils/cifar_resnet_flop.py) at rate 1 gives 40,550,400 and 68,861,952,
# without the 640 of the linear layer. VGG-16: Li et al., arXiv:1608.08710 (3.13e8; HRank's 313.73M has another
# classifier).
MACS = {"resnet20": 40.55, "resnet32": 68.86, "resnet56": 125.49, "resnet110": 252.89, "vgg16_bn": 313.0}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, channels: int = 3, side: int = 32) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(torch.zeros(1, channels, side, side))
    return counter.get_total_flops() // 2


def resnet_formula(depth: int, option_b: bool) -> tuple[int, int]:
    """Parameters and multiply-adds on 3 x 32 x 32 for 10 classes, counted layer by layer on paper."""
    n = (depth - 2) // 6
    layers = [(3, 16, 3, 32)]
    layers += [(16, 16, 3, 32)] * (2 * n)
    layers += [(16, 32, 3, 16)] + [(32, 32, 3, 16)] * (2 * n - 1)
    layers += [(32, 64, 3, 8)] + [(64, 64, 3, 8)] * (2 * n - 1)
    if option_b:
        layers += [(16, 32, 1, 16), (32, 64, 1, 8)]
    weights = sum(i * o * k * k + 2 * o for i, o, k, _ in layers) + 64 * 10 + 10
    return weights, sum(i * o * k * k * side * side for i, o, k, side in layers) + 640


VGG = {  # widths, and the sides of what each layer puts out
    "vgg16_bn": (
        [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512],
        [32, 32, 16, 16, 8, 8, 8, 4, 4, 4, 2, 2, 2],
    ),
    "vgg11_bn_quarter": ([16, 32, 64, 64, 128, 128, 128, 128], [32, 16, 8, 8, 4, 4, 2, 2]),
}


def vgg_formula(name: str) -> tuple[int, int]:
    widths, sides = VGG[name]
    inputs = [3, *widths[:-1]]
    weights = sum(9 * i * o + 3 * o for i, o in zip(inputs, widths, strict=True)) + 10 * widths[-1] + 10
    return weights, sum(9 * i * o * s * s for i, o, s in zip(inputs, widths, sides, strict=True)) + 10 * widths[-1]


@pytest.mark.parametrize("name", [*PARAMETERS, "vgg11_bn_quarter"])
def test_counts_are_those_of_the_literature_and_of_the_formula(name: str) -> None:
    model = build(name, 10)
    found = parameters(model), macs(model)
    digits = "".join(c for c in name.split("_")[0] if c.isdigit())
    formula = vgg_formula(name) if name in VGG else resnet_formula(int(digits), name.endswith("_b"))
    assert found == formula
    assert found[0] == PARAMETERS.get(name, formula[0])
    if name in MACS:
        assert found[1] / 1e6 == pytest.approx(MACS[name], abs=0.5 if name == "vgg16_bn" else 0.005)


@pytest.mark.parametrize("name", ["resnet8", "resnet20_b", "vgg16_bn"])
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 33)])
def test_other_channels_classes_and_image_sizes(name: str, channels: int, side: int) -> None:
    model = build(name, 7, channels).eval()
    assert model(torch.randn(2, channels, side, side)).shape == (2, 7)


def test_batch_norm_starts_neutral_and_convolutions_kaiming_normal() -> None:
    torch.manual_seed(0)
    model = build("resnet20", 10)
    conv = model.get_submodule("layer3.2.conv2")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18", "torchvision:googlenet"])
def test_networks_of_libraries_get_the_classes(name: str) -> None:
    out = build(name, 5).train()(torch.randn(2, 3, 64, 64))
    assert isinstance(out, torch.Tensor) and out.shape == (2, 5)


def test_timm_takes_other_channels_and_torchvision_says_that_it_does_not() -> None:
    assert build("timm:mobilenetv2_050", 4, 1).eval()(torch.randn(1, 1, 32, 32)).shape == (1, 4)
    with pytest.raises(PsapError, match="torchvision:resnet18 takes 3 input channels, not 1"):
        build("torchvision:resnet18", 10, 1)


@pytest.mark.parametrize("name", ["resnet8", "resnet8_b", "vgg16_bn"])
def test_under_autocast_every_module_gives_bfloat16(name: str) -> None:
    model = build(name, 10)
    given = {}
    for module_name, module in model.named_modules():
        module.register_forward_hook(lambda _, __, out, name=module_name: given.update({name: out.dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3, 32, 32))
    assert len(given) > 20 and {name for name, dtype in given.items() if dtype != torch.bfloat16} == set()
