"""The budget solver, the allocations and the schedules: properties, and exact small cases."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import brentq

from psap.errors import PsapError
from psap.pruning.allocation import (
    ALLOCATIONS,
    AllocationInputs,
    sparsity,
    uniform,
)
from psap.pruning.budget import channel_bounds, check_reachable, solve_closely, solve_counts, spare
from psap.pruning.schedule import SCHEDULES, steps
from psap.pruning.sparsity import group_threshold, model_threshold, weight_sparsity

sizes = st.lists(st.integers(2, 40), min_size=1, max_size=6)


Problem = tuple[list[int], NDArray[np.float64], AllocationInputs, float, float]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Groups, the cost of a channel of each, and the inputs an allocation decides on."""
    channels = draw(sizes)
    count = len(channels)
    price = draw(st.lists(st.floats(0.1, 100), min_size=count, max_size=count))
    shares = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    seed = draw(st.integers(0, 2**16))
    generator = torch.Generator().manual_seed(seed)
    scores = [torch.rand(c, generator=generator, dtype=torch.float64) for c in channels]
    low = draw(st.floats(0, 0.3))
    high = draw(st.floats(0.5, 0.95))
    return channels, np.array(price), AllocationInputs(scores, torch.tensor(shares), draw(st.floats(0, 3))), low, high


@given(problems(), st.sampled_from(sorted(ALLOCATIONS)), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_the_target_is_met_to_within_one_channel_and_bounds_hold(
    problem: Problem, allocation: str, where: float
) -> None:
    channels, price, inputs, low, high = problem
    whole = float(price @ np.array(channels))

    def reduction(counts: Sequence[int]) -> float:
        return float(price @ np.array(counts)) / whole

    bounds = channel_bounds(channels, channels, low, high)
    least, most = reduction(bounds.fewest.tolist()), reduction(bounds.most.tolist())
    target = least + where * (most - least)
    counts = solve_counts(ALLOCATIONS[allocation](inputs), reduction, channels, bounds, target)
    assert least - 1e-9 <= reduction(counts) <= most + 1e-9
    assert target - 1e-9 <= reduction(counts) <= max(target + price.max() / whole, least) + 1e-9
    for count, size in zip(counts, channels, strict=True):
        assert 0 <= count < size, "a channel always stays"
        assert count <= size * high + 1e-6
        assert count >= min(math.ceil(size * low - 1e-6), size - 1, math.floor(size * high + 1e-9))


@given(problems(), st.sampled_from(sorted(ALLOCATIONS)), st.floats(0, 1), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_what_the_target_does_not_need_is_given_back(
    problem: Problem, allocation: str, where: float, step: int
) -> None:
    channels, price, inputs, low, high = problem

    def reduction(counts: Sequence[int]) -> float:
        return float(price @ np.array(counts)) / float(price @ np.array(channels))

    bounds = channel_bounds(channels, channels, low, high, step)
    fewest, most = bounds.fewest.tolist(), bounds.most.tolist()
    target = reduction(fewest) + where * (reduction(most) - reduction(fewest))
    asked = ALLOCATIONS[allocation](inputs), reduction, channels, bounds, target
    counts, close = solve_counts(*asked), solve_closely(*asked)
    assert all(few <= now <= before for few, now, before in zip(fewest, close, counts, strict=True))
    assert all((now - before) % step == 0 for now, before in zip(close, counts, strict=True))
    if reduction(counts) >= target:
        assert target <= reduction(close)
        for g, few in enumerate(fewest):
            less = [count - step * (g == i) for i, count in enumerate(close)]
            assert close[g] - step < few or reduction(less) < target, "nothing more could be given back"


@given(problems(), st.floats(0, 1), st.integers(1, 4), st.data())
@settings(max_examples=200, deadline=None)
def test_spared_channels_stay_as_long_as_the_target_can_be_met(
    problem: Problem, target: float, step: int, data: st.DataObject
) -> None:
    channels, price, _, low, high = problem

    def reduction(counts: Sequence[int]) -> float:
        return float(price @ np.array(counts)) / float(price @ np.array(channels))

    bounds = channel_bounds(channels, channels, low, high, step)
    drawn = [(data.draw(st.integers(0, size)), data.draw(st.integers(0, size))) for size in channels]
    spared, staying = (torch.tensor(counts) for counts in zip(*drawn, strict=True))
    kept = spare(bounds, channels, spared, staying, reduction, target)
    assert bool((kept.fewest == torch.maximum(bounds.fewest, staying)).all()), "bounds hold, and what stays stays"
    assert bool((kept.most >= kept.fewest).all())
    room = torch.maximum(torch.tensor(channels) - spared, kept.fewest)
    if reduction(torch.minimum(bounds.most, room).tolist()) < target:
        assert reduction(kept.most.tolist()) >= min(target, reduction(bounds.most.tolist())) - 1e-9
    else:
        assert step > 1 or bool((kept.most <= room).all()), "none of the spared goes without need"
    nothing = torch.zeros_like(spared)
    same = spare(bounds, channels, nothing, nothing, reduction, target)
    assert torch.equal(same.fewest, bounds.fewest) and torch.equal(same.most, bounds.most)


@given(problems(), st.sampled_from(sorted(ALLOCATIONS)), st.floats(0, 1), st.integers(1, 16))
@settings(max_examples=200, deadline=None)
def test_what_remains_is_a_multiple_and_the_target_is_met_to_within_one_step(
    problem: Problem, allocation: str, where: float, step: int
) -> None:
    channels, price, inputs, low, high = problem
    whole = float(price @ np.array(channels))

    def reduction(counts: Sequence[int]) -> float:
        return float(price @ np.array(counts)) / whole

    bounds = channel_bounds(channels, channels, low, high, step)
    least, most = reduction(bounds.fewest.tolist()), reduction(bounds.most.tolist())
    target = least + where * (most - least)
    counts = solve_counts(ALLOCATIONS[allocation](inputs), reduction, channels, bounds, target)
    assert target - 1e-9 <= reduction(counts) <= max(target + step * price.max() / whole, least) + 1e-9
    for count, size in zip(counts, channels, strict=True):
        multiples = [
            n
            for n in range(size)
            if (size - n) % step == 0 and math.ceil(low * size - 1e-9) <= n <= math.floor(high * size + 1e-9)
        ]
        assert count in (multiples or [0]), "a group stays whole only where the bounds hold no multiple"
    if step == 1:
        plain = channel_bounds(channels, channels, low, high)
        assert counts == solve_counts(ALLOCATIONS[allocation](inputs), reduction, channels, plain, target)


def test_rounded_counts_by_hand() -> None:
    bounds = channel_bounds([32, 20, 7, 8], [32, 20, 7, 8], 0.0, 0.9, 8)
    assert bounds.fewest.tolist() == [0, 4, 0, 0] and bounds.most.tolist() == [24, 12, 0, 0]
    assert bounds.clip(torch.tensor([15, 0, 5, 5])) == [8, 4, 0, 0], "down to whole steps; the solver adds what lacks"
    assert channel_bounds([20], [0], 0.0, 0.9, 8).most.tolist() == [0], "what cannot be judged stays whole"


@given(problems(), st.sampled_from(sorted(ALLOCATIONS)), st.floats(0, 4), st.floats(0, 4))
@settings(max_examples=100, deadline=None)
def test_ratios_grow_with_kappa(problem: Problem, allocation: str, a: float, b: float) -> None:
    ratios = ALLOCATIONS[allocation](problem[2])
    assert (ratios(max(a, b)) - ratios(min(a, b)) >= -1e-12).all()


def test_unreachable_targets_name_the_range() -> None:
    channels = [10, 10]
    bounds = channel_bounds(channels, channels, 0.1, 0.8)

    def reduction(counts: Sequence[int]) -> float:
        return sum(counts) / 20

    def check(target: float, measure: str = "macs") -> None:
        check_reachable(target, reduction, bounds, bounds, [9, 9], measure, "head: feeds the network's output")

    check(0.8)
    said = r"target 0\.9 of the multiply-adds .* between 0\.100 and 0\.800; .* or move .*; stays whole: head: feeds"
    with pytest.raises(PsapError, match=said):
        check(0.9)
    with pytest.raises(PsapError, match=r"of the parameters cannot be met.* or lower bounds\.min_ratio and ratios$"):
        check(0.05, "params")
    with pytest.raises(PsapError, match=r"no bounds reach it: .* 0\.900; stays whole: head: feeds the network's"):
        check(0.95)
    rounded = channel_bounds(channels, channels, 0.1, 0.8, 8)
    with pytest.raises(
        PsapError, match=r"between 0\.200 and 0\.200; .*, or round .*: with round_to 1 it goes up to 0\.8"
    ):
        check_reachable(0.5, reduction, rounded, bounds, [9, 9], "macs")
    ratios = uniform(AllocationInputs([torch.rand(10)] * 2, torch.zeros(2), 1.0))
    found = solve_counts(ratios, reduction, channels, bounds, 0.99)
    assert found == [8, 8], "an intermediate target beyond the bounds gives what they allow"


def test_sparsity_allocation_by_hand() -> None:
    inputs = AllocationInputs([torch.rand(4)] * 2, torch.tensor([0.2, 0.6]), 1.0)
    assert torch.allclose(sparsity(inputs)(0.4), torch.tensor([0.2, 0.6], dtype=torch.float64))
    flat = AllocationInputs([torch.rand(4)] * 2, torch.tensor([0.2, 0.6]), 0.0)
    assert torch.allclose(sparsity(flat)(0.4), torch.tensor([0.4, 0.4], dtype=torch.float64))
    none = AllocationInputs([torch.rand(4)] * 2, torch.zeros(2), 1.0)
    assert torch.equal(sparsity(none)(0.3), uniform(none)(0.3)), "no small weight anywhere: uniform"
    one = AllocationInputs([torch.rand(4)] * 2, torch.tensor([0.0, 0.5]), 1.0)
    assert sparsity(one)(1e4)[0] > 1, "a group without a small weight is the last to go, not never"


def test_global_allocation_is_one_threshold() -> None:
    scores = [torch.tensor([1.0, 5.0, 9.0]), torch.tensor([2.0, 3.0, 4.0])]
    ratios = ALLOCATIONS["global"](AllocationInputs(scores, torch.zeros(2), 0.0))
    assert torch.allclose(ratios(0.5) * 3, torch.tensor([1.0, 2.0], dtype=torch.float64)), "1, 2 and 3 are lowest"


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_weight_sparsity_counts_what_is_small(values: list[float], quantile: float) -> None:
    weights = torch.tensor(values)
    tau = model_threshold([weights[:1], weights[1:]], quantile)
    share = weight_sparsity(weights, tau)
    assert share == sum(abs(v) <= tau for v in weights.tolist()) / len(values)
    assert share >= quantile - 1 / len(values)
    assert group_threshold(weights, 2.0) == pytest.approx(2 * math.sqrt(sum(v * v for v in values) / len(values)))


@pytest.mark.parametrize("kind", SCHEDULES)
@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.integers(1, 5))
def test_steps_lie_within_training_and_end_with_the_whole_target(
    kind: str, epochs: int, a: float, b: float, interval: int
) -> None:
    at = steps(kind, start=min(a, b), freeze=max(a, b), interval=interval, epochs=epochs)
    assert list(at) == sorted(at) and min(at) >= 0 and max(at) < epochs
    shares = list(at.values())
    assert shares[-1] == 1.0 and all(0 < share <= 1 for share in shares) and shares == sorted(shares)
    assert kind != "one_shot" or len(at) == 1


def test_schedules_against_their_sources() -> None:
    k = brentq(lambda k: math.expm1(-k / 8) - 0.75 * math.expm1(-k), 1, 50, xtol=1e-13)
    for x in (0.01, 1 / 8, 0.5, 1.0):
        assert SCHEDULES["asymptotic"](x) == pytest.approx(math.expm1(-k * x) / math.expm1(-k), abs=1e-9)
    assert SCHEDULES["asymptotic"](1 / 8) == pytest.approx(0.75, abs=1e-9)
    assert SCHEDULES["cubic"](0.5) == 0.875
    at = steps("cubic", start=0.0, freeze=0.5, interval=2, epochs=8)
    assert at == pytest.approx({0: 1 - (2 / 3) ** 3, 2: 1 - (1 / 3) ** 3, 4: 1})
