"""A training that diverges leaves a row that says so; the others go on, and the report is made."""

import csv
import json
from typing import Any

from project_helpers import TINY, Project

WILDEST = {"lr_scale": 1000.0, "bn_penalty": 1000.0}
WILD = TINY | {
    "variants": {
        "wild": {"base": "l1", **WILDEST, "scratch": WILDEST},
        "wild_anew": {"retrain": "wild"},
    },
    "methods": {"pretrained": ["l1", "wild"], "scratch": ["wild", "wild_anew"]},
}
DENSE, PRUNED = "lost/resnet8/dense/seed0", "lost/resnet8/pretrained/psap/0.5/seed0"


def rows(project: Project) -> dict[str, dict[str, Any]]:
    read = [json.loads(file.read_text()) for file in project.folder.glob("results/**/run.json")]
    return {row["run"]: row for row in read}


def test_the_others_go_on_and_the_report_is_made(project: Project) -> None:
    project.suite("tiny", WILD)
    done = project.psap("reproduce", "tiny", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Trying to restart" not in done.stderr, "no run is tried again"
    found = rows(project)
    lost = {path: row["diverged"] for path, row in found.items() if row["result"] is None}
    assert set(found) - set(lost) == {"tiny/resnet8/dense/seed0", "tiny/resnet8/pretrained/l1/0.5/seed0"}
    for path in ("tiny/resnet8/pretrained/wild/0.5/seed0", "tiny/resnet8/scratch/wild/0.5/seed0"):
        assert lost[path]["epoch"] == 1 and lost[path]["what"].startswith("the loss is ")
        assert f"{path}: diverged: {lost[path]['what']} in epoch 1; a lower training lr than " in done.stdout
    anew = "not run: tiny/resnet8/scratch/wild/0.5/seed0 diverged"
    assert lost["tiny/resnet8/scratch/wild_anew/0.5/seed0"] == {"epoch": 0, "what": anew}
    assert "3 of 5 runs diverged" in (project.folder / "results" / "tiny" / "report.html").read_text()


def test_a_dense_network_that_diverges_takes_its_children_along(project: Project) -> None:
    project.suite("lost", TINY | {"training": TINY["training"] | {"dense": {"epochs": 3, "lr": 1000.0}}})
    assert project.psap("data", "digits").returncode == 0
    for run in (DENSE, PRUNED):
        done = project.psap("train", run)
        assert done.returncode == 0, done.stderr
    found = rows(project)
    assert found[PRUNED]["diverged"] == {"epoch": 0, "what": f"not run: {DENSE} diverged"}
    assert done.stdout == f"{PRUNED}: not run: {DENSE} diverged\n"
    (epoch,) = csv.DictReader((project.folder / "results" / DENSE / "epochs.csv").open())
    assert epoch["epoch"] == "1" and epoch["top1"] == ""
    assert list(csv.DictReader((project.folder / "results" / PRUNED / "history.csv").open())) == []
    refused = project.psap("inspect", f"checkpoints/{DENSE}")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert f"there is no network: {DENSE} diverged: the loss is " in refused.stderr
    shown = project.psap("show", DENSE)
    assert shown.returncode == 0 and found[DENSE]["diverged"]["what"] in shown.stdout
