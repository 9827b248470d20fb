"""A claim about a part of the method is judged only where the runs compared differ in that part alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
from fixture_types import Build, Seal

from psap.analysis.claims import judge
from psap.analysis.figures import plots
from psap.analysis.parts import attributable, played
from psap.analysis.results import Results, collect
from psap.analysis.style import looks
from psap.utils.mappings import JsonObject

OURS = ["psap", "psap_soft", "psap_hard", "psap_uniform", "psap_plain"]
SOFT, HARD = {"reconstruction": "soft", "protection": None}, {"reconstruction": "hard", "protection": None}
UNIFORM = {"allocation": "uniform", "sparsity": None}
ONE = "psap and psap_soft are one composition under two names, so nothing tells them apart."
NONE = "psap does not have the part: its reconstruction is soft."
MORE = "{} differs from psap in more than {}: {} too."


class Changed(Protocol):
    """A suite in which the methods' parameters are changed in the runs that have `only` in their path."""

    def __call__(self, changes: Mapping[str, JsonObject], only: str = "", **suite: Any) -> Results: ...


@pytest.fixture
def changed(tmp_path: Path, build: Build, seal: Seal) -> Changed:
    """A suite with the method, its ablations and baselines, in which methods have other parameters than usual."""

    def make(changes: Mapping[str, JsonObject], only: str = "", **suite: Any) -> Results:
        grid = {"methods": [*OURS, "sfp", "l1"], "targets": [0.5], "epochs": 2, "groups": {"conv": 4}} | suite
        root = build(tmp_path, **grid)
        for file in root.rglob("run.json"):
            row = json.loads(file.read_text())
            if row["method"] in changes and only in str(file):
                values = row["config"]["method"] | changes[row["method"]]
                row["config"]["training"]["recipe"]["lr"] = values.pop("lr", 0.1)
                row["config"] |= {"code": values.pop("code")} if "code" in values else {}
                row["config"]["method"] = {name: value for name, value in values.items() if value is not None}
                file.write_text(seal(row))
        return collect(root)

    return make


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, {}),
        # The method edited in place, as if that ablated it: protection off, adaptivity off, both.
        ({"psap": SOFT}, {"S2": MORE.format("psap_uniform", "adaptivity", "protection, reconstruction"), "S3": ONE,
                          "S3b": NONE}),
        ({"psap": HARD}, {"S2": MORE.format("psap_uniform", "adaptivity", "protection, reconstruction"),
                          "S3": NONE.replace("soft", "hard"), "S3b": ONE.replace("soft", "hard")}),
        ({"psap": UNIFORM}, {"S2": ONE.replace("soft", "uniform"),
                             "S3": MORE.format("psap_soft", "protection", "allocation, sparsity"),
                             "S3b": MORE.format("psap_hard", "protection", "allocation, sparsity")}),
        # An ablation that ablates something else, or more.
        ({"psap_soft": {"reconstruction": "hard"}},
         {"S3": "psap_soft is not psap without protection: its reconstruction is hard, not soft."}),
        ({"psap_uniform": {"allocation": "global"}},
         {"S2": "psap_uniform is not psap without adaptivity: its allocation is global, not uniform."}),
        ({"psap_soft": {"criterion": "l1"}}, {"S3": MORE.format("psap_soft", "protection", "criterion")}),
        ({"psap_soft": {"lr": 0.7}}, {"S3": MORE.format("psap_soft", "protection", "lr")}),
        ({"psap_soft": {"round_to": 8}}, {"S3": MORE.format("psap_soft", "protection", "round_to")}),
        ({"psap_uniform": {"window": 3}}, {"S2": MORE.format("psap_uniform", "adaptivity", "window")}),
        ({"psap_hard": {"code": {"file": "own.py", "sha256": "0"}}},
         {"S3b": MORE.format("psap_hard", "protection", "code")}),
        ({"psap_soft": {"schedule": {"kind": "one_shot", "freeze": 0.3}}},
         {"S3": MORE.format("psap_soft", "protection", "schedule")}),
    ],
)  # fmt: skip
def test_what_a_comparison_does_not_speak_of_is_not_tested(
    changed: Changed, changes: dict[str, JsonObject], reasons: dict[str, str]
) -> None:
    lr = {name: {"lr": 0.1} for name in OURS}
    results = changed({name: lr[name] | changes.get(name, {}) for name in OURS})
    verdicts = {verdict["id"]: verdict for verdict in judge(results)}
    for claim in ("S2", "S3", "S3b"):
        untested = (verdicts[claim]["verdict"], verdicts[claim]["comparisons"]) == ("not tested", [])
        assert untested == (claim in reasons)
        assert not untested or verdicts[claim]["reason"] == reasons[claim]
    roles = {"S2": "adaptivity", "S3": "protection", "S3b": "hard"}
    assert set(roles.values()) - set(attributable(results)) == {roles[claim] for claim in reasons}
    for claim in reasons:
        other = getattr(results.suite.claims, roles[claim])
        assert played(results)[other].startswith("none: not ")
        assert other not in plots(results)["ablation"].caption


def test_one_init_that_differs_is_enough(changed: Changed) -> None:
    results = changed({"psap_soft": {"criterion": "l1"}}, only="/scratch/")
    verdicts = {verdict["id"]: verdict["verdict"] for verdict in judge(results)}
    assert verdicts["S3"] == "not tested" != verdicts["S2"]


def test_the_method_under_another_name_is_no_baseline(changed: Changed) -> None:
    same: JsonObject = {"allocation": "sparsity", "reconstruction": "protective"}
    same |= {name: {"own": 1} for name in ("sparsity", "protection")} | {"lr": 0.1}
    results = changed({"psap": same, "sfp": same})
    [claim] = [verdict for verdict in judge(results) if verdict["id"] == "S5a"]
    assert [comparison["baseline"] for comparison in claim["comparisons"]] == ["l1"]
    assert claim["reason"].endswith("Left out: sfp, psap under another name.")
    assert played(results)["sfp"] == "none: the method under another name"


def test_with_no_other_baseline_there_is_none(changed: Changed) -> None:
    same = {"allocation": "uniform", "reconstruction": "hard", "sparsity": None, "protection": None, "lr": 0.1}
    results = changed({"psap": same, "l1": same}, methods=["psap", "l1"])
    [claim] = [verdict for verdict in judge(results) if verdict["id"] == "S5a"]
    assert (claim["verdict"], claim["comparisons"]) == ("not tested", [])


def test_a_variant_of_the_method_is_no_other_method(changed: Changed) -> None:
    variants = {"psap_free": {"base": "psap"}, "psap_late": {"base": "psap_soft"}, "l1_late": {"base": "l1"}}
    results = changed({}, methods=["psap", "l1", *variants], variants=variants)
    [claim] = [verdict for verdict in judge(results) if verdict["id"] == "S5a"]
    assert [comparison["baseline"] for comparison in claim["comparisons"]] == ["l1", "l1_late"]
    assert played(results) | {"psap_free": "none: a variant", "psap_late": "none: a variant"} == played(results)
    assert set(looks(results.suite)) > {*variants}  # and it is drawn


@pytest.mark.parametrize("methods", [["psap", "psap_soft", "l1"], ["psap", "psap_uniform"], ["sfp", "l1"]])
def test_captions_name_only_what_the_suite_has(changed: Changed, methods: list[str]) -> None:
    captions = {name: plot.caption for name, plot in plots(changed({}, methods=methods)).items()}
    absent = [name for name in (*OURS[1:], "sfp", "l1") if name not in methods]
    assert not [(name, word) for name, text in captions.items() for word in absent if word in text.split()]
    assert ("without adaptivity" in captions["ablation"]) == ("psap_uniform" in methods)
    assert "pruning hard" not in captions["ablation"]
    assert ("shaded" in captions["learning"]) == ("psap" in methods)
    assert not any("{" in text for text in captions.values())
