"""Tests over seeds: a mean's t-interval and t-test, the tests for equivalence, and Holm's correction."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from psap.analysis.rules import Rules


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its t-interval, and the p-values of its tests (None under two seeds).

    `p` of "the mean is 0", `p_equal` of "the mean is at least `margin` away from 0".
    """

    n: int
    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_equal: float | None = None


def estimate(values: Sequence[float], margin: float, confidence: float = 0.95) -> Estimate:
    """Student's test of the mean of `values` [n >= 1] against 0, and two one-sided ones against -margin and margin.

    Given paired differences these are the paired tests. Values that are all equal have an interval of no width, and
    the p-values are their limits.
    """
    data = np.asarray(values, dtype=float)
    n, mean = len(data), float(data.mean())
    if n < 2:
        return Estimate(n, mean)
    if not np.ptp(data):
        mean = float(data[0])
        return Estimate(n, mean, 0.0, mean, mean, float(mean == 0), float(abs(mean) >= margin))
    both = stats.ttest_1samp(data, 0)
    low, high = both.confidence_interval(confidence)
    above = stats.ttest_1samp(data, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(data, margin, alternative="less").pvalue
    tests = (float(both.pvalue), float(max(above, below)))
    return Estimate(n, mean, float(data.std(ddof=1)), float(low), float(high), *tests)


def shown(values: Sequence[float], rules: Rules) -> Estimate:
    """An estimate of top-1, or of its differences, with an interval from so many seeds on as a verdict needs."""
    found = estimate(values, rules.smallest_effect.top1, rules.confidence)
    return found if found.n >= rules.min_seeds else replace(found, low=None, high=None)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values, in the order given; what has no p-value counts as 1, and keeps having none."""
    if not ps:
        return []
    gc.freeze()  # multipletests collects garbage, which among all that is loaded takes longer than all tests together
    try:
        adjusted = multipletests([1.0 if p is None else p for p in ps], method="holm")[1].tolist()
    finally:
        gc.unfreeze()
    return [None if p is None else value for p, value in zip(ps, adjusted, strict=True)]
