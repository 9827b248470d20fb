"""The budget solver: how many channels each group loses so that what remains meets the target to within one step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from psap.errors import PsapError
from psap.pruning.allocation import Ratios

# Share of a network removed when group g has lost n_g channels: grows with each n_g.
Reduction = Callable[[Sequence[int]], float]
Ratio = float | Tensor


@dataclass(frozen=True)
class ChannelBounds:
    """Fewest and most channels that each group may lose: int64, (G,) each, whole steps of `step` channels apart."""

    fewest: Tensor
    most: Tensor
    step: int | Tensor = 1

    @property
    def steps(self) -> list[int]:
        """The step of each group."""
        each: list[int] = torch.as_tensor(self.step).expand_as(self.most).tolist()
        return each

    def clip(self, counts: Tensor) -> list[int]:
        """The largest counts that are allowed and not above `counts`, int64 (G,); `fewest` where there are none."""
        capped = torch.minimum(counts, self.most)
        whole = capped - (capped - self.most) % self.step
        clipped: list[int] = torch.maximum(whole, self.fewest).tolist()
        return clipped

    def at_least(self, counts: Tensor) -> "ChannelBounds":
        """The same, but no group loses fewer than `counts`, int64 (G,)."""
        return ChannelBounds(torch.maximum(self.fewest, counts), torch.maximum(self.most, counts), self.step)

    def at_most(self, counts: Tensor) -> "ChannelBounds":
        """The same, but no group loses more than `counts`, int64 (G,), where that is not fewer than it must lose."""
        return ChannelBounds(self.fewest, torch.tensor(self.clip(counts)), self.step)


def channel_bounds(
    channels: Sequence[int], removable: Sequence[int], min_ratio: Ratio, max_ratio: Ratio, round_to: int | Tensor = 1
) -> ChannelBounds:
    """Bounds from ratios, one or (G,): at least one channel of a group stays; `removable[g]` may cap it further.

    What remains of a group is a multiple of `round_to`, one or (G,); where the bounds hold none, the group stays whole.
    """
    size = torch.tensor(channels)
    # The small term keeps 0.3 * 10 from becoming 2 or 4 by rounding of the product.
    most = torch.minimum((size.double() * max_ratio + 1e-9).floor().long(), size - 1)
    most = torch.minimum(most, torch.tensor(removable))
    fewest = torch.minimum((size.double() * min_ratio - 1e-9).ceil().long().clamp(min=0), most)
    most = most - (most - size) % round_to
    fewest = fewest + (size - fewest) % round_to
    return ChannelBounds(fewest.where(fewest <= most, 0), most.where(fewest <= most, 0), round_to)


def check_reachable(
    target: float,
    reduction: Reduction,
    bounds: ChannelBounds,
    exact: ChannelBounds,
    most: Sequence[int],
    measure: str,
    whole: str = "",
) -> None:
    """Raise PsapError when no pruning within `bounds` meets `target`: the range that is reachable, and what holds it.

    `exact` are the same bounds with counts that are not rounded; `most` is what each group could lose without bounds;
    `whole` says which others lose nothing, and why.
    """
    low, high = reduction(bounds.fewest.tolist()), reduction(bounds.most.tolist())
    if low <= target <= high:
        return
    what = {"macs": "multiply-adds", "params": "parameters"}[measure]
    raise PsapError(
        f"target {target:g} of the {what} cannot be met: within the bounds the reduction lies between {low:.3f} and "
        f"{high:.3f}; choose a target in that range"
        f"{_rounding(target, reduction, exact) or _holding(target, low, reduction(most), whole)}"
    )


def _rounding(target: float, reduction: Reduction, exact: ChannelBounds) -> str:
    """The remedy where rounding alone keeps a target out of reach."""
    low, high = reduction(exact.fewest.tolist()), reduction(exact.most.tolist())
    return f", or round to fewer channels: with round_to 1 it goes up to {high:.3f}" if low <= target <= high else ""


def _holding(target: float, low: float, most: float, whole: str) -> str:
    """What keeps a target out of reach; `most` is the reduction with one channel left of each group."""
    if target < low:
        return " or lower bounds.min_ratio and ratios"
    held = f"; stays whole: {whole}" if whole else ""
    one_left = f"with one channel left of each group it would be {most:.3f}{held}"
    if target <= most:
        return f" or move bounds.max_ratio, ratios or round_to: {one_left}"
    return f"; no bounds reach it: {one_left}"


def solve_counts(
    ratios: Ratios, reduction: Reduction, channels: Sequence[int], bounds: ChannelBounds, target: float
) -> list[int]:
    """Channels that each group loses: the reduction reaches `target`, and is above it by less than a step of one group.

    A step is `bounds.steps[g]` channels. kappa is bisected to where the allocation crosses the target; of the steps
    that this takes at once (uniform: one in every group), only as many are taken, group by group, as the target needs.
    A target beyond the bounds gives the nearest pruning within them (an intermediate step of the schedule may ask for
    it; see `check_reachable`).
    """
    size = torch.tensor(channels)

    def counts(kappa: float) -> list[int]:
        return bounds.clip((ratios(kappa) * size + 1e-9).floor().long())

    low, high = 0.0, 1.0
    while reduction(counts(high)) < target:
        if counts(high) == bounds.most.tolist() or high > _KAPPA_LIMIT:
            return bounds.most.tolist() if high > _KAPPA_LIMIT else counts(high)
        low, high = high, 2 * high
    for _ in range(64):
        if sum(counts(high)) - sum(counts(low)) <= min(bounds.steps):
            break
        middle = (low + high) / 2
        low, high = (low, middle) if reduction(counts(middle)) >= target else (middle, high)
    return _fill(counts(low), counts(high), bounds.steps, reduction, target)


def solve_closely(
    ratios: Ratios, reduction: Reduction, channels: Sequence[int], bounds: ChannelBounds, target: float
) -> list[int]:
    """As `solve_counts`, and then what the target does not need is given back.

    `solve_counts` ends with a step of whichever group is next, and where ratios differ that may be one of many
    multiply-adds.
    """
    return trim(solve_counts(ratios, reduction, channels, bounds, target), reduction, bounds, target)


def trim(pruned: Sequence[int], reduction: Reduction, bounds: ChannelBounds, target: float) -> list[int]:
    """Give back what `target` does not need, step by step, of the group first whose step leaves least above it."""
    counts, fewest, steps = list(pruned), bounds.fewest.tolist(), bounds.steps
    while True:
        less = [[*counts[:g], count - steps[g], *counts[g + 1 :]] for g, count in enumerate(counts)]
        allowed = [few for g, few in enumerate(less) if few[g] >= fewest[g]]
        enough = [(left, few) for few in allowed if (left := reduction(few)) >= target]
        if not enough:
            return counts
        counts = min(enough)[1]


def spare(
    bounds: ChannelBounds, channels: Sequence[int], spared: Tensor, staying: Tensor, reduction: Reduction, target: float
) -> ChannelBounds:
    """Bounds by which groups keep their `spared` channels and lose those `staying` pruned: counts, int64 (G,) each.

    Where `target` is out of reach then, every group keeps fewer of the spared, by tenths, until it is not.
    """
    for tenths in range(10, -1, -1):
        kept = bounds.at_most(torch.tensor(channels) - tenths * spared // 10).at_least(staying)
        if reduction(kept.most.tolist()) >= target:
            break
    return kept


_KAPPA_LIMIT = 2.0**40


def _fill(start: list[int], end: list[int], steps: list[int], reduction: Reduction, target: float) -> list[int]:
    """Go from `start` towards `end` one step at a time, round the groups, until `target` is met."""
    pruned = list(start)
    while reduction(pruned) < target and pruned != end:
        for g, last in enumerate(end):
            if pruned[g] < last:
                pruned[g] += steps[g]
                if reduction(pruned) >= target:
                    return pruned
    return pruned
