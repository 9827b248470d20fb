"""Figures of top-1 at the last epoch: against compression, what each part gains, and all settings of a choice."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psap.analysis import style
from psap.analysis.parts import attributable
from psap.analysis.results import Results
from psap.analysis.rules import Rules
from psap.analysis.settings import ranking
from psap.analysis.statistics import shown
from psap.utils import plotting

DENSE_LINE: dict[str, Any] = {"color": plotting.INK, "linewidth": 1, "linestyle": (0, (6, 3))}
MARK: dict[str, Any] = {"linestyle": "none", "markersize": 6.5}
GAINS = {
    "protection": "protection",
    "hard": "protection, not pruning hard",
    "adaptivity": "adaptivity",
    "plain": "both",
}


def accuracy(results: Results) -> Figure | None:
    """Top-1 against counted multiply-add reduction."""
    suite, rows, looks = results.suite, results.rows, style.looks(results.suite)
    if not rows["method"].isin(suite.all_methods).any():
        return None
    figure, panels = style.panels(suite, 3.0, "multiply-adds removed (%)", "top-1, last epoch (%)")
    step = min(0.4, 4.5 * min(np.diff(suite.targets), default=1.0))
    for axes, model, init in panels:
        dense = rows.loc[(rows["model"] == model) & (rows["method"] == "dense"), "top1_last"]
        cells = rows[(rows["model"] == model) & (rows["init"] == init)]
        for method, shift in _shifts(suite.all_methods, step).items():
            parts = [part for _, part in cells[cells["method"] == method].groupby("target")]
            places = [100 * part["macs_reduction"].mean() + shift for part in parts]
            means = [part["top1_last"].mean() for part in parts]
            axes.plot(places, means, **looks[method].options(), zorder=looks[method].depth)
            for place, part in zip(places, parts, strict=True):
                for value, run in zip(part["top1_last"], part["run"], strict=True):
                    _dot(axes, place, value, looks[method], run)
                _bar(axes, place, part["top1_last"], looks[method], results.rules)
        if cells.empty:
            style.blank(axes)
        if not dense.empty:
            axes.axhline(dense.mean(), **DENSE_LINE)
        axes.set_xlim(100 * min(suite.targets) - 7, 100 * max(suite.targets) + 7)
        seen = pd.concat([cells["top1_last"], dense])
        if not seen.empty:  # the intervals may leave the panel, the seeds may not
            margin = 0.08 * (seen.max() - seen.min()) + 0.1
            axes.set_ylim(seen.min() - margin, seen.max() + margin)
    style.legend(figure, {m: looks[m] for m in suite.all_methods} | {"dense": Line2D([], [], **DENSE_LINE)})
    return figure


def ablation(results: Results) -> Figure | None:
    """What the method gains over itself without protection, adaptivity, or both, and pruning hard instead."""
    suite, rows, looks = results.suite, results.rows, style.looks(results.suite)
    parts = {GAINS[role]: method for role, method in attributable(results).items()}
    others = rows[rows["method"].isin(parts.values())]
    pairs = rows[rows["method"] == suite.claims.method].merge(others, on=["model", "init", "target", "seed"])
    if pairs.empty:
        return None
    pairs = pairs.assign(gain=pairs["top1_last_x"] - pairs["top1_last_y"])
    measure = "parameters" if suite.measure == "params" else "multiply-adds"
    figure, panels = style.panels(suite, 2.5, f"target reduction of {measure}", "gain in top-1 (points)")
    marks = {f"{part} (over {m})": looks[m].options() | MARK for part, m in parts.items()}
    for axes, model, init in panels:
        cells = pairs[(pairs["model"] == model) & (pairs["init"] == init)]
        if cells.empty:
            style.blank(axes)
            continue
        axes.axhline(0, color=plotting.INK, linewidth=1)
        for method, shift in _shifts(list(parts.values()), 0.16).items():
            for place, target in enumerate(suite.targets):
                gain = cells.loc[(cells["method_y"] == method) & (cells["target"] == target), "gain"]
                if not gain.empty:
                    axes.plot([place + shift], [gain.mean()], **looks[method].options() | MARK, zorder=3)
                    for value in gain:
                        _dot(axes, place + shift, value, looks[method])
                    _bar(axes, place + shift, gain, looks[method], results.rules)
        axes.set_xticks(range(len(suite.targets)), [f"{100 * target:g} %" for target in suite.targets])
        axes.set_xlim(-0.5, len(suite.targets) - 0.5)
        axes.grid(False, axis="x")
    style.legend(figure, {label: Line2D([], [], **mark) for label, mark in marks.items()})
    return figure


def settings(results: Results) -> Figure:
    """Every setting of each method of a suite that chooses, on one scale."""
    figure, panels = style.panels(results.suite, 3.0, "method (number of settings)", "validation top-1 (%)")
    table, dense = ranking(results), results.rows[results.rows["method"] == "dense"]
    for axes, model, init in panels:
        part = table[(table["init"] == init) & (table["model"] == model)]
        for place, (_, tried) in enumerate(part.groupby("family", sort=False)):
            values = tried["top1"].to_numpy()
            axes.plot(np.full(len(values), place), values, "o", mfc="none", color=plotting.INK, markersize=4, alpha=0.6)
            axes.plot(place, values.max(), "o", color=plotting.WARM[0], markersize=6)
        families = part.groupby("family", sort=False).size()
        axes.set_xticks(range(len(families)), [f"{family} ({count})" for family, count in families.items()])
        axes.axhline(dense.loc[dense["model"] == model, "top1_last"].mean(), **DENSE_LINE)
    return figure


def _shifts(methods: list[str], step: float) -> dict[str, float]:
    """A small sideways shift a method, so that marks at the same place do not cover each other."""
    return {method: step * (index - (len(methods) - 1) / 2) for index, method in enumerate(methods)}


def _dot(axes: Axes, x: float, y: float, look: style.Look, run: str | None = None) -> None:
    """One seed, faintly; that of a `run` has its name, by which a page says more."""
    axes.plot([x], [y], "o", color=look.color, alpha=0.5, markersize=3.4, markeredgewidth=0, gid=run, zorder=5)


def _bar(axes: Axes, x: float, values: "pd.Series[float]", look: style.Look, rules: Rules) -> None:
    """The t-interval of the seeds, if there are enough."""
    interval = shown(values.tolist(), rules)
    if interval.low is not None and interval.high is not None:
        axes.plot([x, x], [interval.low, interval.high], color=look.color, alpha=0.6, linewidth=1.1)
