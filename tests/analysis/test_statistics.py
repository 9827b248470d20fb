import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from psap.analysis.statistics import Estimate, estimate, holm

numbers = st.floats(-100, 100).map(lambda value: round(value, 3))
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(st.lists(numbers, min_size=2, max_size=10))
def test_interval_and_p_are_those_of_scipy(values: list[float]) -> None:
    assume(np.std(values) > 1e-3)
    ours = estimate(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)
    assert ours.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9, abs=1e-12)
    assert ours.std == pytest.approx(np.std(values, ddof=1))


def test_estimate_of_paired_differences_is_the_paired_t_test() -> None:
    mine, theirs = np.array([71.2, 70.1, 72.9, 70.4]), np.array([70.3, 69.9, 71.5, 70.6])
    ours, reference = estimate((mine - theirs).tolist()), stats.ttest_rel(mine, theirs)
    assert ours.p == pytest.approx(reference.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    assert estimate([1.5]) == Estimate(1, 1.5, None, None, None, None)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert estimate([2.0, 2.0, 2.0]) == Estimate(3, 2.0, 0.0, 2.0, 2.0, 0.0)
    assert estimate([0.0, 0.0, 0.0]) == Estimate(3, 0.0, 0.0, 0.0, 0.0, 1.0)


def test_holm_worked_by_hand() -> None:
    # Sorted .005 .01 .03 .04, times 4 3 2 1 = .02 .03 .06 .04; the last must not lie below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


@given(probabilities)
def test_holm_raises_p_keeps_the_order_and_stays_a_probability(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(raw <= corrected <= 1 for raw, corrected in zip(ps, adjusted, strict=True))
    in_order = [adjusted[index] for index in sorted(range(len(ps)), key=lambda i: ps[i])]
    assert in_order == sorted(adjusted)
    assert min(adjusted) == min(1.0, len(ps) * min(ps))


@given(probabilities, st.randoms())
def test_holm_does_not_depend_on_the_order_of_the_baselines(ps: list[float], random) -> None:
    order = random.sample(range(len(ps)), len(ps))
    shuffled, straight = holm([ps[i] for i in order]), holm(ps)
    assert all(math.isclose(shuffled[place], straight[i]) for place, i in enumerate(order))
