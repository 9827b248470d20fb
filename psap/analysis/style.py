"""How every figure looks: one style, a colour and marker a method, one layout of panels, one way to save."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psap.analysis.results import Suite
from psap.utils.files import write_bytes
from psap.utils.plotting import COLD, INK, METADATA, WARM, drawn

Line = str | tuple[float, tuple[float, ...]]
DASHES: list[Line] = ["-", (0, (4, 1.5)), (0, (2.5, 1)), (0, (1.5, 1)), (0, (5, 1, 1, 1))]
MARKERS = ["s", "^", "D", "v", "P", "X", "<", ">", "p", "h"]


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    color: str
    marker: str
    line: Line
    width: float
    depth: float  # drawing order: the method lies above all others

    def options(self) -> dict[str, Any]:
        """Arguments of Axes.plot for a line with markers."""
        return {
            "color": self.color,
            "marker": self.marker,
            "linestyle": self.line,
            "linewidth": self.width,
            "markersize": 4.5,
            "markeredgecolor": "white",
            "markeredgewidth": 0.5,
        }


def looks(suite: Suite) -> dict[str, Look]:
    """The look of every method of the suite, the same in all its figures."""
    roles = suite.claims
    table = {}
    for index, method in enumerate(roles.ours):
        marker = "o" if index == 0 else MARKERS[-index]
        width, depth = (2.2, 4.0) if index == 0 else (1.3, 3.5)
        table[method] = Look(WARM[index], marker, DASHES[index], width, depth)
    for index, method in enumerate([*suite.baselines, *suite.own_variants]):
        table[method] = Look(COLD[index % len(COLD)], MARKERS[index % (len(MARKERS) - len(WARM) + 1)], "-", 1.2, 3.0)
    return table


def panels(suite: Suite, height: float, x: str, y: str) -> tuple[Figure, list[tuple[Axes, str, str]]]:
    """A figure of titled panels, one per model and init: (axes, model, init). `x` and `y` label all of them.

    Models stand side by side, inits below each other; a single model's inits stand side by side.
    """
    keys = [(model, init) for init in suite.inits for model in suite.models]
    columns = min(5, len(suite.models)) if len(suite.models) > 1 else len(suite.inits)
    rows = -(-len(keys) // columns)
    width = {1: 6.0, 2: 4.3, 3: 3.5, 4: 2.9}.get(columns, 2.6)
    figure = Figure(figsize=(width * columns, height * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes in grid[len(keys) :]:
        axes.set_visible(False)
    for axes, (model, init) in zip(grid, keys, strict=False):
        axes.set_title(f"{model}, {init_label(init)}")
    figure.supxlabel(x)
    figure.supylabel(y)
    return figure, [(axes, *key) for axes, key in zip(grid, keys, strict=False)]


def init_label(init: str) -> str:
    """The init in words: "pretrained" or "from scratch"."""
    return "from scratch" if init == "scratch" else init


def legend(figure: Figure, entries: dict[str, Any]) -> None:
    """One legend for all panels, above them: label -> Look or any artist."""
    handles = [Line2D([], [], **entry.options()) if isinstance(entry, Look) else entry for entry in entries.values()]
    rows = -(-len(handles) // int(figure.get_figwidth() / 1.4))
    columns = -(-len(handles) // rows)
    figure.legend(handles, list(entries), loc="outside upper center", ncols=columns, handlelength=2.6)


def blank(axes: Axes) -> None:
    """Say in a panel that it has no runs yet."""
    axes.text(0.5, 0.5, "no runs yet", transform=axes.transAxes, ha="center", va="center", color=INK)
    axes.set_xticks([])


def note(figure: Figure, text: str) -> None:
    """Say something below the figure."""
    figure.supxlabel("\n".join(filter(None, [figure.get_supxlabel(), text])))


def empty(reason: str) -> Figure:
    """A figure that says why there is nothing to draw, so that the expected file is always there."""
    figure = Figure(figsize=(5.6, 1.2), layout="constrained")
    figure.text(0.5, 0.5, reason, ha="center", va="center", color=INK)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.svg and `stem`.png, the same bytes for the same figure."""
    for kind in METADATA:
        write_bytes(stem.with_suffix(f".{kind}"), drawn(figure, kind))
