"""Prune at once and without any training: the shape that a pruned network will have, not its worth."""

import copy
from typing import Any

from torch import nn

from psap.pruning.method import Method
from psap.pruning.method_sections import Schedule
from psap.pruning.pruner import Pruner


def prune_at_once(
    model: nn.Module, example_inputs: Any, target: float, round_to: int, method: Method | None = None
) -> nn.Module:
    """A compacted copy of `model` in evaluation mode, all groups at one ratio, but within the bounds of `method`."""
    changes = {"allocation": "uniform", "reconstruction": "hard", "round_to": round_to}
    schedule = Schedule(kind="one_shot", freeze=0.0)
    at_once = (method or Method()).model_copy(update={**changes, "criterion": "l1", "schedule": schedule})
    pruner = Pruner(copy.deepcopy(model), example_inputs, target, 1, method=at_once)
    pruner.step(0)
    return pruner.compact().eval()
