"""The specification curve: each claim about a part, and over each baseline, under every reading of the method."""

from pathlib import Path

from psap.analysis.comparisons import Scope, compare
from psap.analysis.results import Results
from psap.analysis.verdicts import correct
from psap.utils.mappings import JsonObject, flat
from psap.utils.yaml_files import read_sections

CLAIMS = {"protection": "S3", "hard": "S3b", "adaptivity": "S2"}


def read_readings(file: Path) -> dict[str, JsonObject]:
    """The readings in `file` (params/readings.yaml), by name; none without it. Raises PsapError where it is broken."""
    return read_sections(file) if file.exists() else {}


def specification(results: Results) -> list[JsonObject]:
    """For each method to compare with, its `points`: the readings minus it, sorted by effect; [] without readings.

    A point is a comparison, with the verdict after Holm's correction over the curve, and the reading's `choices`.
    """
    suite = results.suite
    made = choices(results)
    roles = {getattr(suite.claims, role): claim for role, claim in CLAIMS.items()}
    others = [name for name in suite.all_methods if name in roles or name in suite.baselines]
    scope: Scope = {"models": suite.models, "inits": suite.inits, "targets": suite.targets}
    curves = []
    for other in others if made else []:
        points = [{**compare(results, (name, other), scope), "reading": name, "choices": made[name]} for name in made]
        points = [point for point in points if point["n"]]
        correct(points, results.rules)
        kept = ("reading", "choices", "n", "effect", "low", "high", "p", "p_holm", "p_equal_holm", "verdict", "visible")
        told = [{name: point[name] for name in kept} for point in sorted(points, key=lambda point: point["effect"])]
        if told:
            curves.append({"against": other, "claim": roles.get(other, "S5a"), "points": told})
    return curves


def choices(results: Results) -> dict[str, dict[str, str]]:
    """What each reading that has a run chose, of the parameters in which they differ; a parameter that it lacks is –.

    Numbers are no choices, unless nothing else differs. The suite's own method counts as a reading, too.
    """
    wanted = dict.fromkeys((results.suite.claims.method, *results.readings)) if results.readings else {}
    parts: dict[str, dict[str, str]] = {}
    for run in results.runs:
        if run.method in wanted:
            parts.setdefault(run.method, flat(run.config.get("method", {})))
    names = list(dict.fromkeys(name for values in parts.values() for name in values))
    varied = [name for name in names if len({values.get(name) for values in parts.values()}) > 1]
    words = [name for name in varied if any(_is_word(values.get(name, "0")) for values in parts.values())]
    chosen = words or varied
    return {reading: {name: parts[reading].get(name, "–") for name in chosen} for reading in wanted if reading in parts}


def _is_word(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return value not in ("True", "False")
    return False
