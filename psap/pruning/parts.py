"""From a method's words to the objects that do what they say: the only place where the words are asked."""

from collections.abc import Sequence

from torch.optim import Optimizer

from psap.pruning.allocation import ALLOCATIONS
from psap.pruning.budget import ChannelBounds, channel_bounds
from psap.pruning.choice import Rule, Selector
from psap.pruning.cost import CostModel, Measure
from psap.pruning.criteria import CRITERIA
from psap.pruning.groups import Group
from psap.pruning.method import Method
from psap.pruning.protective import FreeRest, HeldRest, ProtectedAfter, ProtectedBefore
from psap.pruning.reconstruction import RECONSTRUCTIONS, Hard, Reconstruction, Soft
from psap.pruning.signals import GatePulse, WeightPulse
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


def _bounds(groups: Sequence[Group], method: Method) -> ChannelBounds:
    """Within the method's bounds, and only channels that its criterion can judge."""
    needs_scales, bounds = CRITERIA[method.criterion].needs_scales, method.bounds
    judged = [0 if needs_scales and group.scales() is None else group.channels for group in groups]
    sizes = [group.channels for group in groups]
    return channel_bounds(sizes, judged, bounds.min_ratio, bounds.max_ratio, method.round_to)


def _sparsity(method: Method) -> NoSparsity:
    settings = method.sparsity
    weights_of = live_weights if settings.live_only else all_weights
    if not method.reads_sparsity:
        return NoSparsity()
    if settings.scale == "group":
        return GroupSparsity(weights_of, settings.multiple)
    return ModelSparsity(weights_of, settings.quantile)
