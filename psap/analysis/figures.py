"""The suite's figures over runs, and FIGURES: all figures, with captions that say how to read them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psap.analysis import curves, differences, style
from psap.analysis.parts import PARTS, attributable
from psap.analysis.results import Results
from psap.analysis.rules import Rules
from psap.analysis.settings import chooses, ranking
from psap.analysis.statistics import estimate
from psap.utils import plotting

DENSE_LINE: dict[str, Any] = {"color": plotting.INK, "linewidth": 1, "linestyle": (0, (6, 3))}
MARK: dict[str, Any] = {"linestyle": "none", "markersize": 6.5}


def accuracy(results: Results) -> Figure:
    """Top-1 against counted multiply-add reduction."""
    suite, rows, looks = results.suite, results.rows, style.looks(results.suite)
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
                _seeds(axes, place, part["top1_last"], looks[method], results.rules)
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


GAINS = {
    "protection": "protection",
    "hard": "protection, not pruning hard",
    "adaptivity": "adaptivity",
    "plain": "both",
}


def ablation(results: Results) -> Figure:
    """What the method gains over itself without protection, adaptivity, or both, and pruning hard instead."""
    suite, rows, looks = results.suite, results.rows, style.looks(results.suite)
    parts = {GAINS[role]: method for role, method in attributable(results).items()}
    others = rows[rows["method"].isin(parts.values())]
    pairs = rows[rows["method"] == suite.claims.method].merge(others, on=["model", "init", "target", "seed"])
    if pairs.empty:
        return style.empty("No pair of runs with and without a part of the method is committed.")
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
                    _seeds(axes, place + shift, gain, looks[method], results.rules)
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


def _seeds(axes: Axes, x: float, values: "pd.Series[float]", look: style.Look, rules: Rules) -> None:
    """The seeds as faint dots and, from so many on as a verdict needs, their t-interval."""
    axes.plot([x] * len(values), values, "o", color=look.color, alpha=0.5, markersize=2.6, markeredgewidth=0)
    interval = estimate(values.tolist(), rules.smallest_effect.top1, rules.confidence)
    if interval.n >= rules.min_seeds and interval.low is not None and interval.high is not None:
        axes.plot([x, x], [interval.low, interval.high], color=look.color, alpha=0.6, linewidth=1.1)


@dataclass(frozen=True)
class Plot:
    """A figure of the report: how it is drawn, its title, and how to read it."""

    draw: Callable[[Results], Figure]
    title: str
    caption: str  # with _words() put in


FIGURES = {
    "accuracy": Plot(
        accuracy,
        "Accuracy against compression",
        "Top-1 of the last epoch against the multiply-adds removed, as counted on the compact network. Marks are means "
        "over seeds, faint dots the seeds, and bars {interval} t-intervals, drawn from {least} seeds on (they may "
        "leave the panel). The dashed line is the dense network. Methods are shifted sideways a little so that they do "
        "not cover each other; the table has the exact reductions. Higher is better.",
    ),
    "ablation": Plot(
        ablation,
        "What each part contributes",
        "Top-1 of {method} minus that of its ablation, paired by seed: {ablations}. Above 0 the part helps. Large "
        "marks are means over seeds, dots the seeds, bars {interval} t-intervals from {least} seeds on.",
    ),
    "differences": Plot(
        differences.forest,
        "Paired differences",
        "Top-1 of {method} minus that of each other method, paired by seed, at each target: mean and {interval} "
        "t-interval over seeds. Right of 0 {method} is better; in the grey band a difference is smaller than "
        "{smallest} points, the smallest effect of interest.",
    ),
    "ratios": Plot(
        curves.ratios,
        "Where the method prunes",
        "Share of each group's channels that the allocation of {method} asks for at each pruning step, for {model}, at "
        "{targets}; mean over seeds. Groups stand in the order of the network, with their number "
        "of channels.",
    ),
    "dynamics": Plot(
        curves.dynamics,
        "What happens at the pruning steps",
        "For {model} at the highest target, {compared}: the weight sparsity ratio that sets "
        "the allocation; the gradient norm of pruned filters over that of kept ones in the first iteration after a "
        "step (values of exactly 0, filters that receive no gradient, have no place on the logarithmic axis); and the "
        "channels restored. Lines are medians over groups, bands their full range; means over seeds.",
    ),
    "learning": Plot(
        curves.learning,
        "Learning curves",
        "Top-1 on the evaluated split after each epoch that was scored, at the highest target, mean over seeds. "
        "{span}The mark on a curve is the first score with that method's final masks.",
    ),
}


SETTINGS = {
    "settings": Plot(
        settings,
        "All settings of each method",
        "Top-1 on validation images at the last epoch, mean over targets and seeds: a circle for each setting, the "
        "best of a method filled. The dashed line is the dense network. Higher is better.",
    ),
}


READINGS = {
    "readings": Plot(
        differences.curve,
        "Every reading of the method",
        "Top-1 of each reading minus that of one method a panel, sorted by effect, with {interval} t-intervals over "
        "seeds, over all inits and targets of the suite. Marks below show what a reading chose; {method} itself is "
        "coloured. In the grey band a difference is smaller than {smallest} points.",
    ),
}


def plots(results: Results) -> dict[str, Plot]:
    """The figures of a suite: those of a comparison, or of a choice of settings."""
    words = _words(results)
    found = SETTINGS if chooses(results) else FIGURES | (READINGS if results.readings else {})
    return {name: replace(plot, caption=plot.caption.format(**words)) for name, plot in found.items()}


def _words(results: Results) -> dict[str, str]:
    """What captions say of this suite: only methods that it has are named."""
    suite = results.suite
    method, tested = suite.claims.method, attributable(results)
    compared = [name for name in (method, suite.claims.protection) if name in suite.all_methods]
    span = f"The shaded span is where {method} takes its pruning steps. " if method in suite.all_methods else ""
    rules = results.rules
    return {
        "interval": f"{100 * rules.confidence:g} %",
        "smallest": f"{rules.smallest_effect.top1:g}",
        "least": str(rules.min_seeds),
        "method": method,
        "model": suite.models[0],
        "targets": "the lowest and the highest target" if len(suite.targets) > 1 else "the target",
        "ablations": ", ".join(f"{PARTS[role].without} ({name})" for role, name in tested.items()) or "none is here",
        "compared": " and ".join(compared) or "no method",
        "span": span,
    }


def draw(results: Results, folder: Path) -> None:
    """Write every figure to `folder` as SVG and PNG."""
    with plotting.styled():
        for name, plot in plots(results).items():
            figure = plot.draw(results)
            if results.divergence:
                style.note(figure, f"{results.divergence} and are not shown")
            style.save(figure, folder / name)
