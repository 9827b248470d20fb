"""From a method's words to the objects that do what they say: the only place where the words are asked."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.optim import Optimizer

from psap.pruning.allocation import ALLOCATIONS
from psap.pruning.budget import ChannelBounds, channel_bounds, check_reachable
from psap.pruning.cost import CostModel, Measure
from psap.pruning.criteria import CRITERIA
from psap.pruning.gradients import GatePulse, WeightPulse
from psap.pruning.graph.groups import Group, summary
from psap.pruning.method import Method
from psap.pruning.protective import FreeRest, HeldRest, ProtectedAfter, ProtectedBefore
from psap.pruning.reconstruction import RECONSTRUCTIONS, Hard, Reconstruction, Soft
from psap.pruning.selection import Rule, Selector
from psap.pruning.sparsity import GroupSparsity, ModelSparsity, NoSparsity, all_weights, live_weights


def make_reconstruction(groups: Sequence[Group], method: Method, optimizer: Optimizer | None) -> Reconstruction:
    """What becomes of pruned channels between steps."""
    prune_weights, keep = RECONSTRUCTIONS[method.reconstruction], method.momentum == "keep"
    if method.reconstruction == "hard":
        return Hard(groups, optimizer, prune_weights, keep)
    if method.reconstruction != "protective":
        return Soft(groups, optimizer, prune_weights, keep)
    settings = method.protection
    rest = HeldRest if settings.rest == "hold" else FreeRest
    if settings.when == "before":
        return ProtectedBefore(groups, optimizer, settings, rest, keep)
    pulse = GatePulse if settings.signal == "gate_gradient" else WeightPulse
    return ProtectedAfter(groups, optimizer, settings, rest, pulse, keep)


def make_selector(groups: Sequence[Group], cost: CostModel, method: Method, measure: Measure, seed: int) -> Selector:
    """Which channels a step selects."""
    criterion, allocation = CRITERIA[method.criterion], ALLOCATIONS[method.allocation]
    rule = Rule(criterion, allocation, _sparsity(method), _bounds(groups, method), method.sparsity.alpha)
    return Selector(groups, cost, rule, measure, seed)


def check_target(
    target: float,
    groups: Sequence[Group],
    cost: CostModel,
    method: Method,
    measure: Measure,
    refused: Sequence[Group],
) -> None:
    """Raise PsapError, with what holds it, unless the method's bounds can meet `target`; `refused` stay whole."""
    judged, reason = _judged(groups, method), f"the criterion {method.criterion} needs batch-norm scales"
    unjudged = [replace(group, reason=reason) for group, size in zip(groups, judged, strict=True) if not size]
    any_order = cost.order([torch.arange(group.channels) for group in groups])
    check_reachable(
        target,
        lambda counts: any_order.reduction(counts, measure),
        _bounds(groups, method),
        [max(size - 1, 0) for size in judged],
        measure,
        summary([*refused, *unjudged]),
    )


def _bounds(groups: Sequence[Group], method: Method) -> ChannelBounds:
    """Within the method's bounds, and only channels that its criterion can judge."""
    sizes, bounds = [group.channels for group in groups], method.bounds
    return channel_bounds(sizes, _judged(groups, method), bounds.min_ratio, bounds.max_ratio, method.round_to)


def _judged(groups: Sequence[Group], method: Method) -> list[int]:
    """How many channels of each group the criterion knows something of: all or none."""
    needs_scales = CRITERIA[method.criterion].needs_scales
    return [0 if needs_scales and group.scales() is None else group.channels for group in groups]


def _sparsity(method: Method) -> NoSparsity:
    settings = method.sparsity
    weights_of = live_weights if settings.live_only else all_weights
    if not method.reads_sparsity:
        return NoSparsity()
    if settings.scale == "group":
        return GroupSparsity(weights_of, settings.multiple)
    return ModelSparsity(weights_of, settings.quantile)
