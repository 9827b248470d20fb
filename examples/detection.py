"""Prune a detector, torchvision's SSDLite: half of its multiply-adds, on pictures with a handwritten digit each.

python examples/detection.py
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou

from psap import Pruner

EPOCHS, BATCH, SIZE, TRAIN = 6, 8, 64, 256
torch.manual_seed(0)


class Heads(nn.Module):
    """What a detector computes before it suppresses boxes: their offsets and the scores of classes."""

    def __init__(self, detector: SSD) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head  # shared: what is pruned here is pruned there

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        heads: dict[str, Tensor] = self.head(list(self.backbone(images).values()))
        return heads


def pictures(count: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Noisy pictures (3, H, W) in 0..1 of a 0 or a 1 anywhere; its box, and its class, 1 or 2 (0 is the ground)."""
    digits, classes = load_digits(n_class=2, return_X_y=True)
    images, targets = [], []
    for chosen in torch.randint(len(digits), (count,)).tolist():
        side = int(torch.randint(28, 36, ()))
        left, top = torch.randint(0, SIZE - side, (2,)).tolist()
        digit = torch.tensor(digits[chosen], dtype=torch.float32).view(1, 1, 8, 8) / 16
        image = 0.1 * torch.rand(3, SIZE, SIZE)
        image[:, top : top + side, left : left + side] += 0.9 * F.interpolate(digit, (side, side))[0]
        images.append(image)
        box = torch.tensor([[left, top, left + side, top + side]], dtype=torch.float32)
        targets.append({"boxes": box, "labels": torch.tensor([int(classes[chosen]) + 1])})
    return images, targets


def found() -> float:
    """How many of the held-out pictures have a best box of the right class that overlaps by half, in percent."""
    detector.eval()
    with torch.no_grad():
        boxes = detector(images[TRAIN:])
    right = [
        bool((box["labels"][:1] == target["labels"]).all()) and float(box_iou(box["boxes"][:1], target["boxes"])) > 0.5
        for box, target in zip(boxes, targets[TRAIN:], strict=True)
    ]
    return 100 * sum(right) / len(right)


images, targets = pictures(TRAIN + 64)
# The smallest there is, on small pictures; torch's own batch norm learns from few of them.
detector = ssdlite320_mobilenet_v3_large(
    weights=None, weights_backbone=None, num_classes=3, width_mult=0.25, norm_layer=nn.BatchNorm2d
)
half = [0.5] * 3
detector.transform = GeneralizedRCNNTransform(SIZE, SIZE, half, half, size_divisible=1, fixed_size=(SIZE, SIZE))
optimizer = torch.optim.AdamW(detector.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, EPOCHS * TRAIN // BATCH)
heads = Heads(detector)
pruner = Pruner(heads, torch.rand(1, 3, SIZE, SIZE), target=0.5, epochs=EPOCHS, optimizer=optimizer)
for epoch in range(EPOCHS):
    detector.train()
    pruner.step(epoch)
    for batch in torch.randperm(TRAIN).split(BATCH):
        losses = detector([images[i] for i in batch], [targets[i] for i in batch])
        sum(losses.values()).backward()
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        schedule.step()

masked, small = found(), pruner.compact()
with torch.no_grad():
    some = torch.stack(images[TRAIN:])
    torch.testing.assert_close(small(some), heads(some))  # boxes come later, and a hair decides which are suppressed
detector.backbone, detector.head = small.backbone, small.head
print(f"{len(pruner.groups)} groups pruned, {len(pruner.unprunable)} whole")
print(f"multiply-adds -{100 * pruner.reduction():.1f} %, parameters -{100 * pruner.reduction('params'):.1f} %")
print(f"digits found: masked {masked:.1f} %, compacted {found():.1f} %")
