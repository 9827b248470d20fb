"""The parameter-free shortcut of CIFAR ResNets (option A), in a form whose channels can be removed."""

import torch
from torch import Tensor, nn


class PadShortcut(nn.Module):
    """Subsample by `stride` and pad the channels with zeros (He et al., arXiv:1512.03385, section 3.3, option A).

    A padded shortcut written with `F.pad` ties a channel's position to its meaning, so nothing can be removed from
    it. Here output channel j shows input channel `source[j]` (or zero where `source[j] == in_channels`), times
    `gain[j]`: removing channels on either side only edits `source`, and a pruned output channel has gain 0.

    Input (N, in_channels, H, W), output (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    source: Tensor
    gain: Tensor

    def __init__(self, in_channels: int, out_channels: int, stride: int = 2) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride
        self.register_buffer("source", torch.arange(out_channels).clamp(max=in_channels))
        self.register_buffer("gain", torch.ones(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self.stride, :: self.stride]
        x = nn.functional.pad(x, (0, 0, 0, 0, 0, 1)).index_select(1, self.source)
        return x * self.gain[:, None, None].to(x.dtype)  # float32 gains would undo autocast

    def remove_outputs(self, removed: list[int]) -> None:
        """Remove the output channels `removed`."""
        keep = _kept(self.out_channels, removed)
        self.source, self.gain = self.source[keep], self.gain[keep]
        self.out_channels = len(keep)

    def remove_inputs(self, removed: list[int]) -> None:
        """Remove the input channels `removed`; outputs that showed one of them show zero from now on."""
        keep = _kept(self.in_channels, removed)
        position = torch.full((self.in_channels + 1,), len(keep))
        position[keep] = torch.arange(len(keep))
        self.source = position.to(self.source.device)[self.source]
        self.in_channels = len(keep)


def _kept(channels: int, removed: list[int]) -> list[int]:
    gone = set(removed)
    return [c for c in range(channels) if c not in gone]
