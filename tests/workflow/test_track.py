"""`psap track`: what was not tracked while it ran is replayed, once, and a registered network predicts as it did."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from project_helpers import Project

DENSE = "tiny/resnet8/dense/seed0"


def test_a_run_without_tracking_is_replayed_once(project: Project, root: Path) -> None:
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", DENSE).returncode == 0
    assert not (project.folder / "mlflow.db").exists()
    first, second = project.psap("track"), project.psap("track")
    assert first.stdout == "brought up to date: 1; already there: 0; still running: 0\n", first.stderr
    assert second.stdout == "brought up to date: 0; already there: 1; still running: 0\n", second.stderr
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        (suite, (name, status, parent)) = store.execute(
            "select name, status, t.value from runs left join tags t on t.run_uuid = runs.run_uuid "
            "and t.key = 'mlflow.parentRunId' order by name desc"
        )
        assert (name, status, suite[0]) == ("dense s0", "FINISHED", "tiny") and parent
        steps = store.execute("select step from metrics where key = 'accuracy/top1' order by step").fetchall()
        assert [step for (step,) in steps] == [1, 2, 3]
        tags = dict(store.execute("select key, value from tags").fetchall())
        assert tags["psap.method"] == "dense" and tags["psap.seed"] == "0" and len(tags["psap.code"]) == 64
        names = {name for (name,) in store.execute("select key from latest_metrics")}
        assert {"accuracy/top1_last", "macs_reduction", "seconds", "train_loss"} <= names
    registered = project.psap("track", "--register", "tiny")
    assert registered.stdout.splitlines()[-1].startswith("psap-tiny-resnet8@dense: dense s0, top-1 "), registered.stderr
    again = project.psap("track", "--register", "tiny")
    assert again.stdout.splitlines()[-1] == registered.stdout.splitlines()[-1], "no second version"
    top1 = json.loads((project.folder / "results" / DENSE / "run.json").read_text())["result"]["top1_last"]
    assert accuracy_by_the_page(root, project) == pytest.approx(top1, abs=1e-9)
    nothing = project.psap("track", "--register", "other")
    assert nothing.returncode == 2 and nothing.stderr.startswith("psap: other: MLflow has no finished run"), nothing
    project.environment["MLFLOW_TRACKING_URI"] = "sqlite:////proc/nowhere/mlflow.db"
    gone = project.psap("track")
    assert gone.returncode == 2 and gone.stderr.startswith("psap: ") and gone.stderr.count("\n") == 1, gone.stderr


def accuracy_by_the_page(root: Path, project: Project) -> float:
    """Per cent of the test images that the network gets right which the lines of docs/share.md load and call."""
    page = (root / "docs" / "share.md").read_text().splitlines()
    load, predict = (line for line in page if "pyfunc.load_model(" in line or ".predict(" in line)
    code = f"""import mlflow
from safetensors.numpy import load_file
data = load_file("data/digits.safetensors")
images = data["test_images"]
{load.replace("cifar10-cpu-resnet20@best-at-50", "tiny-resnet8@dense")}
{predict}
print(100 * (scores.argmax(1) == data["test_labels"]).mean())"""
    environment = project.environment | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, cwd=project.folder, env=environment, capture_output=True, text=True)
    return float(done.stdout)
