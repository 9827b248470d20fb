"""The parts of the method that the claims take apart, and whether a comparison speaks of the part it names.

Two runs that share model, init, target and seed differ in their method and its learning rate only. A difference in
accuracy says something about a part if one of the two has it, the other one has it off, and all else is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psap.analysis.results import Results
from psap.suites.row import Row

# What a method does not have any more once a part of it is off (identity() of psap/pruning/method.py).
_IMPLIED = ("protection", "window", "sparsity", "code")
# What is no protection, and no ratio that adapts to the weights' sparsity.
_NONE = {"reconstruction": ("hard", "soft"), "allocation": ("uniform", "global")}


@dataclass(frozen=True)
class Part:
    """A part of the method: what it is called, and what the ablation has in its place."""

    name: str
    label: str
    without: str  # how the ablation is told in a sentence
    off: Mapping[str, str]


PARTS = {
    "protection": Part("protection", "protection off", "without protection", {"reconstruction": "soft"}),
    "hard": Part(
        "protection", "hard instead of protection", "pruning hard in place of protection", {"reconstruction": "hard"}
    ),
    "adaptivity": Part("adaptivity", "adaptivity off", "without adaptivity", {"allocation": "uniform"}),
    "plain": Part(
        "protection and adaptivity",
        "both off",
        "without protection and adaptivity",
        {"reconstruction": "soft", "allocation": "uniform"},
    ),
}


def attributable(results: Results) -> dict[str, str]:
    """The ablations of the suite whose comparison with the method speaks of their part: role -> method."""
    claims, run = results.suite.claims, results.suite.all_methods
    roles = {role: str(getattr(claims, role)) for role in PARTS}
    return {role: name for role, name in roles.items() if name in run and not unattributable(results, role)}


def played(results: Results) -> dict[str, str]:
    """What part each method plays in the claims, in words."""
    claims, tested = results.suite.claims, attributable(results)
    found = dict.fromkeys(results.suite.baselines, "baseline")
    found |= dict.fromkeys(results.suite.own_variants, "none: a variant")
    found |= dict.fromkeys(twins(results), "none: the method under another name")
    for role, part in PARTS.items():
        found[getattr(claims, role)] = part.label if role in tested else f"none: not {part.label}, or not that alone"
    return found | {claims.method: "the method"}


def unattributable(results: Results, role: str, inits: Sequence[str] | None = None) -> str:
    """Why the method minus its ablation `role` would not speak of that part, in a sentence; "" where it does.

    `inits`: only these. Pairs of runs that are not committed say nothing.
    """
    method, other = results.suite.claims.method, str(getattr(results.suite.claims, role))
    for mine, theirs in _pairs(results, other, inits):
        if reason := _reason(PARTS[role], method, _composition(mine), other, _composition(theirs)):
            return reason
    return ""


def twins(results: Results) -> list[str]:
    """The baselines that are the method under another name."""
    found = {}
    for other in results.suite.baselines:
        same = [_composition(mine) == _composition(theirs) for mine, theirs in _pairs(results, other, None)]
        found[other] = bool(same) and all(same)
    return [other for other, same in found.items() if same]


def _reason(part: Part, method: str, mine: dict[str, Any], other: str, theirs: dict[str, Any]) -> str:
    different = {name for name in mine | theirs if mine.get(name) != theirs.get(name)}
    if not different:
        return f"{method} and {other} are one composition under two names, so nothing tells them apart."
    for name, value in part.off.items():
        if mine.get(name) in (None, *_NONE[name]):
            return f"{method} does not have the part: its {name} is {mine.get(name, 'none')}."
        if theirs.get(name) != value:
            return f"{other} is not {method} {part.without}: its {name} is {theirs.get(name, 'none')}, not {value}."
    more = different - set(part.off) - {name for name in _IMPLIED if name not in theirs}
    if more:
        return f"{other} differs from {method} in more than {part.name}: {', '.join(sorted(more))} too."
    return ""


def _pairs(results: Results, other: str, inits: Sequence[str] | None) -> list[tuple[Row, Row]]:
    """Committed runs of the method and of `other` that share everything else."""
    by_method: dict[str, dict[tuple[Any, ...], Row]] = {results.suite.claims.method: {}, other: {}}
    for run in results.runs:
        if run.method in by_method and (inits is None or run.init in inits):
            by_method[run.method][run.model, run.init, run.target, run.seed] = run
    mine, theirs = by_method[results.suite.claims.method], by_method[other]
    return [(run, theirs[cell]) for cell, run in mine.items() if cell in theirs]


def _composition(run: Row) -> dict[str, Any]:
    """What distinguishes runs of one cell: the method's effective parameters, its own code, how it is trained."""
    code = {name: run.config[name] for name in ("code",) if name in run.config}
    return {**run.config.get("method", {}), **code, **run.config.get("training", {}).get("recipe", {})}
