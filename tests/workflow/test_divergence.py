"""A training that diverges leaves a row that says so; the others go on, and the report is made."""

import csv
import json

from project import TINY, Project

WILD = TINY | {
    "variants": {"wild": {"base": "l1", "lr_scale": 1e7}, "wild_anew": {"retrain": "wild"}},
    "methods": {"pretrained": ["l1", "wild"], "scratch": ["wild", "wild_anew"]},
}
LOST = TINY | {
    "methods": {"pretrained": ["psap"], "scratch": ["small_dense", "psap"]},
    "training": TINY["training"] | {"dense": {"epochs": 3, "lr": 1e6}},
}
DENSE = "lost/resnet8/dense/seed0"


def test_a_learning_rate_out_of_all_bounds(project: Project) -> None:
    project.suite("tiny", WILD)
    project.suite("lost", LOST)
    done = project.psap("reproduce", "tiny", "lost", "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Trying to restart" not in done.stderr, "no run is tried again"
    rows = {
        row["run"]: row for file in project.folder.glob("results/**/run.json") for row in [json.loads(file.read_text())]
    }
    assert len(rows) == 5 + 4
    lost = {path: row["diverged"] for path, row in rows.items() if row["result"] is None}
    assert set(rows) - set(lost) == {"tiny/resnet8/dense/seed0", "tiny/resnet8/pretrained/l1/0.5/seed0"}
    for path in (DENSE, "tiny/resnet8/pretrained/wild/0.5/seed0", "tiny/resnet8/scratch/wild/0.5/seed0"):
        assert lost[path]["epoch"] == 1 and lost[path]["what"].startswith("the loss is ")
        assert f"{path}: diverged: {lost[path]['what']} in epoch 1; a lower training lr than " in done.stdout
    for path in ("pretrained/psap", "scratch/psap", "scratch/small_dense"):
        assert lost[f"lost/resnet8/{path}/0.5/seed0"] == {"epoch": 0, "what": f"not run: {DENSE} diverged"}
    anew = "not run: tiny/resnet8/scratch/wild/0.5/seed0 diverged"
    assert lost["tiny/resnet8/scratch/wild_anew/0.5/seed0"]["what"] == anew
    (epoch,) = csv.DictReader((project.folder / "results" / DENSE / "epochs.csv").open())
    assert epoch["epoch"] == "1" and epoch["top1"] == ""
    for suite, told in (("tiny", "3 of 5 runs diverged"), ("lost", "4 of 4 runs diverged")):
        assert told in (project.folder / "results" / suite / "report.html").read_text()
    for command in (("inspect", f"checkpoints/{DENSE}"), ("export", f"checkpoints/{DENSE}")):
        refused = project.psap(*command)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        assert f"there is no network: {DENSE} diverged: the loss is " in refused.stderr
    shown = project.psap("show", DENSE)
    assert shown.returncode == 0 and "the loss is " in shown.stdout
    again = project.psap("reproduce", "tiny", "lost", "--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
