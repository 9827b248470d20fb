"""How every figure looks, and how it becomes a file: one style, the same bytes for the same figure."""

import io
import re
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
    "axes.facecolor": "none",  # the page's own ground, light or dark
    "grid.linewidth": 0.6,
    "grid.alpha": 0.13,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.labelsize": 8.5,
    "figure.facecolor": "none",
    "figure.dpi": 72,  # a pixel is a point, as in SVG
    "legend.frameon": False,
    "svg.fonttype": "none",  # letters stay letters: smaller, and they can be searched
    "svg.hashsalt": "psap",  # otherwise every SVG gets random identifiers
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
}
INK = "#1d1d1b"  # in an SVG this becomes the colour of the text around it
GROUND = "#ffffff"  # and this the colour behind it
_INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
RC |= dict.fromkeys(_INKED, INK)
METADATA: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}}  # nothing that differs between two runs
# The method and its ablations are warm and dashed, the baselines cold; markers tell apart what colour alone would not.
# All of them can be seen on white and on black.
WARM = ["#d55e00", "#e69f00", "#a5672a", "#cc79a7", "#b0447c"]
COLD = ["#0072b2", "#009e73", "#56b4e9", "#7a6fd0", "#999933", "#7f7f7f", INK, "#44aa99"]
_THEME = (
    f"<style>svg {{ color: {INK}; }} "
    "@media (prefers-color-scheme: dark) { svg { color: #e6e4de; --ground: #16171a; } }</style>"
)
_FALLBACK = "'DejaVu Sans', Verdana, sans-serif"  # the same widths, where the font is not there


@contextmanager
def styled() -> Iterator[None]:
    """Draw with this module's style, whatever the user's own settings are."""
    with matplotlib.style.context(["default", RC]):
        yield


def whole_numbers(axes: Axes) -> None:
    """Put the x axis' ticks at whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def drawn(figure: Figure, kind: str) -> bytes:
    """The figure as "svg", in the colours of what is around it, or as "png" on white."""
    buffer = io.BytesIO()
    ground = GROUND if kind == "png" else "none"
    figure.savefig(buffer, format=kind, dpi=150, facecolor=ground, metadata=METADATA[kind])
    figure.set_layout_engine("none")  # laid out by now; once is enough
    return _themed(buffer.getvalue().decode()).encode() if kind == "svg" else buffer.getvalue()


def _themed(svg: str) -> str:
    """The SVG with the reader's light or dark colours, and no more digits than can be seen."""
    svg = re.sub(r"(?<![\w.#-])-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", svg)
    svg = svg.replace(INK, "currentColor").replace(GROUND, f"var(--ground, {GROUND})")
    svg = svg.replace("'DejaVu Sans'", _FALLBACK)
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {_THEME}", svg, count=1)
