"""Narrow networks by hand: which channels shrink together is written down here, network by network."""

import torch
from torch import nn

from psap.layers import PadShortcut
from psap.models.architecture import Widths, Wiring
from psap.models.widths import set_widths, widths


def narrowed(name: str, model: nn.Module) -> nn.Module:
    """Narrow `model` in place, fill it with random weights and statistics, and return it in evaluation mode."""
    target = widths(model)
    NARROW[name](model, target)
    set_widths(model, target)
    fill(model)
    return model.eval()


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Random values in every floating tensor (positive ones, so that variances are valid), but no wiring."""
    for module in model.modules():
        if not isinstance(module, PadShortcut):
            for tensor in [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
                tensor.uniform_(0.1, 0.3) if tensor.is_floating_point() else tensor.fill_(3)


def norm(target: Widths, name: str, channels: int) -> None:
    for key in ("weight", "bias", "running_mean", "running_var"):
        target.shapes[f"{name}.{key}"] = [channels]


def outputs(target: Widths, conv: str, channels: int) -> None:
    target.shapes[f"{conv}.weight"][0] = channels
    if f"{conv}.bias" in target.shapes:
        target.shapes[f"{conv}.bias"] = [channels]


def inputs(target: Widths, conv: str, channels: int) -> None:
    target.shapes[f"{conv}.weight"][1] = channels


def inside_blocks(model: nn.Module, target: Widths) -> None:
    """Between the two convolutions of each basic block: widths 5, 6, 7, ..."""
    blocks = [name.removesuffix(".conv1") for name, _ in model.named_modules() if name.endswith(".conv1")]
    for channels, block in enumerate(blocks, 5):
        outputs(target, f"{block}.conv1", channels)
        norm(target, f"{block}.bn1", channels)
        inputs(target, f"{block}.conv2", channels)


def option_a(model: nn.Module, target: Widths) -> None:
    """Inside the blocks, and the first two residual streams: 16 -> 13 channels and 32 -> 29."""
    inside_blocks(model, target)
    for conv, bn in [("conv1", "bn1"), *((f"layer1.{i}.conv2", f"layer1.{i}.bn2") for i in range(3))]:
        outputs(target, conv, 13)
        norm(target, bn, 13)
    for conv in [*(f"layer1.{i}.conv1" for i in range(3)), "layer2.0.conv1"]:
        inputs(target, conv, 13)
    for i in range(3):
        outputs(target, f"layer2.{i}.conv2", 29)
        norm(target, f"layer2.{i}.bn2", 29)
    for conv in ["layer2.1.conv1", "layer2.2.conv1", "layer3.0.conv1"]:
        inputs(target, conv, 29)
    # Inputs 3, 7 and 8 are gone; the outputs that showed 7 and two others too; one output is silent but still there.
    first = [0, 1, 2, 13, 3, 4, 13, 5, 6, 7, 8, 9, 10, 11, *[13] * 15]
    rewire(target, "layer2.0.shortcut", 13, first, [1.0, 0.0, *[1.0] * 27])
    rewire(target, "layer3.0.shortcut", 29, [*range(29), *[29] * 35], [1.0] * 64)


def rewire(target: Widths, name: str, in_channels: int, source: list[int], gain: list[float]) -> None:
    target.shortcuts[name] = Wiring(in_channels=in_channels, source=source, gain=gain)
    target.shapes[f"{name}.source"] = target.shapes[f"{name}.gain"] = [len(source)]


def vgg(model: nn.Module, target: Widths) -> None:
    convs = [int(name.split(".")[1]) for name, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    for i, following in zip(convs, [*convs[1:], None], strict=True):
        channels = 4 + i
        outputs(target, f"features.{i}", channels)
        norm(target, f"features.{i + 1}", channels)
        inputs(target, "linear" if following is None else f"features.{following}", channels)


def inverted_residuals(model: nn.Module, target: Widths) -> None:
    """The expanded channels of each block: 1 x 1, depthwise, squeeze-and-excitation, 1 x 1."""
    blocks = [name.removesuffix(".conv_pwl") for name, _ in model.named_modules() if name.endswith(".conv_pwl")]
    for channels, block in enumerate(blocks, 9):
        outputs(target, f"{block}.conv_pw", channels)
        norm(target, f"{block}.bn1", channels)
        outputs(target, f"{block}.conv_dw", channels)
        target.groups[f"{block}.conv_dw"] = channels
        norm(target, f"{block}.bn2", channels)
        inputs(target, f"{block}.conv_pwl", channels)
        if f"{block}.se.conv_reduce.weight" in target.shapes:
            inputs(target, f"{block}.se.conv_reduce", channels)
            outputs(target, f"{block}.se.conv_expand", channels)


NARROW = {
    "resnet20": option_a,
    "resnet20_b": inside_blocks,
    "vgg16_bn": vgg,
    "timm:mobilenetv2_100": inverted_residuals,
    "timm:efficientnet_b0": inverted_residuals,
    "timm:resnet18": inside_blocks,
}
