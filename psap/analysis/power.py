"""What a number of seeds can see: power of paired t-tests, and of two one-sided tests for equivalence.

Loads no more of scipy than its special functions, since plans are told by it too.
"""

import math
from collections.abc import Callable

from scipy.special import nctdtr, stdtrit

from psap.analysis.rules import Rules

_MOST = 10**6  # seeds; what takes more is out of reach


def visible(n: int, spread: float, rules: Rules) -> float | None:
    """The smallest true effect that `n` seeds would show, at a standard deviation `spread` of their differences.

    Shown: two-sided at rules.alpha, with a probability of rules.power. None under two seeds.
    """
    if n < 2:
        return None
    low, high = 0.0, 1.0
    while _power(n, high, rules.alpha) < rules.power:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _power(n, middle, rules.alpha) < rules.power else (low, middle)
    return high * spread


def seeds_for_difference(effect: float, spread: float, rules: Rules) -> int | None:
    """The seeds that show a true difference `effect` with a probability of rules.power; None beyond a million."""
    if spread == 0:
        return rules.min_seeds
    return _least(lambda n: _power(n, effect / spread, rules.alpha) >= rules.power, rules.min_seeds)


def seeds_for_equivalence(effect: float, spread: float, rules: Rules) -> int | None:
    """The seeds that show equivalence within `effect`, where there is no difference, with that probability."""
    if spread == 0:
        return rules.min_seeds
    return _least(lambda n: _power_of_equivalence(n, effect / spread, rules.alpha) >= rules.power, rules.min_seeds)


def _power(n: int, effect: float, alpha: float) -> float:
    """Probability that the two-sided t-test over `n` shows a true `effect` (in standard deviations)."""
    bound, shift = float(stdtrit(n - 1, 1 - alpha / 2)), effect * math.sqrt(n)
    return 1 - _cdf(n, shift, bound) + _cdf(n, shift, -bound)


def _power_of_equivalence(n: int, margin: float, alpha: float) -> float:
    """A lower bound of the probability that both one-sided tests succeed where there is no difference.

    One less the probabilities that either fails: at the powers of interest it is as good as exact.
    """
    bound = float(stdtrit(n - 1, 1 - alpha))
    return max(0.0, 1 - 2 * _cdf(n, margin * math.sqrt(n), bound))


def _cdf(n: int, shift: float, bound: float) -> float:
    """P(T <= bound) of the noncentral t-distribution; scipy has no number where it is under 1e-10 or so."""
    probability = float(nctdtr(n - 1, shift, bound))
    return 0.0 if math.isnan(probability) else probability


def _least(enough: Callable[[int], bool], least: int) -> int | None:
    """The smallest number from `least` on that is enough, if all above one that is are enough too."""
    low, high = least - 1, least
    while not enough(high):
        if high > _MOST:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
