"""Small networks, each with one structure that pruning has to get right or refuse."""

import torch
from timm.layers.non_local_attn import BatNonLocalAttn
from timm.layers.std_conv import ScaledStdConv2d, StdConv2d
from torch import Tensor, nn


class Gated(nn.Module):
    """Both halves of the first convolution carry the same channels: a * sigmoid(b)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 12, 3)
        self.last = nn.Conv2d(6, 4, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.wide(x).chunk(2, dim=1)
        out: Tensor = self.head(self.last(a * b.sigmoid()).mean((2, 3)))
        return out


class Flattened(nn.Module):
    """Each channel reaches the linear layer at 4 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=7)
        self.hidden = nn.Linear(24, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.hidden(self.conv(x).relu().flatten(1)).relu())
        return out


class Ghost(nn.Module):
    """A layer joined with a depthwise one of its own channels, and a depthwise layer over both (GhostNet's module)."""

    def __init__(self) -> None:
        super().__init__()
        self.primary = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.cheap = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.over = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False), nn.BatchNorm2d(12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.primary(x)
        x = torch.cat([x, self.cheap(x)], 1)[:, :12]
        scores: Tensor = self.head(self.over(x).mean((2, 3)))
        return scores


class Concatenated(nn.Module):
    """Two branches side by side: a batch-norm and a convolution see both, at different positions."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(10)
        self.mix = nn.Conv2d(10, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        both = self.norm(torch.cat([self.a(x), self.b(x)], dim=1)).relu()
        out: Tensor = self.head(self.mix(both).relu().mean((2, 3)))
        return out


class UNet(nn.Module):
    """A U-Net of two levels: batch-norms behind both concatenations, the deeper one with three branches."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.left, self.right = nn.Conv2d(8, 7, 3, padding=1), nn.Conv2d(8, 5, 1)
        self.deep = nn.Sequential(nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 8, 3, padding=1))
        self.join = nn.Sequential(nn.BatchNorm2d(14), nn.ReLU(), nn.Conv2d(14, 6, 3, padding=1), nn.PReLU(6))
        self.head = nn.Conv2d(6, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        top = self.top(x)
        down = self.down(top)
        deep = self.deep(torch.cat([self.left(down), down, self.right(down)], dim=1))
        up = nn.functional.interpolate(deep, size=top.shape[2:], mode="nearest")
        out: Tensor = self.head(self.join(torch.cat([up, top], dim=1)))
        return out


class Behind(nn.Module):
    """A depthwise convolution with a batch-norm sees two branches side by side; it comes first in the network."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(10, 10, 3, groups=10), nn.BatchNorm2d(10)
        self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 4, 1)
        self.mix, self.head = nn.Conv2d(10, 6, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        both = self.norm(self.depthwise(torch.cat([self.a(x), self.b(x)], dim=1))).relu()
        out: Tensor = self.head(self.mix(both).relu().mean((2, 3)))
        return out


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3, groups=4)
        self.free = nn.Conv2d(16, 8, 3)
        self.norm, self.last = nn.GroupNorm(2, 8), nn.Conv2d(8, 6, 1)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.first(x)).relu()
        out: Tensor = self.head(self.last(self.norm(self.free(x))).mean((2, 3)))
        return out


class Padded(nn.Module):
    """A shortcut padded with F.pad, which torch-pruning cannot follow: it must not give a wrong network."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        out: Tensor = self.head((self.b(x.relu()) + nn.functional.pad(x, (0, 0, 0, 0, 2, 2))).mean((2, 3)))
        return out


class Shifted(nn.Module):
    """sigmoid(0) is not 0: a zeroed channel still speaks, so the compacted network would be another one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.b(self.a(x).sigmoid()).mean((2, 3)))
        return out


class Remembered(nn.Module):
    """Its forward pass has a width by heart."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.fixed = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)
        self.after, self.head = nn.Conv2d(8, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.fixed(self.before(x).relu()).split([3, 5], dim=1)
        out: Tensor = self.head(self.after(torch.cat([a.relu(), b], dim=1)).relu().mean((2, 3)))
        return out


class Offset(nn.Module):
    """A number, 0 at first, is added to all channels alike: then a zeroed channel is not a removed one."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.b(self.a(x).relu() + self.offset).relu().mean((2, 3)))
        return out


class GatedTokens(nn.Module):
    """Tokens of an image behind a class token; the two halves of a linear layer's outputs gate each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 6, 4, stride=4)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.norm = nn.LayerNorm(6)
        self.gated, self.back, self.head = nn.Linear(6, 16), nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        a, b = self.gated(self.norm(x)).chunk(2, dim=-1)
        out: Tensor = self.head((x + self.back(a.tanh() * b))[:, 0])
        return out


class Bilinear(nn.Sequential):
    """An attention that splits and joins what is not channels."""

    def __init__(self) -> None:
        attention = BatNonLocalAttn(32, block_size=4)
        hidden = [nn.Conv2d(3, 32, 1), attention, nn.Conv2d(32, 8, 3), nn.ReLU()]
        super().__init__(*hidden, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


class Keeping(nn.Module):
    """Keeps a table that it computes of a parameter until it trains again, and calls a layer with a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 5)
        self.table, self.query = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(1, 5))
        self.project = nn.Linear(5, 5)
        self.kept: Tensor | None = None

    def train(self, mode: bool = True) -> "Keeping":
        if mode:
            self.kept = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.kept is None:
            self.kept = self.table.exp()
        out: Tensor = self.head(self.b(self.a(x).relu()).relu().mean((2, 3))) + self.kept + self.project(self.query)
        return out


class Standardised(nn.Module):
    """Convolutions of timm that standardise their weights: one with gains, and one by groups."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3), ScaledStdConv2d(8, 12, 3, padding=0)
        self.c, self.d = StdConv2d(12, 12, 3, padding=0, groups=6, bias=True), nn.Conv2d(12, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b, self.c, self.d):
            x = layer(x).relu()
        out: Tensor = self.head(x.mean((2, 3)))
        return out


class Encoder(nn.Module):
    """torch's own transformer, which in eval mode runs in one fused kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.head = nn.Linear(8, 32), nn.Linear(32, 5)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.enc(self.emb(x)).mean(1))
        return out


class Tied(nn.Module):
    """One table turns words into vectors and vectors into words."""

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.emb, self.up, self.down = nn.Embedding(11, 16), nn.Linear(16, 32), nn.Linear(32, 16)
        self.head = nn.Linear(16, 11, bias=False)
        self.head.weight, self.residual = self.emb.weight, residual

    def forward(self, words: Tensor) -> Tensor:
        x = self.emb(words)
        y = self.down(self.up(x).relu())
        out: Tensor = self.head(x + y if self.residual else y.relu())
        return out


class Layered(nn.Module):
    """Three convolutions and a classifier, to be used in various ways by what derives from it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 5)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        a = self.a(x).relu()
        b = self.b(a).relu()
        c = self.c(b).relu()
        return a, b, c, self.head(c.mean((2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]


class Branching(Layered):
    """Goes another way on bright images: another layer, or one that knows a channel by its place."""

    def __init__(self, kind: str, limit: float) -> None:
        super().__init__()
        self.kind, self.limit = kind, limit

    def forward(self, x: Tensor) -> Tensor:
        bright = bool(x.mean() > self.limit)
        a = self.a(x).relu()
        if self.kind == "layer":
            last = self.c(a) if bright else self.b(a)
        else:
            last = self.c(self.b(a.flip(1) if bright else a).relu())
        out: Tensor = self.head(last.relu().mean((2, 3)))
        return out
