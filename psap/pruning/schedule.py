"""Schedules: which share of the target a pruning step aims at, as a function of the steps' progress in (0, 1]."""

import math
from collections.abc import Callable


def constant(progress: float) -> float:
    """The whole target at every step (SFP, FPGM)."""
    return 1.0


def asymptotic(progress: float) -> float:
    """Exponential approach that reaches three quarters of the target after an eighth of the steps.

    ASFP, He et al., arXiv:1808.07471, section 3.3: p(x) = a exp(-k x) + b through (0, 0), (1/8, 3/4) and (1, 1).
    """
    return math.expm1(-_ASFP_RATE * progress) / math.expm1(-_ASFP_RATE)


def cubic(progress: float) -> float:
    """1 - (1 - x)^3, fast first and gentle at the end (Zhu and Gupta, arXiv:1710.01878, equation 1)."""
    return 1 - (1 - progress) ** 3


# Root of expm1(-k / 8) = 0.75 expm1(-k), by bisection once; the test solves it again with scipy.
_ASFP_RATE = 11.089988552228322

Schedule = Callable[[float], float]
# `one_shot` has a single step, the freeze, which aims at the whole target.
SCHEDULES: dict[str, Schedule] = {
    "one_shot": constant,
    "constant": constant,
    "asymptotic": asymptotic,
    "cubic": cubic,
}


def steps(kind: str, *, start: float, freeze: float, interval: int, epochs: int) -> dict[int, float]:
    """The pruning steps of a training. The freeze always aims at the whole target.

    Args:
        kind: How the target rises: a name of `Schedule.kind`.
        start: Share of the epochs after which the first step comes.
        freeze: Share of the epochs after which the last step comes, within the training at the latest.
        interval: Epochs from one step to the next.
        epochs: Epochs of the training.

    Returns:
        For the epoch of each step, in order, the share of the target that it aims at; the last one is the freeze.
    """
    last = min(round(freeze * epochs), epochs - 1)
    first = min(round(start * epochs), last)
    at = [] if kind == "one_shot" else list(range(first, last, interval))
    shares = [SCHEDULES[kind]((i + 1) / (len(at) + 1)) for i in range(len(at))]
    return dict(zip([*at, last], [*shares, 1.0], strict=True))
