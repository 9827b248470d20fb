"""Tests over seeds are those of scipy and statsmodels, and their power is that of statsmodels and of simulation."""

import math
from random import Random
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import DescrStatsW

from psap.analysis.power import _power, _power_of_equivalence, seeds_for_difference, seeds_for_equivalence, visible
from psap.analysis.rules import Rules
from psap.analysis.statistics import Estimate, estimate, holm

RULES = Rules()
numbers = st.floats(-100, 100).map(lambda value: round(value, 3))
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.lists(numbers, min_size=2, max_size=10), st.sampled_from([0.5, 2.0]), st.sampled_from([0.9, 0.95]))
def test_interval_and_p_are_those_of_the_libraries(values: list[float], margin: float, confidence: float) -> None:
    assume(np.std(values) > 1e-3)
    ours = estimate(values, margin, confidence)
    low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert ours.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9, abs=1e-12)
    assert ours.std == pytest.approx(np.std(values, ddof=1))
    assert ours.p_equal == pytest.approx(DescrStatsW(values).ttost_mean(-margin, margin)[0], rel=1e-6, abs=1e-9)


def test_estimate_of_paired_differences_is_the_paired_t_test() -> None:
    mine, theirs = np.array([71.2, 70.1, 72.9, 70.4]), np.array([70.3, 69.9, 71.5, 70.6])
    ours, reference = estimate((mine - theirs).tolist(), 0.5), stats.ttest_rel(mine, theirs)
    assert ours.p == pytest.approx(reference.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    assert estimate([1.5], 0.5) == Estimate(1, 1.5)


@pytest.mark.parametrize(
    ("value", "p", "p_equal"), [(2.0, 0.0, 1.0), (0.1, 0.0, 0.0), (0.0, 1.0, 0.0), (-0.5, 0.0, 1.0)]
)
def test_equal_values_have_an_interval_of_no_width(value: float, p: float, p_equal: float) -> None:
    assert estimate([value] * 3, 0.5) == Estimate(3, value, 0.0, value, value, p, p_equal)


def test_holm_worked_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1 = .02 .03 .06 .04; the last must not lie below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.01, None, 0.02]) == [0.03, None, 0.04]


@given(probabilities, st.randoms())
def test_holm_raises_p_whatever_the_order(ps: list[float], random: Random) -> None:
    adjusted = cast(list[float], holm(ps))
    assert all(raw <= corrected <= 1 for raw, corrected in zip(ps, adjusted, strict=True))
    order = random.sample(range(len(ps)), len(ps))
    shuffled = cast(list[float], holm([ps[i] for i in order]))
    assert all(math.isclose(shuffled[place], adjusted[i]) for place, i in enumerate(order))


@settings(max_examples=30)
@given(st.integers(2, 60), st.floats(0.05, 3), st.sampled_from([0.01, 0.05]))
def test_power_is_that_of_statsmodels(n: int, effect: float, alpha: float) -> None:
    reference = TTestPower().power(effect, n, alpha)
    assume(not math.isnan(reference))  # at powers of nearly 1
    assert _power(n, effect, alpha) == pytest.approx(reference, abs=1e-6)


@given(st.integers(2, 200), st.floats(0.01, 10))
def test_a_visible_effect_has_the_power_and_scales_with_the_spread(n: int, spread: float) -> None:
    effect = visible(n, spread, RULES)
    assert effect is not None
    assert _power(n, effect / spread, RULES.alpha) == pytest.approx(RULES.power, abs=1e-6)
    assert visible(1, spread, RULES) is None and visible(n, 0.0, RULES) == 0


@given(st.floats(0.05, 5))
def test_seeds_needed_are_the_fewest(spread: float) -> None:
    for needed, power in ((seeds_for_difference, _power), (seeds_for_equivalence, _power_of_equivalence)):
        n = needed(0.5, spread, RULES)
        assert n is not None and n >= RULES.min_seeds
        assert power(n, 0.5 / spread, RULES.alpha) >= RULES.power
        assert n == RULES.min_seeds or power(n - 1, 0.5 / spread, RULES.alpha) < RULES.power


def test_what_no_number_of_seeds_shows_and_what_needs_none() -> None:
    assert seeds_for_difference(0.5, 1e6, RULES) is None
    assert seeds_for_equivalence(0.5, 1e6, RULES) is None
    assert seeds_for_difference(0.5, 0.0, RULES) == seeds_for_equivalence(0.5, 0.0, RULES) == RULES.min_seeds


@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_so_many_seeds_do_show_equivalence_as_often_as_promised(spread: float) -> None:
    n = seeds_for_equivalence(0.5, spread, RULES)
    assert n is not None
    draws = np.random.default_rng(0).normal(0, spread, (20_000, n))
    error = draws.std(axis=1, ddof=1) / math.sqrt(n)
    shown = (0.5 - np.abs(draws.mean(axis=1))) / error >= stats.t.ppf(1 - RULES.alpha, n - 1)
    assert RULES.power - 0.01 <= shown.mean() <= RULES.power + 0.05
