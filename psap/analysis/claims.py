"""The abstract's claims, and what the committed runs say about each.

The rules were fixed before any number was read. S3b came later, when S3 of a suite on CIFAR-10 had been read, which
could not tell protecting filters from not letting them regrow; it changes no other verdict. The rule on runs
that diverged came later too, when no committed run had.

The unit of replication is the seed. For each seed, the difference "method minus the other" is taken between
runs that share model, init, target and seed, and averaged over all such pairs in the claim's scope: one
number a seed. Over these numbers stands a paired 95 % t-interval.

Against one other method, a claim is supported where the interval lies above 0, not supported where it lies
below 0, and inconclusive otherwise. With fewer than three seeds it is inconclusive whatever the numbers
say.

Against several baselines, Holm's correction is made over the baselines, and a difference counts only if its
adjusted p-value is below 0.05 as well. The claim is supported where the method is better than every
baseline, not supported where it is worse than at least one, and inconclusive otherwise. A baseline of the
suite without a committed pair leaves the claim inconclusive at best.

A pair in which a run diverged has no difference, and is counted. A comparison with such a pair is inconclusive
at best: who diverges where others do not must not gain by it.

S2, S3 and S3b each name a part of the method. They are tested only where the two methods compared differ in that
part and in nothing else: the same parameters that have an effect, the same learning rate.

Baselines are all methods of the suite except the method itself, its four ablations and variants of these, and
the method under another name; a compact architecture trained again from new weights is one of them. Accuracy
is top-1 at the last epoch. A high ratio is a target of 80 % or more. Compression is the largest counted
reduction of multiply-adds, among the targets that both methods reached, whose accuracy is within one point of
the dense network of the same seed; 0 where none is. "Largest at" and "largest when" compare advantages with
each other, whatever their sign.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from psap.analysis.contrasts import (
    CELL,
    HIGH_RATIO,
    VALUES,
    accuracy,
    compression,
    more_at_high_ratio,
    more_from_scratch,
)
from psap.analysis.parts import twins, unattributable
from psap.analysis.results import Results, Suite
from psap.analysis.statistics import estimate, holm

RULES = [" ".join(paragraph.split()) for paragraph in __doc__.split("\n\n")[1:]]  # printed in the report
MIN_SEEDS = 3
ALPHA = 0.05
VERDICTS = SUPPORTED, REFUTED, OPEN, UNTESTED = "supported", "not supported", "inconclusive", "not tested"
POINTS, MACS_POINTS = "percentage points of top-1", "percentage points of multiply-adds"

Contrast = Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Claim:
    """One statement of the abstract, and the comparison that tests it."""

    id: str
    statement: str
    against: Literal["protection", "hard", "adaptivity", "baselines"]
    contrast: Contrast = accuracy
    high_only: bool = False
    scratch_only: bool = False

    @property
    def source(self) -> str:
        """Where the paper states it (its statements are numbered in the documentation of the method)."""
        return f"abstract, {self.id[:2]}"

    def scope(self, suite: Suite) -> dict[str, list[Any]]:
        """The part of the suite's grid that the claim speaks of."""
        inits = [init for init in suite.inits if init == "scratch" or not self.scratch_only]
        targets = [target for target in suite.targets if target >= HIGH_RATIO or not self.high_only]
        return {"models": suite.models, "inits": inits, "targets": targets}

    def others(self, suite: Suite) -> list[str]:
        """The methods to compare with that the suite runs within the scope."""
        role = None if self.against == "baselines" else getattr(suite.claims, self.against)
        wanted = suite.baselines if self.against == "baselines" else [role]
        run = {method for init in self.scope(suite)["inits"] for method in suite.methods.get(init, [])}
        if self.contrast is more_from_scratch:
            run = set.intersection(*(set(suite.methods.get(init, [])) for init in ("scratch", "pretrained")))
        return [method for method in wanted if method in run]


CLAIMS = [
    Claim(
        "S2",
        "Adapting each layer's ratio before every step to the model's own weight sparsity pays in accuracy.",
        "adaptivity",
    ),
    Claim(
        "S3",
        "Protective reconstruction, keeping important filters by supervising gradients, pays in accuracy.",
        "protection",
    ),
    Claim(
        "S3b",
        "It avoids unrecoverable loss: it pays over pruning hard, where what is pruned stays at zero.",
        "hard",
    ),
    Claim("S5a", "More accurate than other methods at equal counted multiply-adds.", "baselines"),
    Claim(
        "S5b",
        "Compresses further than other methods within one point of the dense network's accuracy.",
        "baselines",
        compression,
    ),
    Claim("S5c", "More accurate than other methods at a high ratio.", "baselines", high_only=True),
    Claim("S5d", "More accurate than other methods when pruning from scratch.", "baselines", scratch_only=True),
    Claim("S5e", "The advantage is largest at a high ratio.", "baselines", more_at_high_ratio),
    Claim("S5f", "The advantage is largest when pruning from scratch.", "baselines", more_from_scratch),
]


def judge(results: Results) -> list[dict[str, Any]]:
    """The verdict on every claim, ready for JSON (what is undefined is None)."""
    return [_judge(claim, results) for claim in CLAIMS]


def _judge(claim: Claim, results: Results) -> dict[str, Any]:
    scope, wrong, same = claim.scope(results.suite), "", []
    if claim.against == "baselines":
        same = [other for other in claim.others(results.suite) if other in twins(results)]
    else:
        wrong = unattributable(results, claim.against, scope["inits"])
    others = [] if wrong else [other for other in claim.others(results.suite) if other not in same]
    comparisons = [_compare(claim, results, other, scope) for other in others]
    tested = [c for c in comparisons if c["n"] > 0]
    adjusted = holm([1.0 if c["p"] is None else c["p"] for c in comparisons])
    for comparison, p_holm in zip(comparisons, adjusted, strict=True):
        comparison["p_holm"] = None if comparison["p"] is None else p_holm
        comparison["verdict"] = _verdict(comparison)
    if tested:
        verdict, reason = _conclude(comparisons)
    else:
        verdict, reason = UNTESTED, wrong or _untested(claim, results.suite, comparisons)
    if same:
        reason += f" Left out: {_listed(same)}, {results.suite.claims.method} under another name."
    if any(c["diverged"] for c in comparisons):
        counts = [f"{c['diverged']} against {c['baseline']}" for c in comparisons if c["diverged"]]
        reason += f" Pairs left out, since a run in them diverged: {', '.join(counts)}."
    elif any(c["uneven"] for c in comparisons):
        reason += " Not every seed has every cell yet."
    head = {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": verdict,
        "reason": reason,
    }
    return head | {"scope": scope, "n": min((c["n"] for c in tested), default=0), "comparisons": comparisons}


def _compare(claim: Claim, results: Results, other: str, scope: dict[str, list[Any]]) -> dict[str, Any]:
    names = (results.suite.claims.method, other)
    pairs = _pairs(results.rows, names, scope, CELL + VALUES)
    lost = len(_pairs(results.cells, names, scope, CELL)) - len(pairs)
    cells = claim.contrast(pairs)
    unit = MACS_POINTS if claim.contrast is compression else POINTS
    if cells.empty:
        effect = dict.fromkeys(["effect", "low", "high", "p"]) | {"n": 0}
    else:
        # Rounded, so that differences which cancel give 0 and not 1e-15 with an interval of no width.
        result = estimate(cells.groupby("seed")["value"].mean().round(9).tolist())
        effect = {"effect": result.mean, "low": result.low, "high": result.high, "p": result.p, "n": result.n}
    by = [key for key in ("init", "target") if key in cells.columns]
    parts = cells.rename(columns={"value": "effect"}).groupby(by)["effect"].mean().reset_index()
    uneven = cells.groupby("seed").size().nunique() > 1
    more = {"unit": unit, "uneven": bool(uneven), "diverged": lost, "breakdown": parts.to_dict("records")}
    return {"baseline": other} | effect | more


def _pairs(rows: pd.DataFrame, names: tuple[str, str], scope: dict[str, list[Any]], columns: list[str]) -> pd.DataFrame:
    """The cells of `scope` in which both methods have a row, with the `columns` of either."""
    rows = rows[rows["init"].isin(scope["inits"]) & rows["target"].isin(scope["targets"])]
    mine, theirs = (rows.loc[rows["method"] == name, columns] for name in names)
    return mine.merge(theirs, on=CELL)


def _verdict(comparison: dict[str, Any]) -> str:
    if comparison["n"] < MIN_SEEDS or comparison["p_holm"] >= ALPHA:
        return OPEN
    if comparison["low"] > 0:
        return OPEN if comparison["diverged"] else SUPPORTED
    return REFUTED if comparison["high"] < 0 else OPEN


def _conclude(comparisons: list[dict[str, Any]]) -> tuple[str, str]:
    """The claim's verdict over its comparisons, and the reason in one sentence."""
    n = min(c["n"] for c in comparisons)
    better, worse, undecided = (
        [c["baseline"] for c in comparisons if c["verdict"] == verdict] for verdict in (SUPPORTED, REFUTED, OPEN)
    )
    if worse:
        return REFUTED, f"Less than {_listed(worse)}: the interval lies below 0."
    if not undecided:
        return SUPPORTED, f"More than {_listed(better)}: the interval lies above 0."
    if n < MIN_SEEDS:
        few = _listed([c["baseline"] for c in comparisons if c["n"] == n])
        if n == 0:
            return OPEN, f"No pair of runs against {few} is committed yet."
        return OPEN, f"{n} seed{'' if n == 1 else 's'} against {few}: at least three are needed."
    shown = f", though more than {_listed(better)}" if better else ""
    held = [c["baseline"] for c in comparisons if c["diverged"] and c["low"] > 0 and c["p_holm"] < ALPHA]
    if held == undecided:
        return OPEN, f"More than {_listed([*better, *held])}, but not of all pairs is there a difference."
    return OPEN, f"No difference shown against {_listed(undecided)}{shown}."


def _untested(claim: Claim, suite: Suite, comparisons: list[dict[str, Any]]) -> str:
    scope = claim.scope(suite)
    if suite.claims.method not in suite.all_methods:
        return f"The suite does not run {suite.claims.method}."
    if claim.scratch_only and not scope["inits"]:
        return "The suite has no run from scratch."
    if claim.high_only and not scope["targets"]:
        return "The suite has no target of 80 % or more."
    if claim.contrast is more_from_scratch and set(suite.inits) < {"pretrained", "scratch"}:
        return "The suite does not prune both from scratch and from a pretrained network."
    if claim.contrast is more_at_high_ratio and len({target >= HIGH_RATIO for target in suite.targets}) < 2:
        return "The suite does not have targets on both sides of 80 %."
    if not comparisons:
        return f"The suite runs nothing to compare with ({claim.against})."
    if any(c["diverged"] for c in comparisons):
        return "There is no pair in which neither run diverged."
    return "No pair of runs is committed yet."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
