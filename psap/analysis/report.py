"""The report: one HTML page that stands alone. What it says comes from the other modules; here it is arranged."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from psap.analysis.described import described
from psap.analysis.differences import forests
from psap.analysis.facts import facts
from psap.analysis.figures import plots
from psap.analysis.mechanism import mechanism, summary
from psap.analysis.parts import played
from psap.analysis.readings import specification
from psap.analysis.results import Results
from psap.analysis.style import init_label, looks
from psap.analysis.tables import LATENCY_NOTE, best, lost, number, spread
from psap.analysis.verdicts import VERDICTS, hardest
from psap.utils.mappings import JsonObject
from psap.utils.plotting import INK
from psap.utils.svg import Parts

TEMPLATE = Path(__file__).with_name("report.html.j2")
HALF = 48.0  # percent of an interval's drawing, on either side of 0


def render(
    results: Results,
    table: pd.DataFrame,
    verdicts: list[JsonObject],
    published: list[JsonObject],
    figures: dict[str, Parts],
    settings: pd.DataFrame | None,
) -> str:
    """The page, from the summary `table`, the claims' `verdicts`, `published` sections and the parts of its figures.

    `settings` is the ranking of a suite that chooses, or None.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    suite = results.suite
    chosen = None if settings is None else settings.to_dict("records")
    compared = [] if chosen else forests(results)
    mechanisms = mechanism(results)
    tally = Counter(verdict["verdict"] for verdict in verdicts)
    environment.filters.update(
        number=number, init=init_label, percent=lambda share: f"{100 * share:g} %", p=_p, cell=_cell, contents=contents
    )
    return environment.get_template(TEMPLATE.name).render(
        suite=suite,
        results=results,
        facts=facts(results),
        rules=results.rules.told(),
        verdicts=verdicts,
        statements=sorted([*verdicts, *described(results)], key=lambda claim: claim["id"]),
        tally=", ".join(f"{tally[verdict]} {verdict}" for verdict in VERDICTS if tally[verdict]),
        hardest=hardest,
        chart=chart,
        figures=[(name, plot, figures[name]) for name, plot in plots(results).items() if name in figures],
        places=[(model, init) for init in suite.inits for model in suite.models],
        baselines=list(dict.fromkeys(forest.baseline for forest in compared)),
        forests=compared,
        against=next((c["baseline"] for v in verdicts if v["id"] == "S5a" and (c := hardest(v))), None),
        colors={method: look.color.replace(INK, "currentColor") for method, look in looks(suite).items()},
        runs=results.rows.to_dict("records"),
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
        specification=specification(results),
        images=any(c["low_images"] is not None for verdict in verdicts for c in verdict["comparisons"]),
    )


def _p(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def _cell(place: list[str | float]) -> str:
    """A cell of the grid in words."""
    return " ".join(init_label(part) if isinstance(part, str) else f"−{100 * part:g} %" for part in place)


def contents(body: str) -> list[tuple[str, str]]:
    """The page's headings: (id, words)."""
    return re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', body)


def chart(comparison: JsonObject, among: Sequence[JsonObject]) -> dict[str, float]:
    """Where mean and interval lie on a drawing, in percent of its width, on a scale for all that it is `among`."""
    ends = [abs(c[key]) for c in among for key in ("effect", "low", "high") if c[key] is not None]
    scale = HALF / (max(ends) or 1.0)
    mean = comparison["effect"]
    low, high = (mean if comparison[key] is None else comparison[key] for key in ("low", "high"))
    return {name: round(50 + end * scale, 1) for name, end in (("mean", mean), ("low", low), ("high", high))}


def blocks(results: Results, table: pd.DataFrame) -> list[JsonObject]:
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


def compositions(results: Results) -> list[tuple[str, str, JsonObject]]:
    """What each method is made of: (method, init, parameters), from its runs' configurations.

    The init is empty unless the method's parameters differ from one init to the other.
    """
    found = {(run.method, run.init): run.config["method"] for run in results.committed if "method" in run.config}
    rows: list[tuple[str, str, JsonObject]] = []
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
