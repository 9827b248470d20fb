"""One network of timm or torchvision, pruned while it trains: does it work, is it refused, or is the result wrong?"""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from psap.bench.networks import CLASSES, TORCHVISION, Built, built
from psap.bench.readings import READINGS, THROUGH_NORMS, not_given_back, prune_in_training
from psap.errors import PsapError
from psap.models import own, saved
from psap.pruning.graph.groups import Group, summary
from psap.pruning.graph.verify import find_prunable_groups, randomise_parameters
from psap.pruning.method import Method
from psap.utils.mappings import JsonObject
from psap.utils.passes import gap, tensors

TARGETS = (0.3, 0.5)
TOLERANCE = 1e-4
_UNREACHABLE = "cannot be met"  # what a pruner says of a target before it has changed anything

Row = JsonObject


def attempt(name: str) -> Row:
    """Build the network `name` with random numbers for parameters, and prune it in training at each of `TARGETS`.

    It is pruned in each of `READINGS`, compacted, saved and loaded. input: "HxW"; groups, prunable: how many;
    at_<target>: "pruned" (in all readings), "refused", "failed" or "not built"; through_norms_<target>: the same with
    `streams` more groups, those that pass norms, where the target was refused without; restored: channels that came
    back, in all; difference: the largest between masked and compacted network, change: the smallest that pruning made,
    both as shares of the largest output; reason: why not all targets are met without groups that pass norms.
    """
    try:
        network = built(name)
    except Exception as error:
        return {**{column(target): "not built" for target in TARGETS}, "reason": _one_line(error)}
    model, image, _ = network
    randomise_parameters(model)
    # float64: what remains of a difference is then no rounding.
    model, image = model.double(), image.double()
    row: Row = {"input": "x".join(map(str, image.shape[2:]))}
    try:
        groups = find_prunable_groups(model, image)
    except PsapError as error:
        row |= {**{column(target): "refused" for target in TARGETS}, "reason": str(error)}
        return row | _through_norms(name, network._replace(model=model, image=image), TARGETS)
    except Exception as error:
        return row | {**{column(target): "failed" for target in TARGETS}, "reason": _one_line(error)}
    usable = [group for group in groups if not group.reason]
    row |= {"groups": len(groups), "prunable": len(usable)}
    if lost := not_given_back(model, usable):
        return row | {**{column(target): "failed" for target in TARGETS}, "reason": f"the backup does not keep {lost}"}
    found: list[Comparison] = []
    for target in TARGETS:
        outcome, here, reason = _outcome(name, network._replace(model=model, image=image), target, READINGS, usable)
        row[column(target)] = outcome
        row |= {"reason": f"{reason} ({summary(groups)})" if outcome == "refused" else reason} if reason else {}
        found += here
    if found:
        row |= {"difference": max(c.difference for c in found), "change": min(c.change for c in found)}
        row["restored"] = sum(c.restored for c in found)
    refused = [target for target in TARGETS if row[column(target)] == "refused"]
    return row | _through_norms(name, network._replace(model=model, image=image), refused) if refused else row


def _through_norms(name: str, network: Built, targets: Sequence[float]) -> Row:
    try:
        groups = [group for group in find_prunable_groups(network.model, network.image, True) if not group.reason]
    except PsapError:
        groups = []
    streams = sum(not group.exact for group in groups)
    if not streams:
        return {"streams": 0}
    row: Row = {"streams": streams}
    for target in targets:
        outcome, _, reason = _outcome(name, network, target, {"": THROUGH_NORMS}, groups)
        row[through_norms(target)] = outcome
        row |= {"reason": f"through norms: {reason}"} if outcome == "failed" else {}
    return row


def _outcome(
    name: str, network: Built, target: float, readings: Mapping[str, Method], groups: list[Group]
) -> tuple[str, list["Comparison"], str]:
    """What became of a target: the word for it, the comparisons, and why it is not "pruned"."""
    try:
        here = [_pruned(network.model, network.image, target, method, groups) for method in readings.values()]
        for comparison in here:
            _check_loads(comparison.small, name, network)
    except Exception as error:
        if isinstance(error, PsapError) and _UNREACHABLE in str(error):
            return "refused", [], str(error).partition("; choose")[0]
        return "failed", [], _one_line(error)
    return "pruned", here, ""


class Comparison(NamedTuple):
    """Differences of outputs, as shares of the largest: masked from compacted, and masked from dense network.

    restored: channels that came back on the way. small: the compacted network.
    """

    difference: float
    change: float
    restored: int
    small: nn.Module


def _pruned(model: nn.Module, image: Tensor, target: float, method: Method, groups: list[Group]) -> Comparison:
    masked = copy.deepcopy(model)
    pruner = prune_in_training(masked, image, target, method, groups)
    small = pruner.compact()
    difference, change = _compared(model, masked, small, image)
    if not difference <= TOLERANCE * min(1.0, change):  # of a change of nothing, equality would be no evidence
        raise ValueError(f"masked and compacted network differ by {difference:.1e}, masked and dense by {change:.1e}")
    return Comparison(difference, change, sum(row["restored"] for row in pruner.history.rows), small)


@torch.no_grad()
def _compared(dense: nn.Module, masked: nn.Module, small: nn.Module, image: Tensor) -> tuple[float, float]:
    """Compare on images that the pruner has not seen."""
    images = torch.randn(2, *image.shape[1:], dtype=image.dtype, generator=torch.Generator().manual_seed(2))
    before, expected, found = (tensors(model.eval()(images)) for model in (dense, masked, small))
    return gap(expected, found), gap(expected, before)


@torch.no_grad()
def _check_loads(small: nn.Module, name: str, network: Built) -> None:
    """Save `small` and load it: raises unless the outputs are the same, bit for bit."""
    small, image = small.float().eval(), network.image.float()
    with tempfile.TemporaryDirectory() as folder:
        if network.anew:  # the name alone does not tell which network it is
            own.save(small, folder, into=network.anew())
            loaded = saved.load(folder, into=network.anew())
        else:
            full = name if name.startswith(TORCHVISION) else f"timm:{name}"
            saved.save(small, Path(folder), name=full, classes=CLASSES, in_channels=image.shape[1])
            loaded = saved.load(folder)
    if any(not torch.equal(*pair) for pair in zip(tensors(loaded.eval()(image)), tensors(small(image)), strict=True)):
        raise ValueError("what was saved and loaded is another network")


def column(target: float) -> str:
    """Name of the column of a target."""
    return f"at_{target:g}"


def through_norms(target: float) -> str:
    """Name of the column of a target, with groups that pass norms."""
    return f"through_norms_{target:g}"


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
