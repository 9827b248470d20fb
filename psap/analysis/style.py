"""How every figure looks: one style, a colour and marker a method, one layout of panels, one way to save."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from psap.analysis.results import Suite
from psap.utils.files import write_bytes
from psap.utils.plotting import COLD, GROUND, INK, WARM, drawn
from psap.utils.svg import Parts, parts

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
            "markeredgecolor": GROUND,
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
    """A figure of titled panels, one per model and init: (axes, model, init). `x` and `y` label each of them.

    Models stand side by side, inits below each other; a single model's inits stand side by side.
    """
    keys = [(model, init) for init in suite.inits for model in suite.models]
    columns = min(5, len(suite.models)) if len(suite.models) > 1 else len(suite.inits)
    width = {1: 5.0, 2: 4.3, 3: 3.5, 4: 2.9}.get(columns, 2.6)
    figure, parts = columns_of(len(keys), columns, width, height + 0.3)
    found = []
    for part, (model, init) in zip(parts, keys, strict=True):
        axes = part.subplots()
        axes.set_title(f"{model}, {init_label(init)}")
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        found.append((axes, model, init))
    return figure, found


def columns_of(count: int, columns: int, width: float, height: float) -> tuple[Figure, list[SubFigure]]:
    """A figure of `count` parts, each `width` by `height` inches, that a page may set below each other."""
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    return figure, [figure.add_subfigure(grid[divmod(place, columns)]) for place in range(count)]


def init_label(init: str) -> str:
    """The init in words: "pretrained" or "from scratch"."""
    return "from scratch" if init == "scratch" else init


def legend(figure: Figure, entries: dict[str, Any]) -> None:
    """One legend for all panels, above them: label -> Look or any artist."""
    handles = [Line2D([], [], **entry.options()) if isinstance(entry, Look) else entry for entry in entries.values()]
    rows = -(-len(handles) // int(figure.get_figwidth() / 1.4))
    columns = -(-len(handles) // rows)
    figure.legend(handles, list(entries), loc="outside upper center", ncols=columns, handlelength=2.6)


def blank(axes: Axes, reason: str = "no runs yet") -> None:
    """Say in a panel why it is empty."""
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=INK)
    axes.set_xticks([])


def note(figure: Figure, text: str) -> None:
    """Say something below the figure."""
    figure.supxlabel(text)


def save(figure: Figure, stem: Path, told: Mapping[str, str]) -> Parts:
    """Write `stem`.svg and `stem`.png, the same bytes for the same figure; returns its parts, for a page."""
    svg = drawn(figure, "svg")
    write_bytes(stem.with_suffix(".svg"), svg)
    found = parts(figure, svg, told)
    write_bytes(stem.with_suffix(".png"), drawn(figure, "png"))
    return found
