"""What a pruner is given, checked before it looks at the network: one line says what is wrong and what to give."""

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, get_args

from torch import nn
from torch.optim import Optimizer

from psap.errors import PsapError, suggestion
from psap.pruning.graph.find import require_prunable
from psap.pruning.graph.groups import Group
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.utils.bounds import Measure

_MOST = 10**6  # epochs, and more than anybody trains
_SEEDS = range(-(2**63), 2**64)  # what torch's generators take


def check_settings(target: Any, method: Any, measure: Any, seed: Any) -> None:
    """Check what holds for any network. Raises PsapError."""
    if not _is_number(target, Real) or not 0 < target < 1:
        raise PsapError(f"target is {target!r}; give the share to remove, between 0 and 1, such as 0.5")
    if not (method is None or isinstance(method, Method)):
        raise PsapError(f"method is {_kind(method)}; give a psap.Method, such as Method() for PSAP itself")
    measures = get_args(Measure)
    if measure not in measures:
        raise PsapError(f"measure is {measure!r}{suggestion(measure if isinstance(measure, str) else '', measures)}")
    if not _is_number(seed, Integral) or int(seed) not in _SEEDS:
        raise PsapError(f"seed is {seed!r}; give a whole number of at most 64 bits")


def check_training(epochs: Any, steps_per_epoch: Any) -> None:
    """Check the training's length. Raises PsapError."""
    if not _is_number(epochs, Integral) or not 1 <= epochs <= _MOST:
        raise PsapError(f"epochs is {epochs!r}; give the number of times that step is called, 1 to {_MOST:,}")
    if steps_per_epoch is not None and (not _is_number(steps_per_epoch, Integral) or steps_per_epoch < 1):
        raise PsapError(f"steps_per_epoch is {steps_per_epoch!r}; give the optimiser's steps in an epoch, 1 or more")


def check_optimizer(model: nn.Module, optimizer: Any) -> None:
    """Check that there is something to train, and that `optimizer`, if any, trains it. Raises PsapError."""
    parameters, name = list(model.parameters()), type(model).__name__
    if not parameters:
        raise PsapError(f"{name} has no parameters, so there is nothing to prune")
    if optimizer is None:
        return
    if not isinstance(optimizer, Optimizer):
        raise PsapError(f"optimizer is {_kind(optimizer)}; give a torch.optim.Optimizer")
    own = {id(parameter) for parameter in parameters}
    if not any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
        raise PsapError(
            f"optimizer trains none of the parameters of this {name}; make it of model.parameters(), after the model "
            "has its device and its weights"
        )


def groups_of(
    model: nn.Module, example_inputs: Any, groups: Sequence[Group] | None, through_norms: bool
) -> list[Group]:
    """The groups of `model`: found here, or those `groups` of a network like it. Raises PsapError."""
    if groups is None:
        return find_prunable_groups(model, example_inputs, through_norms)
    if not isinstance(groups, (list, tuple)) or not all(isinstance(group, Group) for group in groups):
        raise PsapError(
            "groups is not a list of groups; give what psap.pruning.graph.verify.find_prunable_groups finds, or nothing"
        )
    own = [group.within(model) for group in groups]
    require_prunable(model, own)
    return own


def check_epoch(epoch: Any, begun: int, epochs: int) -> None:
    """Check that `epoch` is the one after `begun`. Raises PsapError."""
    if not _is_number(epoch, Integral) or epoch != begun + 1 or epoch >= epochs:
        follows = f"epoch {begun + 1} is next" if begun + 1 < epochs else "all have begun"
        raise PsapError(f"step({epoch!r}): {follows}, of {epochs} counted from 0; call step once for each, in order")


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    # No float holds every whole number.
    return isinstance(value, Integral) or math.isfinite(value)  # type: ignore[arg-type]


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
