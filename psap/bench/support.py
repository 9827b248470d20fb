"""One network of timm, pruned while it trains: does it work, is it refused and why, or is the result wrong?"""

import copy
import tempfile
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from torch import Tensor, nn

from psap.bench.readings import READINGS, not_given_back, prune_in_training
from psap.errors import PsapError
from psap.models import own, saved
from psap.pruning.graph.groups import Group, summary
from psap.pruning.graph.verify import find_prunable_groups, randomise_parameters
from psap.pruning.method import Method
from psap.utils.mappings import JsonObject

TARGETS = (0.3, 0.5)
TOLERANCE = 1e-4
_SIZES = (64, 96, 128, 160, 192, 224, 256, 288)
_CLASSES = 10
_UNREACHABLE = "cannot be met"  # what a pruner says of a target before it has changed anything

Row = JsonObject


def attempt(name: str) -> Row:
    """Build timm's network `name` with random numbers for parameters, and prune it in training at each of `TARGETS`.

    It is pruned in each of `READINGS`, compacted, saved and loaded. input: "HxW"; groups, prunable: how many;
    at_<target>: "pruned" (in all readings), "refused", "failed" or "not built"; restored: channels that came back, in
    all; difference: the largest between masked and compacted network, change: the smallest that pruning made, both as
    shares of the largest output; reason: why not all targets are met.
    """
    try:
        model, image, options = built(name)
    except Exception as error:
        return {**{column(target): "not built" for target in TARGETS}, "reason": _one_line(error)}
    randomise_parameters(model)
    # float64: what remains of a difference is then no rounding.
    model, image = model.double(), image.double()
    row: Row = {"input": "x".join(map(str, image.shape[2:]))}
    try:
        groups = find_prunable_groups(model, image)
    except PsapError as error:
        return row | {**{column(target): "refused" for target in TARGETS}, "reason": str(error)}
    except Exception as error:
        return row | {**{column(target): "failed" for target in TARGETS}, "reason": _one_line(error)}
    usable = [group for group in groups if not group.reason]
    row |= {"groups": len(groups), "prunable": len(usable)}
    if lost := not_given_back(model, usable):
        return row | {**{column(target): "failed" for target in TARGETS}, "reason": f"the backup does not keep {lost}"}
    found: list[Comparison] = []
    for target in TARGETS:
        try:
            here = [_pruned(model, image, target, method, usable) for method in READINGS.values()]
            for comparison in here:
                _check_loads(comparison.small, name, options, image)
            row[column(target)] = "pruned"
            found += here
        except Exception as error:
            refused = isinstance(error, PsapError) and _UNREACHABLE in str(error)
            problem = f"{str(error).partition('; choose')[0]} ({summary(groups)})" if refused else _one_line(error)
            row |= {column(target): "refused" if refused else "failed", "reason": problem}
    if found:
        row |= {"difference": max(c.difference for c in found), "change": min(c.change for c in found)}
        row["restored"] = sum(c.restored for c in found)
    return row


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
    before, expected, found = (model.eval()(images) for model in (dense, masked, small))
    difference, change = ((expected - other).abs().max() / expected.abs().max() for other in (found, before))
    return float(difference), float(change)


@torch.no_grad()
def _check_loads(small: nn.Module, name: str, options: JsonObject, image: Tensor) -> None:
    """Save `small` and load it: raises unless the outputs are the same, bit for bit."""
    small, image = small.float().eval(), image.float()
    with tempfile.TemporaryDirectory() as folder:
        if options:  # of a network for images of one size, which its name alone does not tell
            fresh = timm.create_model(name, num_classes=_CLASSES, **options)
            own.save(small, folder, into=fresh)
            loaded = saved.load(folder, into=fresh)
        else:
            saved.save(small, Path(folder), name=f"timm:{name}", classes=_CLASSES, in_channels=image.shape[1])
            loaded = saved.load(folder)
    if not torch.equal(loaded.eval()(image), small(image)):
        raise ValueError("what was saved and loaded is another network")


def column(target: float) -> str:
    """Name of the column of a target."""
    return f"at_{target:g}"


def built(name: str) -> tuple[nn.Module, Tensor, JsonObject]:
    """The network with fresh weights in eval mode, an image of the smallest size that it takes, (1, 3, H, W), and
    what timm was told beside its name.

    A network for images of one size is built for a smaller one where timm lets it. Raises whatever the last size did.
    """
    described = timm.models.get_pretrained_cfg(name)
    assert described, name
    tries: list[tuple[JsonObject, tuple[int, int]]] = [
        ({"img_size": size} if described.fixed_input_size else {}, (size, size)) for size in _SIZES
    ]
    problem: Exception | None = None
    for options, size in [*tries, ({}, described.input_size[-2:])]:
        try:
            model: nn.Module = timm.create_model(name, num_classes=_CLASSES, **options).eval()
            image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                output = model(image)
        except Exception as error:
            problem = error
        else:
            if not isinstance(output, Tensor):
                raise TypeError(f"its output is a {type(output).__name__}")
            return model, image, options
    assert problem is not None
    raise problem


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
