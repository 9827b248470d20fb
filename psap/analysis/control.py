"""A negative control of the verdicts and a planted effect, on the rows of a suite."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from psap.analysis.comparisons import Scope, by_seed
from psap.analysis.results import Results
from psap.analysis.rules import Rules
from psap.analysis.statistics import estimate
from psap.analysis.verdicts import EQUIVALENT, OPEN, SUPPORTED, correct
from psap.errors import PsapError
from psap.utils.mappings import JsonObject


@dataclass(frozen=True)
class Control:
    """In how many of `draws` no difference was claimed where there was none, and a planted one was found."""

    names: tuple[str, str]
    seeds: int
    spread: float
    planted: float
    draws: int
    quiet: int
    equivalent: int
    found: int

    def told(self) -> str:
        """The counts in two sentences."""
        one, other = self.names
        return (
            f"{one} and {other} with labels swapped at random by seed ({self.seeds} seeds, spread {self.spread:.2f}): "
            f"{self.quiet} of {self.draws} verdicts equivalent or inconclusive ({self.equivalent} equivalent).\n"
            f"{self.planted:g} points planted on top: {self.found} of {self.draws} found."
        )


def check(results: Results, names: tuple[str, str], draws: int = 100, plant: float = 1.0) -> Control:
    """Swap the labels of two methods in a random half of the seeds, `draws` times; then plant points for the first.

    To swap labels in all runs of a seed is to change the sign of its difference. A verdict is that of a claim among
    those of its level, of which the others show nothing. The draws are the same each time. Raises PsapError where the
    suite has no pair of runs of the two.
    """
    suite, rules = results.suite, results.rules
    scope: Scope = {"models": suite.models, "inits": suite.inits, "targets": suite.targets}
    differences = by_seed(results, names, scope)
    if differences.empty:
        raise PsapError(f"{suite.suite} has no pair of runs of {' and '.join(names)}; name two methods that it runs")
    generator = np.random.default_rng(0)
    signs = generator.choice([-1.0, 1.0], size=(draws, len(differences)))
    swapped = signs * differences.to_numpy()
    without, planted = ([_verdict(values, rules) for values in swapped + points] for points in (0.0, plant))
    return Control(
        names=(names[0], names[1]),
        seeds=len(differences),
        spread=float(np.mean([estimate(values.tolist(), 1.0).std or 0.0 for values in swapped])),
        planted=plant,
        draws=draws,
        quiet=sum(verdict in (EQUIVALENT, OPEN) for verdict in without),
        equivalent=without.count(EQUIVALENT),
        found=planted.count(SUPPORTED),
    )


def _verdict(values: NDArray[np.float64], rules: Rules) -> str:
    level = next(level for level in rules.hierarchy if "S3" in level)
    result = estimate(values.round(9).tolist(), rules.smallest_effect.top1, rules.confidence)
    tested = {"n": result.n, "effect": result.mean, "p": result.p, "p_equal": result.p_equal}
    nothing = {"n": result.n, "effect": 0.0, "p": 1.0, "p_equal": 1.0}
    comparisons: list[JsonObject] = [tested, *(dict(nothing) for _ in level[1:])]
    correct(comparisons, rules)
    return str(comparisons[0]["verdict"])
