"""A drawn figure in parts: each stands alone, says what it is told to, and takes the reader's light or dark colours."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from psap.utils.plotting import COLD, INK, WARM, drawn, styled
from psap.utils.svg import Parts, parts


@pytest.fixture(scope="module")
def drawing() -> tuple[bytes, Parts]:
    with styled():
        figure = Figure(figsize=(6, 3), layout="constrained")
        for place, part in enumerate(np.ravel(np.asarray(figure.subfigures(1, 2)))):
            axes = part.subplots()
            axes.plot([0, 1], [0, 1 + place], "o-", markeredgecolor="#ffffff")
            axes.plot([0.5], [0.5], "s", gid=f"suite/run{place}")
            axes.set_title(f"panel {place}")
        lines = [Line2D([], [], marker="o", color=INK), Line2D([], [], color="red")]
        figure.legend(lines, ["a & b", "c"], loc="outside upper center", ncols=2)
        svg = drawn(figure, "svg")
        return svg, parts(figure, svg, {"suite/run0": "run 0: <90 %>"})


def test_each_panel_holds_what_it_shows_and_all_that_it_refers_to(drawing: tuple[bytes, Parts]) -> None:
    panels, keys = drawing[1].panels, drawing[1].keys
    assert [re.findall(r"panel \d", panel) for panel in panels] == [["panel 0"], ["panel 1"]]
    assert [label for _, label in keys] == ["a & b", "c"]
    for text in [*panels, *(swatch for swatch, _ in keys)]:
        used = set(re.findall(r"""(?:xlink:href="#|url\(#)([^")]+)""", text))
        assert used <= set(re.findall(r' id="([^"]+)"', text))
    for panel in panels:
        left, _, width, _ = map(float, re.findall(r"[-\d.]+", re.findall(r'viewBox="([^"]+)"', panel)[0]))
        assert width == pytest.approx(3 * 72, abs=5) and left == pytest.approx(panels.index(panel) * 3 * 72, abs=5)


def test_an_artist_of_which_something_is_told_is_a_link_with_a_title(drawing: tuple[bytes, Parts]) -> None:
    first, second = drawing[1].panels
    assert '<a href="#suite/run0"><title>run 0: &lt;90 %&gt;</title>' in first
    assert "<a " not in second and "suite/run1" not in second


def test_ink_is_the_colour_of_the_text_around_it_and_nothing_else_is(drawing: tuple[bytes, Parts]) -> None:
    svg = drawing[0].decode()
    assert svg.count(INK) == 1  # where it is said what it is on a page of its own
    assert "#ffffff" not in svg.replace("var(--ground, #ffffff)", "")
    for text in drawing[1].panels:
        assert "currentColor" in text and "<style" not in text
        assert not re.search(r"\d\.\d{3}", text)


@pytest.mark.parametrize("color", [color for color in [*WARM, *COLD] if color != INK])
def test_every_method_can_be_seen_on_a_light_and_on_a_dark_page(color: str) -> None:
    def luminance(text: str) -> float:
        parts = [int(text[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for ground in ("#ffffff", "#16171a"):
        low, high = sorted(map(luminance, (color, ground)))
        assert (high + 0.05) / (low + 0.05) >= 2.1
