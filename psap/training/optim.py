"""The optimiser and its learning-rate schedules."""

import math
from inspect import unwrap

import torch
from torch import nn

from psap.training.schema import Recipe, TrainConfig


class _EagerSGD(torch.optim.SGD):
    """torch's SGD without what torch wraps its methods in for torch.compile.

    The wrappers import the whole compiler at their first call, which takes longer than a short training.
    """

    add_param_group, zero_grad = unwrap(torch.optim.SGD.add_param_group), unwrap(torch.optim.SGD.zero_grad)
    state_dict, load_state_dict = unwrap(torch.optim.SGD.state_dict), unwrap(torch.optim.SGD.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.SGD.step))


def sgd(model: nn.Module, training: TrainConfig) -> torch.optim.SGD:
    """SGD with Nesterov momentum over all parameters; the learning rate is set at every iteration."""
    return _EagerSGD(
        model.parameters(),
        lr=training.recipe.lr,
        momentum=training.momentum,
        nesterov=training.momentum > 0,
        weight_decay=training.weight_decay,
    )


def learning_rate(recipe: Recipe, progress: float) -> float:
    """Learning rate at `progress` in [0, 1), the share of the training done.

    step: times gamma at each milestone; cosine: to zero (Loshchilov and Hutter, arXiv:1608.03983, equation 5 without
    restarts); one_cycle: linear from a tenth of `lr` to `lr` over the first third, then linear to zero (after Smith,
    arXiv:1708.07120; the shape is ours).
    """
    lr = recipe.lr
    if recipe.schedule == "step":
        passed = sum(progress >= milestone for milestone in recipe.milestones)
        return float(lr * recipe.gamma**passed)
    if recipe.schedule == "cosine":
        return lr * (1 + math.cos(math.pi * progress)) / 2
    peak = 1 / 3
    return lr * (0.1 + 0.9 * progress / peak) if progress < peak else lr * (1 - progress) / (1 - peak)
