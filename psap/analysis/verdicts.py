"""From comparisons to verdicts: over a claim's baselines, and over the claims of a level of the hierarchy."""

from psap.analysis.rules import Rules
from psap.analysis.statistics import holm
from psap.utils.mappings import JsonObject

VERDICTS = SUPPORTED, REFUTED, EQUIVALENT, OPEN, UNTESTED = (
    "supported",
    "not supported",
    "equivalent",
    "inconclusive",
    "not tested",
)


def correct(comparisons: list[JsonObject], rules: Rules) -> None:
    """Put into each comparison its p-values after Holm's correction over all of them, and the verdict by these."""
    for name in ("p", "p_equal"):
        adjusted = holm([comparison[name] for comparison in comparisons])
        for comparison, p in zip(comparisons, adjusted, strict=True):
            comparison[f"{name}_holm"] = p
    for comparison in comparisons:
        comparison["verdict"] = _verdict(comparison, rules)


def settle(level: list[JsonObject], rules: Rules) -> None:
    """Put verdict, reason and p-values into the claims of one level, each with its corrected comparisons."""
    equal = holm([_p_equal(claim["comparisons"], rules) for claim in level])
    same = [
        [
            c["baseline"]
            for c in claim["comparisons"]
            if c["verdict"] == EQUIVALENT and p is not None and p <= rules.alpha
        ]
        for claim, p in zip(level, equal, strict=True)
    ]
    differences = [_p(claim["comparisons"], names, rules) for claim, names in zip(level, same, strict=True)]
    different = holm([p for p, _ in differences])
    for claim, names, p_equal, p, (_, lead) in zip(level, same, equal, different, differences, strict=True):
        claim |= {"p": p, "p_equal": p_equal}
        shown = p is not None and p <= rules.alpha
        if shown and not lead:
            claim["verdict"], claim["reason"] = REFUTED, _less(claim["comparisons"], names, rules)
        elif names:
            claim["verdict"], claim["reason"] = EQUIVALENT, _equal(claim["comparisons"], names, rules)
        elif shown:
            claim["verdict"] = SUPPORTED
            claim["reason"] = f"More than {listed([c['baseline'] for c in claim['comparisons']])}."
        else:
            claim["verdict"], claim["reason"] = OPEN, _open(claim["comparisons"], rules)


def hardest(claim: JsonObject) -> JsonObject | None:
    """The comparison least favourable to a claim; None where there is none."""
    tested = [comparison for comparison in claim["comparisons"] if comparison["n"] > 0]
    return min(tested, key=lambda comparison: comparison["effect"], default=None)


def listed(names: list[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _verdict(comparison: JsonObject, rules: Rules) -> str:
    if comparison["n"] < rules.min_seeds:
        return OPEN
    whole = not comparison.get("diverged")
    if comparison["p_equal_holm"] <= rules.alpha and whole:
        return EQUIVALENT
    if comparison["p_holm"] <= rules.alpha and comparison["effect"]:
        if comparison["effect"] < 0:
            return REFUTED
        return SUPPORTED if whole else OPEN
    return OPEN


def _p_equal(comparisons: list[JsonObject], rules: Rules) -> float | None:
    """The claim's p-value of equivalence to at least one; None where none can show it."""
    found = [c["p_equal_holm"] for c in comparisons if c["n"] >= rules.min_seeds and not c["diverged"]]
    return min(found, default=None)


def _p(comparisons: list[JsonObject], same: list[str], rules: Rules) -> tuple[float | None, bool]:
    """The claim's p-value of a difference, and whether this is a lead over all (or a lag behind one).

    A lag behind one of the `same` is none.
    """
    sure = [c for c in comparisons if c["n"] >= rules.min_seeds]
    lags = [c["p_holm"] for c in sure if c["effect"] < 0 and c["baseline"] not in same]
    if lags:
        return min(lags), False
    if len(sure) == len(comparisons) and all(c["effect"] > 0 and not c["diverged"] for c in sure):
        return max(c["p"] for c in sure), True
    return (1.0 if sure else None), True


def _less(comparisons: list[JsonObject], same: list[str], rules: Rules) -> str:
    worse = [c for c in comparisons if c["n"] >= rules.min_seeds and c["effect"] < 0 and c["baseline"] not in same]
    return f"Less than {listed([c['baseline'] for c in worse if c['p_holm'] <= rules.alpha])}."


def _equal(comparisons: list[JsonObject], same: list[str], rules: Rules) -> str:
    smallest, unit = comparisons[0]["smallest_effect"], comparisons[0]["unit"]
    reason = f"Equal to {listed(same)} to within {smallest:g} {unit}."
    small = [c for c in comparisons if c["baseline"] in same and c["p_holm"] <= rules.alpha and c["effect"]]
    if small:
        told = [
            f"{'more' if c['effect'] > 0 else 'less'} than {c['baseline']} by {abs(c['effect']):.2f}" for c in small
        ]
        reason += f" A smaller difference is shown: {listed(told)}."
    return reason


def _open(comparisons: list[JsonObject], rules: Rules) -> str:
    least = min(c["n"] for c in comparisons)
    few = listed([c["baseline"] for c in comparisons if c["n"] == least])
    if least == 0:
        return f"No pair of runs against {few} is committed yet."
    if least < rules.min_seeds:
        needed = f"at least {rules.min_seeds} are needed"
        return f"{least} seed{'' if least == 1 else 's'} against {few}: {needed}."
    better, undecided = (
        [c["baseline"] for c in comparisons if (c["verdict"] == SUPPORTED) == wanted] for wanted in (True, False)
    )
    held = [
        c["baseline"]
        for c in comparisons
        if c["diverged"] and c["effect"] > 0 and c["p_holm"] <= rules.alpha and c["verdict"] == OPEN
    ]
    if held and held == undecided:
        return f"More than {listed([*better, *held])}, but not of all pairs is there a difference."
    if not undecided:
        return f"No difference shown against {listed(better)} after correction over the level's claims."
    shown = f", though more than {listed(better)}" if better else ""
    return f"Neither a difference nor equivalence shown against {listed(undecided)}{shown}."
