"""The figures over time: allocated ratios and dynamics by pruning step, and learning curves by epoch."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
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
MOST_LABELS = 34


def ratios(results: Results) -> Figure:
    """The ratio allocated to each group at each step, for the claims' method and the first model."""
    suite = results.suite
    history = _history(results, [suite.claims.method])
    if history.empty:
        return style.empty(f"{suite.models[0]} has no run of {suite.claims.method} with a pruning history yet.")
    targets = sorted({min(suite.targets), max(suite.targets)})
    groups = history.drop_duplicates("group").set_index("group")["channels"]
    height = min(6.0, max(1.8, 0.17 * len(groups)))
    figure = Figure(figsize=(4.3 * len(targets) + 1.4, height * len(suite.inits) + 0.8), layout="constrained")
    grid = figure.subplots(len(suite.inits), len(targets), squeeze=False, sharey=True)
    for (row, column), axes in np.ndenumerate(grid):
        init, target = suite.inits[row], targets[column]
        axes.set_title(f"{suite.models[0]}, {style.init_label(init)}, target {100 * target:g} %")
        axes.grid(False)
        table = history[(history["init"] == init) & (history["goal"] == target)].pivot_table(
            index="group", columns="step", values="ratio"
        )
        if table.empty:
            style.blank(axes)
        else:
            _heat_map(axes, table.reindex(groups.index))
    stride = -(-len(groups) // MOST_LABELS)
    labels = [f"{group}  ({channels:g})" for group, channels in groups.items()]
    grid[0, 0].set_yticks(range(0, len(groups), stride), labels[::stride])
    for axes in grid.flat:
        axes.tick_params(axis="y", labelsize=6.5)
    figure.supxlabel("pruning step")
    image = next(axes.images[0] for axes in grid.flat if axes.images)
    figure.colorbar(
        image, ax=grid, label="allocated ratio (share of the group's channels)", shrink=0.8, aspect=35, pad=0.02
    )
    return figure


def _heat_map(axes: Axes, table: pd.DataFrame) -> None:
    """Draw groups (rows) by steps (columns), with a step's number below its column."""
    steps, bottom = table.columns.to_numpy(dtype=float), len(table) - 0.5
    extent = (steps[0] - 0.5, steps[-1] + 0.5, bottom, -0.5)
    axes.imshow(table, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest", extent=extent)
    plotting.whole_numbers(axes)


def dynamics(results: Results) -> Figure:
    """Weight sparsity ratio, gradient pulse and restored channels over the pruning steps, at the highest target."""
    suite, goal = results.suite, max(results.suite.targets)
    methods = [m for m in (suite.claims.method, suite.claims.protection) if m in suite.all_methods]
    history = _history(results, methods)
    history = history[history["goal"] == goal]
    if history.empty:
        return style.empty(f"{suite.models[0]} has no pruning history at the highest target yet.")
    looks = style.looks(suite)
    figure = Figure(figsize=(4.3 * max(len(suite.inits), 1.4), 6.2), layout="constrained")
    grid = figure.subplots(len(LEVELS), len(suite.inits), squeeze=False, sharex="col", sharey="row")
    for (row, column), axes in np.ndenumerate(grid):
        part = history[history["init"] == suite.inits[column]]
        for method in methods:
            _band(axes, part[part["method"] == method], list(LEVELS)[row], looks[method])
        plotting.whole_numbers(axes)
    for axes, init in zip(grid[0], suite.inits, strict=True):
        axes.set_title(f"{suite.models[0]}, {style.init_label(init)}, target {100 * goal:g} %")
    for axes, label in zip(grid[:, 0], LEVELS.values(), strict=True):
        axes.set_ylabel(label)
    if (history["pulse"] > 0).any():  # channels that are held have none
        grid[list(LEVELS).index("pulse"), 0].set_yscale("log")
        grid[list(LEVELS).index("pulse"), 0].yaxis.set_major_formatter(LogFormatter())
    figure.supxlabel("pruning step")
    figure.align_ylabels()
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


def learning(results: Results) -> Figure:
    """Top-1 by epoch at the highest target."""
    suite, looks, goal = results.suite, style.looks(results.suite), max(results.suite.targets)
    figure, panels = style.panels(suite, 2.8, "epochs trained", "top-1 (%)")
    epochs, history = (table[table["goal"] == goal] for table in (results.epochs, results.history))
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
