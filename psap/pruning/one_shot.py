"""Prune at once and without any training: the shape that a pruned network will have, not its worth."""

import copy
from typing import Any

from torch import nn

from psap.pruning.method import Method, Schedule
from psap.pruning.pruner import Pruner


def prune_at_once(model: nn.Module, example_inputs: Any, target: float, round_to: int) -> nn.Module:
    """A compacted copy of `model` in evaluation mode, all groups at one ratio."""
    schedule = Schedule(kind="one_shot", freeze=0.0)
    method = Method(allocation="uniform", reconstruction="hard", schedule=schedule, round_to=round_to)
    pruner = Pruner(copy.deepcopy(model), example_inputs, target, 1, method=method)
    pruner.step(0)
    return pruner.compact().eval()
