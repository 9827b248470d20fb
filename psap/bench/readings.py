"""A network pruned while it trains, with channels given back, in each reading of protective reconstruction."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.graph.groups import Group
from psap.pruning.method import Method
from psap.pruning.method_sections import Protection, Schedule
from psap.pruning.pruner import Pruner
from psap.utils.passes import tensors

# PSAP as it is by default, and what differs: a step before each epoch, windows that fit in, and much that comes back.
_STEPS: dict[str, Any] = {"schedule": Schedule(freeze=1.0), "window": 1}
_AFTER: dict[str, Any] = {"when": "after", "scope": "group", "quantile": 0.5, "share": 0.5, "rest": "hold"}
READINGS = {
    "before": Method(**_STEPS),
    "after, weight gradient": Method(protection=Protection(signal="weight_gradient", **_AFTER), **_STEPS),
    "after, gate gradient": Method(protection=Protection(signal="gate_gradient", **_AFTER), **_STEPS),
}
THROUGH_NORMS = Method(through_norms=True, **_STEPS)
_EPOCHS, _ITERATIONS, _BATCH = 3, 2, 4


def prune_in_training(
    model: nn.Module, image: Tensor, target: float, method: Method, groups: list[Group] | None = None
) -> Pruner:
    """Train `model` in place on noise for a few iterations, pruned on the way; returns its pruner, masks final.

    image: what it takes, (1, C, H, W). groups: as for `Pruner`. Each of its outputs is taken for
    scores of classes.
    """
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(_BATCH, *image.shape[1:], dtype=image.dtype, generator=generator)
    labels = torch.arange(_BATCH) % 2
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    pruner = Pruner(model, image, target, _EPOCHS, optimizer, method, groups=groups)
    torch.manual_seed(0)  # for layers that draw numbers
    model.train()
    for epoch in range(_EPOCHS):
        pruner.step(epoch)
        for _ in range(_ITERATIONS):
            scores = [output.reshape(*output.shape[:2], -1).mean(2) for output in tensors(model(images))]
            torch.stack([F.cross_entropy(of_classes, labels) for of_classes in scores]).mean().backward()
            pruner.after_backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
    model.eval()
    return pruner


def not_given_back(model: nn.Module, groups: list[Group]) -> str:
    """What a backup loses when all channels of all `groups` are saved, zeroed and restored: a tensor, or ''."""
    emptied = copy.deepcopy(model)
    backup, read_again = ChannelBackup(), ChannelBackup()
    own = [group.within(emptied) for group in groups]
    every = [torch.ones(group.channels, dtype=torch.bool) for group in own]
    for group, mask in zip(own, every, strict=True):
        backup.save(group, mask)
    for group, mask in zip(own, every, strict=True):
        zero(group.slots, mask)
    read_again.load_state_dict(backup.state_dict())
    for group, mask in zip(own, every, strict=True):
        read_again.restore(group, mask)
    expected = model.state_dict()
    return next((name for name, value in emptied.state_dict().items() if not torch.equal(value, expected[name])), "")
