"""From a method's words to the objects that do what they say: the only place where the words are asked."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from psap.pruning.allocation import ALLOCATIONS
from psap.pruning.budget import ChannelBounds, channel_bounds, check_reachable, solve_closely, solve_counts
from psap.pruning.cost import CostModel
from psap.pruning.criteria import CRITERIA
from psap.pruning.folding import folded_weights, norms_behind
from psap.pruning.gradients import GatePulse, NoPulse, WeightPulse
from psap.pruning.graph.groups import Group, summary
from psap.pruning.importance import AcrossNetwork, InGroups
from psap.pruning.keep import ratio_bounds
from psap.pruning.method import Method
from psap.pruning.protective import Protection, Protective, Returning, Trial
from psap.pruning.reconstruction import RECONSTRUCTIONS, Hard, Reconstruction, Soft
from psap.pruning.rest import FixedRest, FreeRest, HeldRest
from psap.pruning.selection import Rule, Selector
from psap.pruning.sparsity import (
    GroupSparsity,
    ModelSparsity,
    NoSparsity,
    Weights,
    all_weights,
    live_weights,
    raw_weights,
)
from psap.utils.bounds import Measure

_SIGNALS: dict[str, type[NoPulse]] = {"weight_gradient": WeightPulse, "gate_gradient": GatePulse}
_SCOPES = {"group": InGroups, "network": AcrossNetwork}
_RESTS = {"free": FreeRest, "hold": HeldRest, "fix": FixedRest}


def make_reconstruction(groups: Sequence[Group], method: Method, optimizer: Optimizer | None) -> Reconstruction:
    """What becomes of pruned channels between steps."""
    prune_weights, keep = RECONSTRUCTIONS[method.reconstruction], method.momentum == "keep"
    if method.reconstruction == "hard":
        return Hard(groups, optimizer, prune_weights, keep)
    if method.reconstruction != "protective":
        return Soft(groups, optimizer, prune_weights, keep)
    settings, signal, rest = method.protection, _SIGNALS[method.protection.signal], _RESTS[method.protection.rest]
    scope = _SCOPES[settings.scope]
    importance = scope(settings.quantile, settings.share)
    if settings.when == "after":
        trial = Trial(signal, importance, method.window, settings.immunity)
        return Returning(groups, optimizer, Protection(NoPulse, importance, rest), trial, keep)
    protection = Protection(signal, importance, rest)
    if not settings.pulse:
        return Protective(groups, optimizer, protection, keep)
    trial = Trial(WeightPulse, scope(1 - settings.pulse, settings.share), 1, settings.immunity)
    return Returning(groups, optimizer, protection, trial, keep)


def make_selector(
    model: nn.Module,
    example_inputs: Any,
    groups: Sequence[Group],
    cost: CostModel,
    method: Method,
    measure: Measure,
    seed: int,
) -> Selector:
    """Which channels a step selects."""
    # Other groups make up for what is spared across the network, so that ratios differ much from group to group.
    across = method.reconstruction == "protective" and method.protection.scope == "network"
    rule = Rule(
        CRITERIA[method.criterion],
        ALLOCATIONS[method.allocation],
        _sparsity(model, example_inputs, groups, method),
        bounds_of(groups, method),
        method.sparsity.alpha,
        solve_closely if across else solve_counts,
    )
    return Selector(groups, cost, rule, measure, seed)


def check_target(
    target: float,
    groups: Sequence[Group],
    cost: CostModel,
    method: Method,
    measure: Measure,
    unprunable: Sequence[Group],
) -> None:
    """Raise PsapError, with what holds it, unless the method's bounds can meet `target`; `unprunable` stay whole."""
    judged, reason = _judged(groups, method), f"the criterion {method.criterion} needs batch-norm scales"
    unjudged = [replace(group, reason=reason) for group, size in zip(groups, judged, strict=True) if not size]
    any_order = cost.order([torch.arange(group.channels) for group in groups])
    check_reachable(
        target,
        lambda counts: any_order.reduction(counts, measure),
        bounds_of(groups, method),
        bounds_of(groups, method.model_copy(update={"round_to": 1})),
        [max(size - 1, 0) for size in judged],
        measure,
        summary([*unprunable, *unjudged]),
    )


def bounds_of(groups: Sequence[Group], method: Method) -> ChannelBounds:
    """Within the method's bounds, and only channels that its criterion can judge."""
    sizes = [group.channels for group in groups]
    steps = torch.tensor([method.round_to // math.gcd(method.round_to, group.width) for group in groups])
    return channel_bounds(sizes, _judged(groups, method), *ratio_bounds(groups, method), steps)


def _judged(groups: Sequence[Group], method: Method) -> list[int]:
    """How many channels of each group the criterion knows something of: all or none."""
    needs_scales = CRITERIA[method.criterion].needs_scales
    return [0 if needs_scales and group.scales() is None else group.channels for group in groups]


def _sparsity(model: nn.Module, example_inputs: Any, groups: Sequence[Group], method: Method) -> NoSparsity:
    settings = method.sparsity
    if not method.reads_sparsity:
        return NoSparsity()
    weights: Weights = raw_weights
    if settings.weights == "folded":
        weights = partial(folded_weights, norms_behind(model, example_inputs, groups))
    weights_of = partial(live_weights if settings.live_only else all_weights, weights)
    if settings.scale == "group":
        return GroupSparsity(weights_of, settings.multiple)
    return ModelSparsity(weights_of, settings.quantile)
