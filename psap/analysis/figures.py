"""FIGURES: all figures of a suite, with captions that say how to read them."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from psap.analysis import accuracy, curves, differences, style
from psap.analysis.parts import PARTS, attributable
from psap.analysis.results import Results
from psap.analysis.settings import chooses
from psap.analysis.tables import number
from psap.utils import plotting
from psap.utils.svg import Parts


@dataclass(frozen=True)
class Plot:
    """A figure of the report: how it is drawn, its title, and how to read it."""

    draw: Callable[[Results], Figure | None]  # None where there is nothing to draw
    title: str
    caption: str  # with _words() put in


FIGURES = {
    "accuracy": Plot(
        accuracy.accuracy,
        "Accuracy against compression",
        "Top-1 of the last epoch against the multiply-adds removed, as counted on the compact network. Marks are means "
        "over seeds, faint dots the seeds, and bars {interval} t-intervals, drawn from {least} seeds on (they may "
        "leave the panel). A dot says which run it is, and leads to its row. The dashed line is the dense network. "
        "Methods are shifted sideways a little so that they do not cover each other; the table has the exact "
        "reductions. Higher is better.",
    ),
    "ablation": Plot(
        accuracy.ablation,
        "What each part contributes",
        "Top-1 of {method} minus that of its ablation, paired by seed: {ablations}. Above 0 the part helps. Large "
        "marks are means over seeds, dots the seeds, bars {interval} t-intervals from {least} seeds on.",
    ),
    "ratios": Plot(
        curves.ratios,
        "Where the method prunes",
        "Percent of each group's channels that the allocation of {method} asks for at each pruning step, for {model}, "
        "at {targets}; mean over seeds. Orange is more than the mean of that step's groups, blue less, on a scale of "
        "each panel. Groups stand in the order of the network, with their number of channels.",
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
        accuracy.settings,
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


def draw(results: Results, folder: Path) -> dict[str, Parts]:
    """Write to `folder` every figure that has something to show, as SVG and PNG; returns their parts, for a page."""
    told = {row["run"]: _told(row) for row in results.rows.to_dict("records")}
    found = {}
    folder.mkdir(exist_ok=True)
    with plotting.styled():
        for name, plot in plots(results).items():
            if figure := plot.draw(results):
                if results.divergence:
                    style.note(figure, f"{results.divergence} and are not shown")
                found[name] = style.save(figure, folder / name, told)
    for name in {*FIGURES, *SETTINGS, *READINGS} - set(found):  # of rows that were there before
        for kind in plotting.METADATA:
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    return found


def _told(row: dict[Hashable, Any]) -> str:
    """What a run's dot says."""
    return (
        f"{row['run']}: top-1 {number(row['top1_last'])} %, multiply-adds {number(-100 * row['macs_reduction'], 1)} %"
    )
