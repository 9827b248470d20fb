"""The closed formula by which SFP and FPGM state the reduction of a CIFAR ResNet, beside the filters really removed.

Both papers prune every convolution of a ResNet-(6n + 2) (He et al., arXiv:1512.03385, section 4.2) at one rate. The
stream of features that the shortcuts add to keeps its width, so a block's first convolution saves on its outputs only
and its second one on inputs and outputs; behind the stem, which is pruned and has no shortcut around it, the first
convolution saves on its inputs too. The classifier stays.

The papers multiply by the real number 1 - rate, though 0.7 x 16 filters do not exist. This reproduces what they print:
42.2 % for ResNet-20 at rate 0.3, 41.5 % for 32 at 0.3, 52.6 % for 56 at 0.4 and 40.8 % for 110 at 0.3 (FPGM,
arXiv:1811.00250, table 1).
"""

import re
from collections.abc import Callable

_STAGES = ((16, 32), (32, 16), (64, 8))  # channels, and height and width of what the convolutions put out


def formula_reduction(depth: int, rate: float) -> float:
    """Share of multiply-adds that the formula says pruning at `rate` removes from the ResNet of that depth."""
    return _reduction(depth, lambda channels: channels * (1 - rate))


def counted_reduction(depth: int, rate: float) -> float:
    """The same where `rate` of the filters, rounded down to whole ones, is removed from each convolution."""
    return _reduction(depth, lambda channels: channels - int(channels * rate + 1e-9))


def cifar_depth(model: str) -> int | None:
    """The depth of a CIFAR ResNet by its name, e.g. 20 for resnet20; None for any other network."""
    found = re.fullmatch(r"resnet(\d+)", model)
    return int(found[1]) if found and (int(found[1]) - 2) % 6 == 0 else None


def _reduction(depth: int, kept: Callable[[int], float]) -> float:
    return 1 - _macs(depth, kept) / _macs(depth, float)


def _macs(depth: int, kept: Callable[[int], float]) -> float:
    """Multiply-adds of the network of which `kept(C)` of a convolution's C filters remain."""
    blocks = (depth - 2) // 6
    total = 9 * 32 * 32 * 3 * kept(16) + 64 * 10
    inputs = kept(16)
    for channels, side in _STAGES:
        for _ in range(blocks):
            outputs = kept(channels)
            total += 9 * side * side * (inputs * outputs + outputs * outputs)
            inputs = channels
    return total
