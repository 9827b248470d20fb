"""The report: one HTML page that stands alone. What it says comes from the other modules; here it is arranged."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from psap.analysis.figures import plots
from psap.analysis.mechanism import mechanism, summary
from psap.analysis.parts import played
from psap.analysis.readings import specification
from psap.analysis.results import Results, Suite
from psap.analysis.style import init_label
from psap.analysis.tables import LATENCY_NOTE, best, lost, number, spread
from psap.analysis.verdicts import VERDICTS, hardest
from psap.suites.row import Row
from psap.utils.mappings import flat
from psap.utils.plotting import embedded

NAMES = ("source", "label", "origin", "licence", "digest")
TEMPLATE = Path(__file__).with_name("report.html.j2")
CHART = 100.0  # half the width of an interval's drawing, in pixels


def render(
    results: Results,
    table: pd.DataFrame,
    verdicts: list[dict[str, Any]],
    published: list[dict[str, Any]],
    figures: Path,
    settings: pd.DataFrame | None,
) -> str:
    """The page, from the summary `table`, the claims' `verdicts`, `published` sections and the folder of figures.

    `settings` is the ranking of a suite that chooses, or None.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    chosen = None if settings is None else settings.to_dict("records")
    mechanisms = mechanism(results)
    tally = Counter(verdict["verdict"] for verdict in verdicts)
    environment.filters.update(
        number=number, init=init_label, percent=lambda share: f"{100 * share:g} %", p=_p, cell=_cell
    )
    return environment.get_template(TEMPLATE.name).render(
        suite=results.suite,
        results=results,
        facts=facts(results),
        rules=results.rules.told(),
        verdicts=verdicts,
        tally=", ".join(f"{tally[verdict]} {verdict}" for verdict in VERDICTS if tally[verdict]),
        hardest=hardest,
        chart=chart,
        figures=[
            (name, plot, embedded((figures / f"{name}.svg").read_bytes())) for name, plot in plots(results).items()
        ],
        blocks=blocks(results, table),
        spread=spread,
        lost=lost,
        off_target=off_target(results),
        compositions=compositions(results),
        played=played(results),
        latency_note=LATENCY_NOTE.replace("`", ""),
        rates=rates(results),
        published=published,
        settings=chosen,
        interval=f"{100 * results.rules.confidence:g} %",
        power=f"{100 * results.rules.power:g} %",
        mechanisms=mechanisms,
        acts=summary(results, mechanisms),
        cells=cells(results, verdicts),
        specification=specification(results),
        images=any(c["low_images"] is not None for verdict in verdicts for c in verdict["comparisons"]),
    )


def facts(results: Results) -> dict[str, str]:
    """What was run on what."""
    suite, runs = results.suite, results.committed
    said = flat({key: value for key, value in suite.data.items() if value and key not in NAMES})
    if suite.data["source"] != "imagenet":  # whose classes the suite expects; of another set they are counted
        said.pop("photos.classes", None)
    data = [f"{key.replace('_', ' ').replace('.', ' ')} {value}" for key, value in said.items()]
    label = str(suite.data.get("label") or suite.data["source"])
    versions = {package: _distinct(run.provenance.versions.get(package) for run in runs) for package in _packages(runs)}
    return {
        "Data": "; ".join([label, *data]),
        "Source of the data": "; ".join(f"{name} {suite.data[name]}" for name in NAMES[2:] if suite.data.get(name)),
        "Models": ", ".join(suite.models),
        "Methods": ", ".join(suite.all_methods),
        "Targets": f"{', '.join(f'{100 * t:g} %' for t in suite.targets)} of {_measure(results)} removed",
        "Seeds": f"{len(suite.seeds)} ({', '.join(map(str, suite.seeds))})",
        "Epochs": ", ".join(_epochs(suite)),
        "Runs": "; ".join(filter(None, [f"{len(runs)} of {len(suite.runs)}", results.divergence])),
        "Hardware": _distinct(f"{run.provenance.hardware} ({run.provenance.device})" for run in runs),
        "Time of all runs": f"{_duration(results.rows['seconds'].sum())}, one after the other",
        "Versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
        "Commit": _distinct(_commit(run) for run in runs),
    }


def _epochs(suite: Suite) -> Iterator[str]:
    """How long each kind of network was trained."""
    names = {"dense": "dense", "pretrained": "pretrained", "scratch": "from scratch"}
    for key, word in names.items():
        if key == "dense" or key in suite.inits:
            recipe = suite.training.get(key)
            from_weights = " from published weights" if recipe and recipe.get("weights") else ""
            yield f"{word} {recipe['epochs']}{from_weights}" if recipe else f"{word}: published weights as they are"


def _measure(results: Results) -> str:
    return "parameters" if results.suite.measure == "params" else "multiply-adds"


def _packages(runs: list[Row]) -> list[str]:
    return list(dict.fromkeys(package for run in runs for package in run.provenance.versions))


def _distinct(values: Iterable[str | None]) -> str:
    return "; ".join(sorted({value for value in values if value}))


def _commit(run: Row) -> str:
    return f"{(run.provenance.commit or 'none')[:12]}{' with uncommitted changes' if run.provenance.dirty else ''}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def _cell(place: list[str | float]) -> str:
    """A cell of the grid in words."""
    return " ".join(init_label(part) if isinstance(part, str) else f"−{100 * part:g} %" for part in place)


def chart(comparison: dict[str, Any], verdict: dict[str, Any]) -> dict[str, float]:
    """Where a comparison's mean and interval lie on a drawing from -CHART to CHART that its claim shares."""
    ends = [c[key] for c in verdict["comparisons"] for key in ("effect", "low", "high") if c[key] is not None]
    scale = CHART / (max(map(abs, ends)) or 1.0)
    mean = comparison["effect"]
    low, high = (mean if comparison[key] is None else comparison[key] for key in ("low", "high"))
    return {"mean": round(mean * scale, 1), "low": round(low * scale, 1), "high": round(high * scale, 1)}


def cells(results: Results, verdicts: list[dict[str, Any]]) -> dict[str, dict[tuple[str, str, float], dict[str, Any]]]:
    """What the comparisons of top-1 say of each cell: other method -> (model, init, target) -> measures."""
    wanted = [verdict for verdict in verdicts if verdict["id"] in ("S2", "S3", "S3b", "S5a")]
    comparisons = [comparison for verdict in wanted for comparison in verdict["comparisons"]]
    return {
        c["baseline"]: {(cell["model"], cell["init"], cell["target"]): cell for cell in c["cells"]} for c in comparisons
    }


def blocks(results: Results, table: pd.DataFrame) -> list[dict[str, Any]]:
    """The main table, for each model and init: methods down, targets across; a cell is a row of the summary."""
    table = table.assign(best=best(table))
    found = []
    for model in results.suite.models:
        dense = table[(table["model"] == model) & (table["method"] == "dense")].to_dict("records")
        for init in results.suite.inits:
            part = table[(table["model"] == model) & (table["init"] == init)]
            cells = {(row["method"], row["target"]): row for row in part.to_dict("records")}
            methods = [m for m in results.suite.all_methods if m in set(part["method"])]
            found.append({"model": model, "init": init, "dense": dense, "methods": methods, "cells": cells})
    return [block for block in found if block["methods"]]


def off_target(results: Results) -> float:
    """The largest distance between a run's target and its counted reduction, as a share."""
    rows = results.rows[results.rows["method"] != "dense"]
    return float(max((rows[f"{results.suite.measure}_reduction"] - rows["target"]).abs(), default=0.0))


def compositions(results: Results) -> list[tuple[str, str, dict[str, Any]]]:
    """What each method is made of: (method, init, parameters), from its runs' configurations.

    The init is empty unless the method's parameters differ from one init to the other.
    """
    found = {(run.method, run.init): run.config["method"] for run in results.committed if "method" in run.config}
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for method in results.suite.all_methods:
        by_init = {str(init): parts for (name, init), parts in found.items() if name == method}
        values = list(by_init.values())
        if all(parts == values[0] for parts in values):
            rows += [(method, "", parts) for parts in values[:1]]
        else:
            rows += [(method, init, parts) for init, parts in by_init.items()]
    return rows


def rates(results: Results) -> dict[tuple[str, str], str]:
    """The learning rate of each method's runs: (method, init) -> rate; with the init "" for all inits at once."""
    found: dict[tuple[str, str], str] = {}
    for run in results.committed:
        if run.init:
            found[run.method, run.init] = f"{run.config['training']['recipe']['lr']:g}"
    for method in results.suite.all_methods:
        shown = [f"{init_label(init)} {found[method, init]}" for init in results.suite.inits if (method, init) in found]
        found[method, ""] = ", ".join(shown)
    return found
