"""A picture of a network's groups: how wide each is, what it could lose, and which stay whole."""

import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from psap.utils.mappings import JsonObject
from psap.utils.plotting import COLD, WARM, drawn, styled

_GOES = "#d9d8d2"


def groups_svg(rows: Sequence[JsonObject]) -> bytes:
    """Rows of `inspect_network` as an SVG: a bar for each group, in the order of the layers."""
    with styled():
        return drawn(_figure(rows), "svg")


def _figure(rows: Sequence[JsonObject]) -> Figure:
    figure = Figure(figsize=(7.0, 0.9 + 0.16 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for label, color, left, width in (
        ("stays", WARM[0], [0] * len(rows), [0 if row["reason"] else row["channels"] - row["most"] for row in rows]),
        ("stays whole", COLD[0], [0] * len(rows), [row["channels"] if row["reason"] else 0 for row in rows]),
        ("could go", _GOES, [row["channels"] - (row["most"] or 0) for row in rows], [row["most"] or 0 for row in rows]),
    ):
        axes.barh(range(len(rows)), width, left=left, color=color, label=label)
    for place, row in enumerate(rows):
        axes.text(row["channels"], place, f"  {_told(row)}", va="center", fontsize=6)
    axes.set_yticks(range(len(rows)), [row["group"] for row in rows], fontsize=6.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("channels")
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def _told(row: JsonObject) -> str:
    """What stands behind a bar: its layers where they are several, its share of the cost, why it stays whole."""
    layers = len(row["layers"].split())
    said = [f"{layers} layers"] if layers > 1 else []
    reason = [textwrap.shorten(row["reason"], 60, placeholder=" …")] if row["reason"] else []
    return ", ".join([*said, f"{row['macs']:.0%} of the cost", *reason])
