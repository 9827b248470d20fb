"""Figures of paired differences: every comparison in every cell (a forest plot), and the specification curve."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psap.analysis import style
from psap.analysis.comparisons import Scope, compare
from psap.analysis.parts import twins
from psap.analysis.readings import specification
from psap.analysis.results import Results
from psap.utils import plotting
from psap.utils.mappings import JsonObject

X = "difference of top-1 (points)"


def forest(results: Results) -> Figure:
    """The method minus each other one in each cell and over all of a model and init, with intervals."""
    suite, looks = results.suite, style.looks(results.suite)
    figure, panels = style.panels(suite, 0.6 + 0.32 * max(len(suite.all_methods), 4), X, "")
    seen = False
    for axes, model, init in panels:
        others = [m for m in suite.all_methods if m != suite.claims.method and m not in twins(results)]
        compared = {other: _cells(results, other, model, init) for other in others}
        compared = {other: rows for other, rows in compared.items() if rows}
        if not compared:
            style.blank(axes)
            continue
        seen = True
        _zero(axes, results)
        for place, (other, rows) in enumerate(compared.items()):
            for index, row in enumerate(rows):
                shift = 0.22 * (index - (len(rows) - 1) / 2)
                look = {"color": looks[other].color, "alpha": 0.45 + 0.55 * (index + 1) / len(rows)}
                marker = style.MARKERS[index % len(style.MARKERS)]
                _interval(axes, row, place + shift, look | {"marker": marker, "markersize": 4})
        axes.set_yticks(range(len(compared)), list(compared))
        axes.set_ylim(len(compared) - 0.5, -0.5)
        axes.grid(False, axis="y")
    if not seen:
        return style.empty(f"No pair of runs of {suite.claims.method} and another method is committed.")
    marks = {
        f"target {100 * target:g} %": Line2D(
            [], [], color=plotting.INK, linestyle="none", marker=style.MARKERS[index % len(style.MARKERS)], markersize=4
        )
        for index, target in enumerate(suite.targets)
    }
    style.legend(figure, marks)
    return figure


def curve(results: Results) -> Figure:
    """For each method to compare with, effect and interval under each reading, and below them what each one chose."""
    curves = specification(results)
    if not curves:
        return style.empty("The suite runs no readings of the method.")
    names = list(curves[0]["points"][0]["choices"])
    chosen = {name: {point["choices"][name] for told in curves for point in told["points"]} for name in names}
    levels = [(name, level) for name in names for level in sorted(chosen[name] - {"–"})]
    width = max(3.0, 0.2 * len(curves[0]["points"]) + 1.4)
    figure = Figure(figsize=(width * len(curves) + 1.8, 2.4 + 0.17 * len(levels)), layout="constrained")
    grid = figure.subplots(
        2, len(curves), squeeze=False, sharex="col", sharey="row", height_ratios=[2.4, max(1.0, 0.17 * len(levels))]
    )
    for column, told in enumerate(curves):
        above, below = grid[:, column]
        above.axhline(0, color=plotting.INK, linewidth=1)
        smallest = results.rules.smallest_effect.top1
        above.axhspan(-smallest, smallest, color=plotting.INK, alpha=0.1, linewidth=0)
        above.set_title(f"{told['claim']}: minus {told['against']}")
        for place, point in enumerate(told["points"]):
            own = point["reading"] == results.suite.claims.method
            color = plotting.WARM[0] if own else plotting.INK
            above.plot([place], [point["effect"]], "o", color=color, markersize=4)
            if point["low"] is not None:
                above.plot([place, place], [point["low"], point["high"]], color=color, linewidth=1.1)
            marked = [index for index, (name, level) in enumerate(levels) if point["choices"][name] == level]
            below.plot([place] * len(marked), marked, "s", color=color, markersize=3.5)
        below.set_xticks([])
    grid[0, 0].set_ylabel(X)
    grid[1, 0].set_yticks(
        range(len(levels)),
        [f"{name.rpartition('.')[2]}: {level}".replace("_", " ") for name, level in levels],
        fontsize=6.5,
    )
    grid[1, 0].set_ylim(len(levels) - 0.5, -0.5)
    return figure


def _cells(results: Results, other: str, model: str, init: str) -> list[JsonObject]:
    scope: Scope = {"models": [model], "inits": [init], "targets": results.suite.targets}
    compared = compare(results, (results.suite.claims.method, other), scope)
    return list(compared["cells"])


def _zero(axes: Axes, results: Results) -> None:
    """The line of no difference, and the range of those that make no practical one."""
    smallest = results.rules.smallest_effect.top1
    axes.axvline(0, color=plotting.INK, linewidth=1)
    axes.axvspan(-smallest, smallest, color=plotting.INK, alpha=0.1, linewidth=0)


def _interval(axes: Axes, row: JsonObject, place: float, look: JsonObject) -> None:
    axes.plot([row["effect"]], [place], linestyle="none", **look)
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [place, place], color=look["color"], alpha=look["alpha"], linewidth=1.1)
