"""One network of timm, pruned at several targets: does it work, is it refused and why, or is the result wrong?"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.groups import Group, summary
from psap.pruning.method import Method, Schedule
from psap.pruning.pruner import Pruner
from psap.pruning.trial import stir, usable_groups

TARGETS = (0.3, 0.5)
TOLERANCE = 1e-4
_SIZES = (64, 96, 128, 160, 192, 224, 256, 288)
_CLASSES = 10
_AT_ONCE = Method(allocation="uniform", reconstruction="hard", schedule=Schedule(kind="one_shot", freeze=0.0))

Row = dict[str, Any]


def attempt(name: str) -> Row:
    """Build timm's network `name`, stir it (`psap.pruning.trial.stir`), and prune it at once at each of `TARGETS`.

    input: "HxW"; groups, prunable: how many; at_<target>: "pruned", "refused", "failed" or "not built"; difference: the
    largest between masked and compacted network, change: the smallest that pruning made, both as shares of the largest
    output; reason: why not all targets are met.
    """
    try:
        model, image = _built(name)
    except Exception as error:
        return {**{column(target): "not built" for target in TARGETS}, "reason": _one_line(error)}
    stir(model)
    # float64: what remains of a difference is then no rounding.
    model, image = model.double(), image.double()
    row: Row = {"input": "x".join(map(str, image.shape[2:]))}
    try:
        groups = usable_groups(model, image)
    except PsapError as error:
        return row | {**{column(target): "refused" for target in TARGETS}, "reason": str(error)}
    except Exception as error:
        return row | {**{column(target): "failed" for target in TARGETS}, "reason": _one_line(error)}
    row |= {"groups": len(groups), "prunable": sum(not group.reason for group in groups)}
    found: list[Comparison] = []
    for target in TARGETS:
        try:
            found.append(_pruned(model, image, target, groups))
            row[column(target)] = "pruned" if found[-1].equal else "failed"
        except PsapError as error:
            problem = str(error).partition("; choose")[0]
            row |= {column(target): "refused", "reason": f"{problem} ({summary(groups)})"}
        except Exception as error:
            row |= {column(target): "failed", "reason": _one_line(error)}
    if found:
        row |= {"difference": max(c.difference for c in found), "change": min(c.change for c in found)}
    return row


def _pruned(model: nn.Module, image: Tensor, target: float, groups: Sequence[Group]) -> "Comparison":
    masked = copy.deepcopy(model)
    pruner = Pruner(masked, image, target, epochs=1, method=_AT_ONCE, groups=groups)
    pruner.step(0)
    return _compared(model, masked, pruner.compact(), image)


class Comparison(NamedTuple):
    """Differences of outputs, as shares of the largest: masked from compacted, and masked from dense network."""

    difference: float
    change: float

    @property
    def equal(self) -> bool:
        """Equal to `TOLERANCE` of the outputs, and of what pruning changes in them: else it would be no evidence."""
        return self.difference <= TOLERANCE * min(1.0, self.change)


@torch.no_grad()
def _compared(dense: nn.Module, masked: nn.Module, small: nn.Module, image: Tensor) -> Comparison:
    """Compare on images that the pruner has not seen."""
    images = torch.randn(2, *image.shape[1:], dtype=image.dtype, generator=torch.Generator().manual_seed(2))
    before, expected, found = (model.eval()(images) for model in (dense, masked, small))
    difference, change = ((expected - other).abs().max() / expected.abs().max() for other in (found, before))
    return Comparison(float(difference), float(change))


def column(target: float) -> str:
    """Name of the column of a target."""
    return f"at_{target:g}"


def _built(name: str) -> tuple[nn.Module, Tensor]:
    """The network with fresh weights in eval mode, and an image of the smallest size that it takes, (1, 3, H, W).

    A network for images of one size is built for a smaller one where timm lets it. Raises whatever the last size did.
    """
    described = timm.models.get_pretrained_cfg(name)
    assert described, name
    tries: list[tuple[dict[str, Any], tuple[int, int]]] = [
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
            return model, image
    assert problem is not None
    raise problem


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
