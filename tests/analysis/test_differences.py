"""Paired differences from any method that is chosen: means over seeds, and the page's choice of them."""

import json
import re
from pathlib import Path

import pytest
from fixture_types import Build

from psap.analysis import analyse
from psap.analysis.differences import Forest, forests
from psap.analysis.results import Results, collect
from psap.analysis.verdicts import hardest


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    folder = tmp_path_factory.mktemp("differences")
    return build(folder, absent=lambda path: "scratch/l1/0.8" in path or "pretrained/sfp/0.5/seed0" in path)


@pytest.fixture(scope="module")
def results(root: Path) -> Results:
    return collect(root)


def test_a_difference_is_the_mean_over_the_seeds_that_both_have(results: Results) -> None:
    rows = results.rows.set_index(["init", "method", "target", "seed"])["top1_last"]
    found = forests(results)
    assert [(f.baseline, f.init) for f in found[:2]] == [("sfp", "pretrained"), ("sfp", "scratch")]
    for forest in found:
        assert forest.baseline not in forest.rows
        for method, row in forest.rows.items():
            for target, cell in row.items():
                pairs = rows[forest.init, method, target] - rows[forest.init, forest.baseline, target]
                assert cell["effect"] == pytest.approx(pairs.dropna().mean())
                assert cell["n"] == pairs.dropna().size
                assert (cell["low"] is None) == (cell["n"] < 3)
                assert cell["low"] is None or cell["low"] < cell["effect"] < cell["high"]


def test_what_is_not_run_has_no_place(results: Results) -> None:
    [forest] = [f for f in forests(results) if (f.baseline, f.init) == ("l1", "scratch")]
    assert all(list(row) == [0.5] for row in forest.rows.values())


def test_exchanged_methods_have_the_opposite_difference(results: Results) -> None:
    cells: dict[tuple[str, str, str, float], float] = {
        (f.init, f.baseline, method, target): cell["effect"]
        for f in forests(results)
        for method, row in f.rows.items()
        for target, cell in row.items()
    }
    assert all(effect == -cells[init, other, one, target] for (init, one, other, target), effect in cells.items())


def test_the_page_has_each_of_them_and_first_that_of_the_claims_table(root: Path, results: Results) -> None:
    analyse(root, None)
    page = (root / "report.html").read_text()
    found: list[Forest] = forests(results)
    assert len(re.findall(r'<table class="forest minus-\d+"', page)) == len(found)
    labels = re.findall(r'id="minus-\d+"( checked)?> (\w+)<', page)
    claims = json.loads((root / "claims.json").read_text())["claims"]
    least = hardest(next(claim for claim in claims if claim["id"] == "S5a"))
    assert least and [name for checked, name in labels if checked] == [least["baseline"]]
    assert [name for _, name in labels] == list(dict.fromkeys(f.baseline for f in found))
    for place, (_, name) in enumerate(labels, 1):
        assert re.findall(rf'minus-{place}".*\n<caption>.*minus <code>(\w+)<', page) == [name] * 2
