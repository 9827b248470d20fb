"""Prune a U-Net with transposed convolutions: 70 % of its multiply-adds, on shapes drawn here; its output is a dict.

python examples/segmentation.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap import Pruner

EPOCHS, BATCH, SIZE = 5, 8, 24
torch.manual_seed(0)


def scenes(count: int) -> tuple[Tensor, Tensor]:
    """Noisy images (N, 3, H, W) of a disc and a bar, and the class of each pixel: 0 ground, 1 disc, 2 bar."""
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    x, y, radius = (*torch.randint(6, SIZE - 6, (2, count, 1, 1)).unbind(), torch.randint(4, 8, (count, 1, 1)))
    labels = ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).long()
    labels[(rows - torch.randint(0, SIZE, (count, 1, 1))).abs().expand_as(labels) < 2] = 2
    colours = torch.tensor([[0.2, 0.2, 0.2], [0.8, 0.3, 0.1], [0.1, 0.4, 0.9]])
    return colours[labels].movedim(-1, 1) + 0.3 * torch.randn(count, 3, SIZE, SIZE), labels


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two levels down, two up by transposed convolutions, with the skips concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.bottom = block(3, 16), block(16, 32), block(32, 64)
        self.up2, self.join2 = nn.ConvTranspose2d(64, 32, 2, 2), block(64, 32)
        self.up1, self.join1 = nn.ConvTranspose2d(32, 16, 2, 2), block(32, 16)
        self.classes = nn.Conv2d(16, 3, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        first = self.first(image)
        second = self.second(F.max_pool2d(first, 2))
        x = self.up2(self.bottom(F.max_pool2d(second, 2)))
        x = self.up1(self.join2(torch.cat([second, x], dim=1)))
        return {"out": self.classes(self.join1(torch.cat([first, x], dim=1)))}


def accuracy(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return 100 * float((model(image=images[-32:])["out"].argmax(1) == labels[-32:]).float().mean())


images, labels = scenes(128)
model = UNet()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
pruner = Pruner(model, {"image": images[:1]}, target=0.7, epochs=EPOCHS, optimizer=optimizer)  # named inputs: a mapping
for epoch in range(EPOCHS):
    model.train()
    pruner.step(epoch)
    for batch in torch.randperm(96).split(BATCH):
        F.cross_entropy(model(image=images[batch])["out"], labels[batch]).backward()
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()

small = pruner.compact()
print(f"{len(pruner.groups)} groups pruned, {len(pruner.unprunable)} whole: {pruner.unprunable[0].reason}")
print(f"multiply-adds -{100 * pruner.reduction():.1f} %, parameters -{100 * pruner.reduction('params'):.1f} %")
print(f"pixels: masked {accuracy(model):.1f} %, compacted {accuracy(small):.1f} %")
