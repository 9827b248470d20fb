"""The abstract's claims, and what the committed runs say about each, by the rules that a report prints (rules.py)."""

from dataclasses import dataclass
from typing import Literal

from psap.analysis.comparisons import Contrast, Scope, compare
from psap.analysis.contrasts import accuracy, compression, more_at_high_ratio, more_from_scratch
from psap.analysis.parts import twins, unattributable
from psap.analysis.results import Results, Suite
from psap.analysis.rules import ClaimId, Rules
from psap.analysis.statistics import holm
from psap.analysis.verdicts import UNTESTED, correct, hardest, listed, settle
from psap.utils.mappings import JsonObject


@dataclass(frozen=True)
class Claim:
    """One statement of the abstract, and the comparison that tests it."""

    id: ClaimId
    statement: str
    against: Literal["protection", "hard", "adaptivity", "baselines"]
    contrast: Contrast = accuracy
    high_only: bool = False
    scratch_only: bool = False

    @property
    def source(self) -> str:
        """Where the paper states it (its statements are numbered in the documentation of the method)."""
        return f"abstract, {self.id[:2]}"

    def scope(self, suite: Suite, rules: Rules) -> Scope:
        """The part of the suite's grid that the claim speaks of."""
        inits = [init for init in suite.inits if init == "scratch" or not self.scratch_only]
        targets = [target for target in suite.targets if target >= rules.high_ratio or not self.high_only]
        return {"models": suite.models, "inits": inits, "targets": targets}

    def others(self, suite: Suite, inits: list[str]) -> list[str]:
        """The methods to compare with that the suite runs in any of `inits`."""
        role = None if self.against == "baselines" else getattr(suite.claims, self.against)
        wanted = suite.baselines if self.against == "baselines" else [role]
        run = {method for init in inits for method in suite.methods.get(init, [])}
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
        "Compresses further than other methods at one accuracy, a little below that of the dense network.",
        "baselines",
        compression,
    ),
    Claim("S5c", "More accurate than other methods at a high ratio.", "baselines", high_only=True),
    Claim("S5d", "More accurate than other methods when pruning from scratch.", "baselines", scratch_only=True),
    Claim("S5e", "The advantage is largest at a high ratio.", "baselines", more_at_high_ratio),
    Claim("S5f", "The advantage is largest when pruning from scratch.", "baselines", more_from_scratch),
]


def judge(results: Results) -> list[JsonObject]:
    """The verdict on every claim, ready for JSON (what is undefined is None)."""
    found = {claim.id: _examined(claim, results) for claim in CLAIMS}
    for level in results.rules.hierarchy:
        settle([found[claim] for claim in level if found[claim]["verdict"] != UNTESTED], results.rules)
    return [_told(claim) for claim in found.values()]


def _examined(claim: Claim, results: Results) -> JsonObject:
    """The claim with its comparisons, corrected for one another; its verdict is open, unless it is not tested."""
    suite, rules = results.suite, results.rules
    scope, wrong, same = claim.scope(suite, rules), "", []
    others = claim.others(suite, scope["inits"])
    if claim.against == "baselines":
        same = [other for other in twins(results) if other in others]
    else:
        wrong = unattributable(results, claim.against, scope["inits"])
    others = [] if wrong else [other for other in others if other not in same]
    comparisons = [compare(results, (suite.claims.method, other), scope, claim.contrast) for other in others]
    correct(comparisons, rules)
    _correct_cells(comparisons)
    tested = [c["n"] for c in comparisons if c["n"] > 0]
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "verdict": "" if tested else UNTESTED,
        "reason": "" if tested else wrong or _untested(claim, results, comparisons),
        "p": None,
        "p_equal": None,
        "scope": scope,
        "n": min(tested, default=0),
        "left_out": f" Left out: {listed(same)}, {suite.claims.method} under another name." if same else "",
        "comparisons": comparisons,
    }


def _correct_cells(comparisons: list[JsonObject]) -> None:
    cells = [cell for comparison in comparisons for cell in comparison["cells"]]
    for name in ("p", "p_equal"):
        for cell, p in zip(cells, holm([cell[name] for cell in cells]), strict=True):
            cell[f"{name}_holm"] = p


def _told(claim: JsonObject) -> JsonObject:
    """The claim with what its reason has to add, and what its least favourable comparison could have seen."""
    comparisons = claim["comparisons"]
    claim["reason"] += claim.pop("left_out")
    if any(c["diverged"] for c in comparisons):
        counts = [f"{c['diverged']} against {c['baseline']}" for c in comparisons if c["diverged"]]
        claim["reason"] += f" Pairs left out, since a run in them diverged: {', '.join(counts)}."
    elif any(c["uneven"] for c in comparisons):
        claim["reason"] += " Not every seed has every cell yet."
    if lost := [f"{c['unbracketed']} against {c['baseline']}" for c in comparisons if c["unbracketed"]]:
        claim["reason"] += f" Seeds and inits left out, since a method never falls so far: {', '.join(lost)}."
    least = hardest(claim) or {}
    return claim | {name: least.get(name) for name in ("visible", "seeds_needed")}


def _untested(claim: Claim, results: Results, comparisons: list[JsonObject]) -> str:
    suite, high = results.suite, results.rules.high_ratio
    scope = claim.scope(suite, results.rules)
    if suite.claims.method not in suite.all_methods:
        return f"The suite does not run {suite.claims.method}."
    if claim.scratch_only and not scope["inits"]:
        return "The suite has no run from scratch."
    if claim.high_only and not scope["targets"]:
        return f"The suite has no target of {100 * high:g} % or more."
    if claim.contrast is more_from_scratch and set(suite.inits) < {"pretrained", "scratch"}:
        return "The suite does not prune both from scratch and from a pretrained network."
    if claim.contrast is more_at_high_ratio and len({target >= high for target in suite.targets}) < 2:
        return f"The suite does not have targets on both sides of {100 * high:g} %."
    if not comparisons:
        return f"The suite runs nothing to compare with ({claim.against})."
    if any(c["diverged"] for c in comparisons):
        return "There is no pair in which neither run diverged."
    if any(c["unbracketed"] for c in comparisons):
        return f"At no target does a method lose more than {results.rules.tolerated_drop:g} points, or one alone does."
    return "No pair of runs is committed yet."
