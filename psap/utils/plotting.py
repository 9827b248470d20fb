"""How every figure looks, and how it becomes a file: one style, the same bytes for the same figure."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so the same text is drawn everywhere
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.labelsize": 8.5,
    "legend.frameon": False,
    "svg.hashsalt": "psap",  # otherwise every SVG gets random identifiers
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}
INK = "#555555"
METADATA: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}  # nothing that differs between two runs
# The method and its ablations are warm and dashed, the baselines cold; markers tell apart what colour alone would not.
WARM = ["#d55e00", "#e69f00", "#8c510a", "#cc79a7", "#882255"]
COLD = ["#0072b2", "#009e73", "#56b4e9", "#332288", "#999933", "#7f7f7f", "#222222", "#44aa99"]


@contextmanager
def styled() -> Iterator[None]:
    """Draw with this module's style, whatever the user's own settings are."""
    with matplotlib.style.context(["default", RC]):
        yield


def whole_numbers(axes: Axes) -> None:
    """Put the x axis' ticks at whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def drawn(figure: Figure, kind: str) -> bytes:
    """The figure as "svg" or "png"."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150, metadata=METADATA[kind])
    figure.set_layout_engine("none")  # laid out by now; once is enough
    return buffer.getvalue()


def embedded(svg: bytes) -> str:
    """An SVG as the source of an HTML image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
