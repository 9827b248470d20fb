"""Layers in a form whose channels can be removed: the shortcut of CIFAR ResNets (option A), torch's attention."""

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


class HeadAttention(nn.MultiheadAttention):
    """nn.MultiheadAttention that has lost heads or channels, which torch's own computes the width of a head from.

    Its parameters have the same names and fewer rows or columns; `num_heads` heads share out the rows of
    `in_proj_weight`. Calls and results are those of nn.MultiheadAttention, which it is made of by `adopt`.
    """

    @classmethod
    def adopt(cls, attention: nn.MultiheadAttention) -> None:
        """Let `attention`, of which tensors were cut, be one of these. It keeps its tensors and its place."""
        attention.__class__ = cls
        attention.embed_dim = attention.kdim = attention.vdim = attention.in_proj_weight.shape[1]
        # By this nn.TransformerEncoderLayer knows that no kernel of its own may stand in for the attention.
        attention._qkv_same_embed_dim = False

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As nn.MultiheadAttention; `is_causal` is a hint there, and `attn_mask` says the same."""
        turned = query.dim() == 3 and not self.batch_first
        inputs = [x.transpose(0, 1) if turned else x for x in (query, key, value)]
        weights = self.in_proj_weight.chunk(3)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            nn.functional.linear(x, *layer).reshape(*x.shape[:-1], self.num_heads, -1).transpose(-3, -2)
            for x, *layer in zip(inputs, weights, biases, strict=True)
        )
        masks = (_added(attn_mask, q), _added(key_padding_mask, q))
        mask = _both(_by_head(masks[0], q), masks[1] if masks[1] is None else masks[1][..., None, None, :])
        dropout = self.dropout if self.training else 0.0
        if need_weights:
            attention = q / q.shape[-1] ** 0.5 @ k.transpose(-2, -1)
            attention = (attention if mask is None else attention + mask).softmax(-1)
            attention = nn.functional.dropout(attention, dropout)
            out = attention @ v
        else:
            attention = None
            out = nn.functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = nn.functional.linear(out.transpose(-3, -2).flatten(-2), self.out_proj.weight, self.out_proj.bias)
        if attention is not None and average_attn_weights:
            attention = attention.mean(-3)
        return out.transpose(0, 1) if turned else out, attention


def _added(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask as what is added before the softmax: True, in one of truth values, forbids."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))


def _by_head(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask of each head, (N * heads, L, S), as (N, heads, L, S); one for all heads stays (L, S)."""
    return mask if mask is None or mask.dim() == 2 else mask.reshape(*like.shape[:-2], *mask.shape[1:])


def _both(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other
