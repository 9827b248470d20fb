"""The report as a page: contents, dots that lead to rows, statements without a number, and a phone's width."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fixture_types import Build
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from psap.analysis import analyse, curves
from psap.analysis.results import collect
from psap.utils.plotting import styled

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """A suite with long names, and one run missing."""
    folder = tmp_path_factory.mktemp("page")
    methods = ("psap", "psap_soft", "sfp", "a_method_with_a_name_that_is_longer_than_others")
    root = build(folder, methods=methods, absent=lambda path: path.endswith("scratch/sfp/0.8/seed2"))
    analyse(root, None)
    return root


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "report.html").read_text()


def test_the_contents_name_every_section(page: str) -> None:
    listed = re.findall(r'<li><a href="#([^"]+)">(.*?)</a>', page)
    headings = re.findall(r'<h2(?: id="([^"]+)")?>(.*?)</h2>', page)
    assert ("", "Contents") in headings and len(listed) >= 8
    assert listed == [heading for heading in headings if heading[1] != "Contents"]


def test_each_run_has_a_dot_that_says_its_numbers_and_leads_to_its_row(root: Path, page: str) -> None:
    dots = dict(re.findall(r'<a href="#(toy/[^"]+)"><title>(.*?)</title>', page))
    rows = re.findall(r'<tr id="(toy/[^"]+)"><td>', page)
    results = collect(root)
    assert rows == [run.run for run in results.runs]
    assert set(dots) == {run.run for run in results.runs if run.init}
    for run in results.runs:
        if run.init and run.result:
            assert f"top-1 {run.result.top1_last:.2f} %" in dots[run.run]


def test_statements_that_no_number_decides_say_what_a_test_would_need(page: str) -> None:
    for claim, reason in {
        "S1": "The suite's 12 runs of psap took 6 pruning steps; none of them pruned once.",
        "S4": "of the suite's 4 methods, none has.",
    }.items():
        row = re.findall(rf'<tr id="{claim}">.*?</tr>', page, re.DOTALL)[0].replace("&#39;", "'")
        assert reason in row and '<span class="badge not-tested">not tested</span>' in row


def test_heat_maps_have_their_numbers_and_a_scale_for_each_panel(root: Path) -> None:
    results = collect(root)
    with styled():
        figure = curves.ratios(results)
    assert figure and len(figure.subfigs) == 4
    history = results.history[results.history["method"] == "psap"]
    limits = []
    for part in figure.subfigs:
        axes = part.axes[0]
        title = axes.get_title(loc="left")
        init = "scratch" if "from scratch" in title else "pretrained"
        goal = float(re.findall(r"target (\d+) %", title)[0]) / 100
        shown = history[(history["init"] == init) & (history["goal"] == goal)]
        ratios = 100 * shown.pivot_table(index="group", columns="step", values="ratio")
        ratios = ratios.reindex(shown["group"].drop_duplicates())
        numbers = [text.get_text() for text in axes.texts]
        assert numbers == [f"{value:.0f}" for value in ratios.to_numpy().ravel()]
        mesh = next(artist for artist in axes.collections if isinstance(artist, QuadMesh))
        values = mesh.get_array()
        assert values is not None and np.allclose(values, ratios - ratios.mean())
        low, high = mesh.get_clim()
        assert low is not None and high == -low == np.abs(values).max()
        limits.append(high)
    assert len(set(np.round(limits, 6))) > 1


def test_of_many_steps_the_last_one_is_shown() -> None:
    with styled():
        axes = Figure().subplots()
    table = pd.DataFrame(np.arange(200.0).reshape(2, 100))
    curves._heat_map(axes, table)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels[-1] == "99" and len(labels) <= curves.MOST_STEPS


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")
def test_on_a_phone_nothing_is_wider_than_the_page(page: str, tmp_path: Path) -> None:
    frame = tmp_path / "frame.html"
    told = "parent.document.title = document.documentElement.scrollWidth <= innerWidth"
    inner = page.replace("&", "&amp;").replace('"', "&quot;").replace("</body>", f"<script>{told}</script></body>")
    frame.write_text(f'<iframe style="width: 390px; border: 0" srcdoc="{inner}"></iframe>')
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        [*command, "--virtual-time-budget=2000", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "<title>true</title>" in done.stdout
