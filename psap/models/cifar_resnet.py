"""ResNets for 32 x 32 images (He et al., arXiv:1512.03385, section 4.2)."""

from typing import Literal

from torch import Tensor, nn

from psap.layers import PadShortcut
from psap.models.init import initialise

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)), 3 x 3 convolutions, the first with `stride`."""

    def __init__(self, in_channels: int, channels: int, stride: int, option: Literal["A", "B"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = _shortcut(in_channels, channels, stride, option)
        self.relu2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.shortcut(x)
        out: Tensor = self.relu2(y)
        return out


def _shortcut(in_channels: int, channels: int, stride: int, option: Literal["A", "B"]) -> nn.Module:
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    if option == "A":
        return PadShortcut(in_channels, channels, stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, stride, bias=False),
        nn.BatchNorm2d(channels),
    )


class CifarResNet(nn.Module):
    """Three stages of (depth - 2) / 6 blocks, of 16, 32 and 64 channels; pooling over the map; one linear layer.

    Shortcuts that change the number of channels: option A, zero padding without parameters (the paper's choice on
    CIFAR-10); option B, a 1 x 1 convolution with batch-norm. Input (N, in_channels, H, W), output (N, classes).
    """

    def __init__(self, depth: int, option: Literal["A", "B"], classes: int, in_channels: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(WIDTHS[0], WIDTHS[0], 1, blocks, option)
        self.layer2 = _stage(WIDTHS[0], WIDTHS[1], 2, blocks, option)
        self.layer3 = _stage(WIDTHS[1], WIDTHS[2], 2, blocks, option)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(WIDTHS[2], classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        out: Tensor = self.linear(self.pool(x).flatten(1))
        return out


def _stage(in_channels: int, channels: int, stride: int, blocks: int, option: Literal["A", "B"]) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride, option)
    rest = (BasicBlock(channels, channels, 1, option) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)
