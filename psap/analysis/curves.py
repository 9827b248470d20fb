"""The figures over time: allocated ratios and dynamics by pruning step, and learning curves by epoch."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatter

from psap.analysis import style
from psap.analysis.results import Results
from psap.utils import plotting

LEVELS = {
    "sparsity": "weight sparsity ratio",
    "pulse": "gradient pulse\n(pruned / kept)",
    "restored": "restored channels\nof a group",
}
MOST_LABELS, MOST_STEPS = 34, 14
# Less and more than the mean, which has no shade: numbers can be read on them, on a light and on a dark page.
_ENDS = ((plotting.COLD[0], 0.75), (plotting.COLD[0], 0.0), (plotting.WARM[0], 0.0), (plotting.WARM[0], 0.75))
SHADES = LinearSegmentedColormap.from_list("shades", [(*to_rgb(color), alpha) for color, alpha in _ENDS])


def ratios(results: Results) -> Figure | None:
    """The ratio allocated to each group at each step, for the claims' method and the first model."""
    suite = results.suite
    history = _history(results, [suite.claims.method])
    if history.empty:
        return None
    targets = sorted({min(suite.targets), max(suite.targets)})
    groups = history.drop_duplicates("group").set_index("group")["channels"]
    height = min(6.0, max(1.8, 0.17 * len(groups))) + 0.9
    figure, parts = style.columns_of(len(suite.inits) * len(targets), len(targets), 4.3, height)
    for part, (init, target) in zip(parts, product(suite.inits, targets), strict=True):
        axes = part.subplots()
        axes.set_title(f"{style.init_label(init)}, target {100 * target:g} %")
        axes.set_xlabel("pruning step")
        axes.grid(False)
        table = history[(history["init"] == init) & (history["goal"] == target)].pivot_table(
            index="group", columns="step", values="ratio"
        )
        if table.empty:
            style.blank(axes)
        else:
            _heat_map(axes, 100 * table.reindex(groups.index))
        stride = -(-len(groups) // MOST_LABELS)
        labels = [f"{group}  ({channels:g})" for group, channels in groups.items()]
        axes.set_yticks(range(0, len(groups), stride), labels[::stride])
        axes.tick_params(axis="y", labelsize=6.5)
    return figure


def _heat_map(axes: Axes, table: pd.DataFrame) -> None:
    """Draw groups (rows) by steps (columns) with their numbers, shaded by how far each is from its step's mean.

    Of many steps so many are shown, the last one among them, that the numbers can be read.
    """
    stride = -(-len(table.columns) // MOST_STEPS)
    table = table.iloc[:, ::-1].iloc[:, ::stride].iloc[:, ::-1]
    values = table.to_numpy(dtype=float)
    apart = (table - table.mean()).to_numpy(dtype=float)
    widest = np.nanmax(np.abs(apart)) or 1.0
    edges = (np.arange(length + 1) - 0.5 for length in values.T.shape)
    axes.pcolormesh(*edges, apart, cmap=SHADES, vmin=-widest, vmax=widest)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xticks(range(values.shape[1]), [f"{step:g}" for step in table.columns])
    if len(values) <= MOST_LABELS:
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                axes.text(column, row, f"{value:.0f}", ha="center", va="center_baseline", fontsize=6.5)


def dynamics(results: Results) -> Figure | None:
    """Weight sparsity ratio, gradient pulse and restored channels over the pruning steps, at the highest target."""
    suite, goal = results.suite, max(results.suite.targets)
    methods = [m for m in (suite.claims.method, suite.claims.protection) if m in suite.all_methods]
    history = _history(results, methods)
    history = history[history["goal"] == goal]
    if history.empty:
        return None
    looks = style.looks(suite)
    figure, parts = style.columns_of(len(suite.inits), len(suite.inits), 4.3, 5.8)
    for part, init in zip(parts, suite.inits, strict=True):
        column = part.subplots(len(LEVELS), sharex=True)
        column[0].set_title(f"{style.init_label(init)}, target {100 * goal:g} %")
        column[-1].set_xlabel("pruning step")
        shown = history[history["init"] == init]
        for axes, (level, label) in zip(column, LEVELS.items(), strict=True):
            for method in methods:
                _band(axes, shown[shown["method"] == method], level, looks[method])
            axes.set_ylabel(label)
            if shown[level].isna().all():
                style.blank(axes, "none was recorded")
                axes.set_yticks([])
            if level == "pulse" and (shown["pulse"] > 0).any():  # channels that are held have none
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(LogFormatter())
        plotting.whole_numbers(column[-1])
        part.align_ylabels()
    style.legend(figure, {method: looks[method] for method in methods})
    return figure


def _band(axes: Axes, history: pd.DataFrame, level: str, look: style.Look) -> None:
    """Median and range over groups of `level` at each step, after the mean over seeds."""
    values = history.groupby(["step", "group"])[level].mean().dropna()
    if level == "pulse":
        values = values[values > 0]
    bands = values.groupby("step").agg(["median", "min", "max"])
    axes.fill_between(bands.index, bands["min"], bands["max"], color=look.color, alpha=0.15, linewidth=0)
    axes.plot(bands.index, bands["median"], **look.options(), zorder=look.depth)


def learning(results: Results) -> Figure | None:
    """Top-1 by epoch at the highest target."""
    suite, looks, goal = results.suite, style.looks(results.suite), max(results.suite.targets)
    epochs, history = (table[table["goal"] == goal] for table in (results.epochs, results.history))
    if epochs.empty:
        return None
    figure, panels = style.panels(suite, 2.8, "epochs trained", "top-1 (%)")
    for axes, model, init in panels:
        curves, steps = (t[(t["model"] == model) & (t["init"] == init)] for t in (epochs, history))
        for method in suite.all_methods:
            curve = curves[curves["method"] == method].groupby("epoch")["top1"].mean().dropna()
            pruned = steps.loc[steps["method"] == method, "epoch"]
            # A step's epoch counts the epochs before it, so the masks of step e are scored after epoch e + 1 at first.
            final = np.flatnonzero(curve.index > pruned.max())[:1].tolist()
            axes.plot(curve.index, curve, **looks[method].options(), markevery=final, zorder=looks[method].depth)
            if method == suite.claims.method and len(pruned):
                axes.axvspan(pruned.min(), pruned.max(), color=looks[method].color, alpha=0.08, linewidth=0)
        plotting.whole_numbers(axes)
        if curves.empty:
            style.blank(axes)
    entries: dict[str, Any] = {method: looks[method] for method in suite.all_methods}
    if not history[history["method"] == suite.claims.method].empty:
        entries[f"{suite.claims.method} prunes"] = Patch(color=plotting.WARM[0], alpha=0.15, linewidth=0)
    style.legend(figure, entries)
    return figure


def _history(results: Results, methods: list[str]) -> pd.DataFrame:
    """The pruning history of some methods on the suite's first model."""
    history = results.history
    return history[(history["model"] == results.suite.models[0]) & history["method"].isin(methods)]
