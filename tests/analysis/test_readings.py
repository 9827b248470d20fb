"""Readings of the method: variants of suites that list them, and the specification curve over them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_types import Build, Seal

from psap.analysis import analyse
from psap.analysis.readings import choices, read_readings, specification
from psap.analysis.results import Results, collect
from psap.errors import PsapError
from psap.suites.grid import load_grid

READINGS: dict[str, Any] = {name: {"base": "psap"} for name in ("late", "early", "absent")}
LEADS = {"psap": 0.0, "late": 2.0, "early": -1.0, "psap_hard": 0.0, "l1": 0.5}
WHEN = {"psap": "after", "late": "after", "early": "before"}


@pytest.fixture
def root(tmp_path: Path, build: Build, seal: Seal) -> Path:
    top1 = lambda model, init, method, target, seed: 80 + LEADS[method] + 0.01 * seed * LEADS[method]  # noqa: E731
    grid = {"methods": list(LEADS), "inits": ["pretrained"], "targets": [0.8], "epochs": 2, "seeds": 4, "top1": top1}
    root = build(tmp_path, dense=lambda model, seed: 90.0, variants={n: READINGS[n] for n in ("late", "early")}, **grid)
    for file in root.rglob("run.json"):
        row = json.loads(file.read_text())
        if row["method"] in WHEN:
            parts = {
                "reconstruction": "protective",
                "allocation": "sparsity",
                "protection": {"when": WHEN[row["method"]]},
            }
            row["config"]["method"] = parts | ({"window": 3} if row["method"] == "late" else {})
            file.write_text(seal(row))
    return root


def results_of(root: Path) -> Results:
    return collect(root, readings=READINGS)


def test_the_curve_is_sorted_and_says_what_each_reading_chose(root: Path) -> None:
    results = results_of(root)
    assert choices(results) == {
        "psap": {"protection.when": "after"},
        "late": {"protection.when": "after"},
        "early": {"protection.when": "before"},
    }
    curves = {curve["against"]: curve for curve in specification(results)}
    assert {name: curve["claim"] for name, curve in curves.items()} == {"psap_hard": "S3b", "l1": "S5a"}
    points = curves["psap_hard"]["points"]
    assert [point["reading"] for point in points] == ["early", "psap", "late"]
    expected = [np.mean([LEADS[p["reading"]] * (1 + 0.01 * seed) for seed in range(4)]) for p in points]
    assert [point["effect"] for point in points] == pytest.approx(expected)
    assert [point["verdict"] for point in points] == ["not supported", "equivalent", "supported"]
    assert all(point["p"] <= point["p_holm"] for point in points)


def test_a_suite_without_readings_has_no_curve(root: Path) -> None:
    assert specification(collect(root)) == [] == specification(collect(root, readings={"absent": {}}))


def test_it_is_in_the_report_and_drawn(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "readings.yaml"
    file.write_text("".join(f"{name}: {{base: psap}}\n" for name in READINGS))
    analyse(root, readings=file)
    report = (root / "report.html").read_text()
    assert 'id="specification"' in report and report.count('id="readings"') == 1
    assert "protection.when before" in report and (root / "figures" / "readings.svg").stat().st_size > 5000
    first = (root / "figures" / "readings.svg").read_bytes()
    analyse(root, readings=file)
    assert (root / "figures" / "readings.svg").read_bytes() == first


def test_a_suite_may_list_every_reading_of_the_project(
    root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    params = request.config.rootpath / "params"
    readings = read_readings(params / "readings.yaml")
    assert len(readings) >= 8
    assert {"when", "signal", "rest"} <= set.intersection(*(set(values["protection"]) for values in readings.values()))
    for name in ("methods.yaml", "readings.yaml", "demo.yaml"):
        (tmp_path / name).write_text((params / name).read_text())
    (tmp_path / "every.yaml").write_text(f"base: demo\nmethods: {{pretrained: [psap, l1, {', '.join(readings)}]}}\n")
    grid = load_grid(tmp_path, "every")
    made = {
        name: json.dumps(r.config.described()["method"]) for r in grid.runs.values() if (name := r.method) in readings
    }
    assert len(made) == len(set(made.values())) == len(readings), "no two are the same"
    described = grid.describe({})["variants"]
    assert described == readings and load_grid(tmp_path, "demo").describe({})["variants"] == {}


def test_a_wrong_reading_is_told_where_it_stands(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    params = request.config.rootpath / "params"
    for name in ("methods.yaml", "demo.yaml"):
        (tmp_path / name).write_text((params / name).read_text())
    for text, said in (
        ("one: {base: psap, protection: {wen: after}, scratch: null}", "one: protection.wen: unknown key"),
        ("one: 3", "one: must be a mapping"),
        ("psap: {base: l1}", "psap: there is a method of this name already"),
        ("one: {base: nobody}", "one.base: unknown method 'nobody'"),
    ):
        (tmp_path / "readings.yaml").write_text(text)
        with pytest.raises(PsapError) as caught:
            load_grid(tmp_path, "demo")
        assert str(caught.value).startswith(f"{tmp_path / 'readings.yaml'}: {said}")
