"""Runs that diverged: in no mean, figure or test, and missed wherever they are missing."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from fixture_types import Build

from psap.analysis import analyse
from psap.analysis.claims import judge
from psap.analysis.results import collect
from psap.analysis.tables import NOTE_DIVERGED
from psap.errors import PsapError
from psap.utils.mappings import JsonObject

BASE = 80.0
GRID = {"inits": ["pretrained"], "targets": [0.5], "methods": ["psap", "psap_soft", "sfp"], "epochs": 2}
LEAD = {"psap": 0.0, "psap_soft": 5.0, "sfp": 4.0}


def top1(model: str, init: str, method: str, target: float, seed: int) -> float:
    return BASE + seed - LEAD[method] - 0.01 * seed * LEAD[method]


def diverge(root: Path, lost: Callable[[str], bool]) -> Path:
    """Let the rows of some runs say that they diverged, and leave them no other number."""
    for file in root.rglob("run.json"):
        row = json.loads(file.read_text())
        if lost(row["run"]):
            row |= {"result": None, "cost": {}, "diverged": {"epoch": 2, "what": "the loss is nan"}}
            file.write_text(json.dumps(row))
            (file.parent / "epochs.csv").write_text(
                "epoch,lr,train_loss,loss,top1,reduction,pruned,restored\n1,1,,,,0,0,0\n"
            )
    return root


def test_they_are_told_and_nothing_is_made_of_them(tmp_path: Path, build: Build) -> None:
    suite = GRID | {"top1": top1, "dense": lambda model, seed: BASE, "seeds": 4}
    whole, root = build(tmp_path / "whole", **suite), build(tmp_path / "lost", **suite)
    diverge(root, lambda path: "/psap/0.5/seed3" in path)
    analyse(root, None)
    path = "toy/resnet8/pretrained/psap/0.5/seed3"
    rows = pd.read_csv(root / "runs.csv").set_index("run")
    assert rows.loc[path, "diverged"] == "the loss is nan" and rows["top1_last"].isna()[path]
    assert rows["diverged"].notna().sum() == 1 and "1000000,1000000" in (root / "runs.csv").read_text(), (
        "no broken counts"
    )
    table = pd.read_csv(root / "table.csv").set_index("method")
    assert [table.loc["psap", name] for name in ("n", "diverged")] == [3, 1] and table.loc["sfp", "diverged"] == 0
    assert table.loc["psap", "top1_last_mean"] == pytest.approx(BASE + 1)
    assert "| 3 (1 of 4 diverged) |" in (root / "table.md").read_text()
    for name in ("table.md", "table.tex"):
        assert NOTE_DIVERGED.split(";")[0] in (root / name).read_text()
    assert json.loads((root / "metrics.json").read_text())["resnet8_pretrained_psap_50"]["diverged"] == 1
    report = (root / "report.html").read_text()
    assert (
        report.count("1 of 16 runs diverged") == 2 + report.count("<figcaption>") and f"<code>{path}</code>" in report
    )
    assert "16 of 16; 1 of 16 runs diverged" in report and "1 of 4 diverged" in report and "1 pairs diverged" in report
    analyse(whole, None)
    assert NOTE_DIVERGED not in (whole / "table.md").read_text()
    assert "runs diverged" not in (whole / "report.html").read_text()
    for figure in (root / "figures").glob("*.svg"):  # a line of text makes it higher
        assert figure.read_bytes() != (whole / "figures" / figure.name).read_bytes()


def verdicts(folder: Path, build: Build, lost: Callable[[str], bool], **suite: object) -> dict[str, JsonObject]:
    root = build(folder, **GRID | {"top1": top1, "dense": lambda model, seed: BASE, "seeds": 4} | suite)
    return {verdict["id"]: verdict for verdict in judge(collect(diverge(root, lost)))}


@pytest.mark.parametrize("who", ["psap", "psap_soft"])
def test_a_claim_with_a_pair_that_diverged_is_not_supported(tmp_path: Path, build: Build, who: str) -> None:
    before = verdicts(tmp_path / "before", build, lambda path: False)["S3"]
    assert (before["verdict"], before["n"]) == ("supported", 4)
    claim = verdicts(tmp_path / "after", build, lambda path: f"/{who}/0.5/seed0" in path)["S3"]
    [comparison] = claim["comparisons"]
    assert (comparison["n"], comparison["diverged"]) == (3, 1) and comparison["low"] > 0
    assert (claim["verdict"], comparison["verdict"]) == ("inconclusive", "inconclusive")
    assert claim["reason"] == (
        "More than psap_soft, but not of all pairs is there a difference. "
        "Pairs left out, since a run in them diverged: 1 against psap_soft."
    )


def test_what_is_not_supported_stays_so(tmp_path: Path, build: Build) -> None:
    turned = {"top1": lambda *cell: 2 * BASE - top1(*cell)}
    claim = verdicts(tmp_path, build, lambda path: "/psap/0.5/seed0" in path, **turned)["S3"]
    assert claim["verdict"] == "not supported" and claim["reason"].endswith("1 against psap_soft.")


def test_a_claim_without_any_whole_pair_says_so(tmp_path: Path, build: Build) -> None:
    claims = verdicts(tmp_path, build, lambda path: "/psap/" in path)
    assert claims["S3"]["verdict"] == "not tested"
    assert claims["S3"]["reason"].startswith("There is no pair in which neither run diverged.")
    assert [c["diverged"] for c in claims["S5a"]["comparisons"]] == [4]


@pytest.mark.parametrize("evaluate", ["test", "validation"])
def test_a_suite_of_which_nothing_is_left_has_its_report(tmp_path: Path, build: Build, evaluate: str) -> None:
    data = {"source": "digits", "train_images": None, "validation": 0.2, "evaluate": evaluate}
    root = diverge(build(tmp_path, **GRID | {"data": data, "seeds": 2, "top1": top1}), lambda path: True)
    analyse(root, Path("params/published.csv").resolve())
    assert "8 of 8 runs diverged" in (root / "report.html").read_text()
    assert set(pd.read_csv(root / "table.csv")["n"]) == {0}
    assert "| 0 (2 of 2 diverged) | – | – | – | – | – | – |" in (root / "table.md").read_text()


def test_a_row_has_a_result_or_has_diverged(tmp_path: Path, build: Build) -> None:
    for change in ({"result": None}, {"diverged": {"epoch": 1, "what": "the loss is nan"}}):
        root = build(tmp_path / str(len(change)) / next(iter(change)), **GRID | {"top1": top1})
        file = next(root.rglob("run.json"))
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with pytest.raises(PsapError, match=r"run\.json: .*a run has a result, or it has diverged"):
            collect(root)
