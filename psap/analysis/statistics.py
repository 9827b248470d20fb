"""Intervals and tests over seeds: a mean's t-interval, the t-test behind it, and Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds, its 95 % t-interval, and p of "the mean is 0" (None under two seeds)."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    p: float | None


def estimate(values: Sequence[float]) -> Estimate:
    """Student's t-interval and test of the mean of `values` [n >= 1].

    Given paired differences this is the paired t-test. Values that are all equal have an interval of no
    width, and p is its limit: 0, or 1 at a mean of 0.
    """
    data = np.asarray(values, dtype=float)
    n, mean = len(data), float(data.mean())
    if n < 2:
        return Estimate(n, mean, None, None, None, None)
    std = float(data.std(ddof=1))
    error = std / math.sqrt(n)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * error
    t = abs(mean) / error if error > 0 else math.inf if mean else 0.0
    p = 2 * float(stdtr(n - 1, -t))
    return Estimate(n, mean, std, mean - half, mean + half, p)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    adjusted = [0.0] * len(ps)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = running
    return adjusted
