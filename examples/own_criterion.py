"""A criterion of one's own, on a network of timm: registered in one line, compared with a built-in one.

    python examples/own_criterion.py

The smallest ResNet of timm, with new weights, is pruned to half of its multiply-adds step by step while it learns
scikit-learn's digits.
"""

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional as F

from psap import Method, Pruner
from psap.pruning.criteria import CRITERIA, Channels, Criterion

EPOCHS, BATCH = 5, 64


def spread(channels: Channels) -> Tensor:
    """Standard deviation of each channel's weights: a filter that only averages scores low."""
    return channels.weights.std(1)


CRITERIA["spread"] = Criterion(spread)

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
images = F.interpolate(images, 16)
labels = torch.tensor(digits.target)


def pruned_accuracy(criterion: str) -> tuple[float, float]:
    """Train and prune; returns the accuracy on held-out digits and the counted reduction, in percent."""
    torch.manual_seed(0)
    order = torch.randperm(len(images))
    train, test = order[:1400], order[1400:]
    model = timm.create_model("test_resnet", num_classes=10, in_chans=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    pruner = Pruner(model, images[:1], 0.5, EPOCHS, optimizer, Method(criterion=criterion))
    for epoch in range(EPOCHS):
        model.train()
        pruner.step(epoch)
        for batch in train[torch.randperm(len(train))].split(BATCH)[:-1]:
            F.cross_entropy(model(images[batch]), labels[batch]).backward()
            pruner.after_backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
    small = pruner.compact().eval()
    with torch.no_grad():
        hits = (small(images[test]).argmax(1) == labels[test]).float()
    return 100 * float(hits.mean()), 100 * pruner.reduction()


for criterion in ("l2", "spread"):
    accuracy, reduction = pruned_accuracy(criterion)
    print(f"{criterion}: multiply-adds -{reduction:.1f} %, accuracy {accuracy:.1f} %")
