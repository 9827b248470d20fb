"""Small networks with attention: timm's, torchvision's, torch's, and one of one's own with what such have."""

from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F


class Apart(nn.Module):
    """Queries, keys and values made apart, a norm of queries, a bias by place for each head, a width kept by heart."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.num_heads, self.inner_dim = heads, heads * 6
        self.q, self.k = nn.Linear(dim, heads * 6), nn.Linear(dim, heads * 6, bias=False)
        self.v, self.q_norm = nn.Linear(dim, heads * 6), nn.LayerNorm(6)
        self.bias = nn.Parameter(torch.randn(heads, 4, 4))
        self.to_out = nn.Sequential(nn.Linear(heads * 6, dim), nn.Dropout(0.1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(self.q_norm(q), k, v, self.bias)
        result: Tensor = self.to_out(out.transpose(1, 2).reshape(*x.shape[:2], self.inner_dim))
        return result


class Own(nn.Module):
    """Patches, an attention, batch-norm and an MLP: nothing looks at all channels together."""

    def __init__(self, heads: int = 5) -> None:
        super().__init__()
        self.patch, self.norm, self.attention = nn.Conv2d(3, 12, 8, 8), nn.BatchNorm1d(12), Apart(12, heads)
        self.up, self.down, self.head = nn.Linear(12, 20), nn.Linear(20, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.attention(self.norm(x.transpose(1, 2)).transpose(1, 2))
        result: Tensor = self.head((x + self.down(self.up(x).relu())).mean(1))
        return result


class Cross(nn.Module):
    """torch's attention, its queries of one input and its keys and values of another, with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.kv = nn.Linear(6, 16), nn.Linear(5, 16)
        self.attention, self.head = nn.MultiheadAttention(16, 4), nn.Linear(16, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mask = torch.ones(x.shape[0], y.shape[0], dtype=torch.bool).triu(2)
        out, _ = self.attention(self.q(x), self.kv(y), self.kv(y), attn_mask=mask)
        result: Tensor = self.head(out)
        return result


class Remembering(nn.Module):
    """The usual attention of one's own: its forward pass makes the heads' outputs as wide as its input."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.qkv, self.proj = 4, nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        q, k, v = self.qkv(x).reshape(n, length, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width)
        result: Tensor = self.proj(out)
        return result


def timm_vit() -> nn.Module:
    sizes: dict[str, Any] = {"img_size": 32, "depth": 2, "embed_dim": 48, "num_heads": 4, "num_classes": 5}
    model: nn.Module = timm.create_model("vit_tiny_patch16_224", **sizes)
    return model


def torchvision_vit() -> nn.Module:
    model: nn.Module = torchvision.models.VisionTransformer(32, 16, 2, 4, 24, 48, num_classes=5)
    nn.init.normal_(model.get_parameter("heads.head.weight"))
    return model


IMAGE = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
