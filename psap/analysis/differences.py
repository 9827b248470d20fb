"""Paired differences: every method against every other in each cell, and the figure of the specification curve."""

from dataclasses import dataclass
from itertools import product

from matplotlib.figure import Figure

from psap.analysis import style
from psap.analysis.contrasts import CELL
from psap.analysis.readings import specification
from psap.analysis.results import Results
from psap.analysis.rules import Rules
from psap.analysis.statistics import shown
from psap.utils import plotting
from psap.utils.mappings import JsonObject


@dataclass(frozen=True)
class Forest:
    """Each method minus one `baseline` in one model and init: method -> target -> effect, interval, and seeds."""

    baseline: str
    model: str
    init: str
    rows: dict[str, dict[float, JsonObject]]

    @property
    def cells(self) -> list[JsonObject]:
        """All of its differences."""
        return [cell for row in self.rows.values() for cell in row.values()]


def forests(results: Results) -> list[Forest]:
    """Forests with each method as the baseline, those that claims compare with first; models and inits as in the suite.

    A method has a place in a forest where a seed has both runs.
    """
    suite = results.suite
    rows = results.rows.loc[results.rows["method"] != "dense", [*CELL, "method", "top1_last"]]
    pairs = rows.merge(rows, on=CELL)
    pairs = pairs[pairs["method_x"] != pairs["method_y"]]
    values = (pairs["top1_last_x"] - pairs["top1_last_y"]).round(9) + 0.0
    keys = [pairs[name] for name in ("method_y", "model", "init", "method_x", "target")]
    cells = {place: _difference(part.tolist(), results.rules) for place, part in values.groupby(keys)}
    found = []
    baselines = dict.fromkeys([*suite.baselines, *suite.all_methods])
    for baseline, init, model in product(baselines, suite.inits, suite.models):
        compared: dict[str, dict[float, JsonObject]] = {}
        for method, target in product(suite.all_methods, suite.targets):
            if cell := cells.get((baseline, model, init, method, target)):
                compared.setdefault(method, {})[target] = cell
        if compared:
            found.append(Forest(baseline, model, init, compared))
    return found


def _difference(values: list[float], rules: Rules) -> JsonObject:
    result = shown(values, rules)
    return {"n": result.n, "effect": result.mean, "low": result.low, "high": result.high}


def curve(results: Results) -> Figure | None:
    """For each method to compare with, effect and interval under each reading, and below them what each one chose."""
    curves = specification(results)
    if not curves:
        return None
    names = list(curves[0]["points"][0]["choices"])
    chosen = {name: {point["choices"][name] for told in curves for point in told["points"]} for name in names}
    levels = [(name, level) for name in names for level in sorted(chosen[name] - {"–"})]
    width = max(4.3, 0.2 * len(curves[0]["points"]) + 2.8)
    heights = [2.4, max(1.0, 0.17 * len(levels))]
    figure, parts = style.columns_of(len(curves), len(curves), width, sum(heights) + 0.4)
    smallest = results.rules.smallest_effect.top1
    for part, told in zip(parts, curves, strict=True):
        above, below = part.subplots(2, sharex=True, height_ratios=heights)
        above.axhline(0, color=plotting.INK, linewidth=1)
        above.axhspan(-smallest, smallest, color=plotting.INK, alpha=0.1, linewidth=0)
        above.set_title(f"{told['claim']}: minus {told['against']}")
        above.set_ylabel("difference of top-1 (points)")
        for place, point in enumerate(told["points"]):
            own = point["reading"] == results.suite.claims.method
            color = plotting.WARM[0] if own else plotting.INK
            above.plot([place], [point["effect"]], "o", color=color, markersize=4)
            if point["low"] is not None:
                above.plot([place, place], [point["low"], point["high"]], color=color, linewidth=1.1)
            marked = [index for index, (name, level) in enumerate(levels) if point["choices"][name] == level]
            below.plot([place] * len(marked), marked, "s", color=color, markersize=3.5)
        below.set_xticks([])
        below.set_yticks(
            range(len(levels)),
            [f"{name.rpartition('.')[2]}: {level}".replace("_", " ") for name, level in levels],
            fontsize=6.5,
        )
        below.set_ylim(len(levels) - 0.5, -0.5)
    return figure
