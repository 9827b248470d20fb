"""Prune a network of one's own in a plain PyTorch loop: half of its multiply-adds, on scikit-learn's digits.

python examples/plain_loop.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from psap import Pruner

EPOCHS, BATCH = 12, 64
torch.manual_seed(0)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
labels = torch.tensor(digits.target)
order = torch.randperm(len(images))
train, test = order[:1400], order[1400:]


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def accuracy(model: nn.Module) -> float:
    model.eval()
    with torch.no_grad():
        return 100 * float((model(images[test]).argmax(1) == labels[test]).float().mean())


model = nn.Sequential(
    block(1, 16),
    block(16, 32),
    nn.MaxPool2d(2),
    block(32, 64),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, EPOCHS * (len(train) // BATCH))
pruner = Pruner(model, images[:1], target=0.5, epochs=EPOCHS, optimizer=optimizer)
for epoch in range(EPOCHS):
    model.train()
    pruner.step(epoch)
    for batch in train[torch.randperm(len(train))].split(BATCH)[:-1]:
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
        schedule.step()

small = pruner.compact()
widths = [
    f"{group.channels - int(mask.sum())}/{group.channels}"
    for group, mask in zip(pruner.groups, pruner.masks, strict=True)
]
print(f"multiply-adds -{100 * pruner.reduction():.1f} %, parameters -{100 * pruner.reduction('params'):.1f} %")
print(f"channels kept: {', '.join(widths)}")
print(f"accuracy: masked {accuracy(model):.1f} %, compacted {accuracy(small):.1f} %")
