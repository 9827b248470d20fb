"""`psap track`: what was not tracked while it ran is replayed, once, and the network can be had from the store."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from project_helpers import Project
from safetensors.torch import load_file

DENSE = "tiny/resnet8/dense/seed0"


def test_a_run_without_tracking_is_replayed_once(project: Project, root: Path) -> None:
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", DENSE).returncode == 0
    assert not (project.folder / "mlflow.db").exists()
    first, second = project.psap("track"), project.psap("track")
    assert first.stdout == "brought up to date: 1; already there: 0; still running: 0\n", first.stderr
    assert second.stdout == "brought up to date: 0; already there: 1; still running: 0\n", second.stderr
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        ((run_id, *run),) = store.execute("select run_uuid, name, status from runs")
        assert run == [DENSE, "FINISHED"]
        steps = store.execute("select step from metrics where key = 'top1' order by step").fetchall()
        assert [step for (step,) in steps] == [1, 2, 3]
        tags = dict(store.execute("select key, value from tags").fetchall())
        assert tags["psap.method"] == "dense" and tags["psap.seed"] == "0" and len(tags["psap.code"]) == 64
        names = {name for (name,) in store.execute("select key from latest_metrics")}
        assert {"top1_last", "macs_reduction", "seconds", "train_loss"} <= names
    weights = load_file(project.folder / "checkpoints" / DENSE / "model.safetensors").values()
    assert loaded_by_the_page(root, project, run_id) == pytest.approx(
        sum(tensor.double().sum().item() for tensor in weights)
    )
    project.environment["MLFLOW_TRACKING_URI"] = "sqlite:////proc/nowhere/mlflow.db"
    gone = project.psap("track")
    assert gone.returncode == 2 and gone.stderr.startswith("psap: ") and gone.stderr.count("\n") == 1, gone.stderr


def loaded_by_the_page(root: Path, project: Project, run_id: str) -> float:
    """The sum of all that the network holds which the line of docs/share.md loads."""
    (line,) = (line for line in (root / "docs" / "share.md").read_text().splitlines() if "psap.load(" in line)
    code = f"""import mlflow, psap
run_id = {run_id!r}
{line}
print(sum(tensor.double().sum().item() for tensor in network.state_dict().values()))"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, check=True, cwd=project.folder, env=project.environment, capture_output=True, text=True
    )
    return float(done.stdout)
