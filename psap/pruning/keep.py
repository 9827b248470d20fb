"""Layers that a user keeps: whole, or within bounds of their own.

A group is what its layers allow together: one layer that is kept keeps it whole, and its bounds lie within those of
each layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from psap.errors import PsapError
from psap.pruning.graph.groups import Group
from psap.pruning.method import Method
from psap.utils.globs import check_globs, last_of, means
from psap.utils.validation import validated


def restricted(method: Method, ignore: Sequence[str], ratios: Mapping[str, tuple[float, float]] | None) -> Method:
    """`method` with `ignore` and `ratios`, where given, in place of its own. Raises PsapError for what is no such."""
    given: dict[str, Any] = {name: value for name, value in (("ignore", ignore), ("ratios", ratios)) if value}
    checked = validated(Method, given, "Pruner")
    return method.model_copy(update={name: getattr(checked, name) for name in given})


def kept_whole(groups: Sequence[Group], method: Method) -> list[Group]:
    """`groups`, of which those that the method ignores have that for their reason.

    Raises PsapError for a glob of the method that means none of them, or bounds none that can lose channels.
    """
    layers = {layer for group in groups for layer in _layers(group)}
    check_globs(method.ignore, layers, "ignore")
    check_globs(method.ratios, layers, "ratios")
    found = [replace(group, reason=group.reason or _kept_by(group, method)) for group in groups]
    for glob in method.ratios:
        meant = [group for group in found if any(means(glob, layer) for layer in _layers(group))]
        if all(group.reason for group in meant):
            raise PsapError(f"ratios: {glob!r} bounds nothing: {meant[0].name} stays whole ({meant[0].reason})")
    return found


def ratio_bounds(groups: Sequence[Group], method: Method) -> tuple[Tensor, Tensor]:
    """Least and largest ratio of each group: float64, (G,) each. Raises PsapError where a group has none."""
    bounds = [_bounds(group, method) for group in groups]
    low, high = torch.tensor(bounds, dtype=torch.float64).reshape(-1, 2).unbind(1)
    return low, high


def _bounds(group: Group, method: Method) -> tuple[float, float]:
    found = dict.fromkeys(glob for layer in _layers(group) if (glob := last_of(method.ratios, layer)))
    if not found:
        return method.bounds.min_ratio, method.bounds.max_ratio
    low, high = max(method.ratios[glob][0] for glob in found), min(method.ratios[glob][1] for glob in found)
    if low > high:
        raise PsapError(
            f"ratios: {' and '.join(map(repr, found))} leave no ratio for {group.name}, whose layers lose their "
            "channels together; let their bounds overlap"
        )
    return low, high


def _kept_by(group: Group, method: Method) -> str:
    if not group.exact and not method.through_norms:
        return "a norm looks at its channels together, and through_norms is not asked for"
    glob = next((glob for glob in method.ignore if any(means(glob, layer) for layer in _layers(group))), "")
    return f"kept by ignore {glob!r}" if glob else ""


def _layers(group: Group) -> list[str]:
    return [member.name for member in (*group.producers, *group.norms)]
