"""`psap track`: what was not tracked while it ran is replayed, once."""

import sqlite3

from project import Project

DENSE = "tiny/resnet8/dense/seed0"


def test_a_run_without_tracking_is_replayed_once(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", DENSE).returncode == 0
    assert not (project.folder / "mlflow.db").exists()
    first, second = project.psap("track"), project.psap("track")
    assert first.stdout == "brought up to date: 1; already there: 0; still running: 0\n", first.stderr
    assert second.stdout == "brought up to date: 0; already there: 1; still running: 0\n", second.stderr
    with sqlite3.connect(project.folder / "mlflow.db") as store:
        assert store.execute("select name, status from runs").fetchall() == [(DENSE, "FINISHED")]
        steps = store.execute("select step from metrics where key = 'top1' order by step").fetchall()
        assert [step for (step,) in steps] == [1, 2, 3]
        tags = dict(store.execute("select key, value from tags").fetchall())
        assert tags["psap.method"] == "dense" and tags["psap.seed"] == "0" and len(tags["psap.code"]) == 64
        names = {name for (name,) in store.execute("select key from latest_metrics")}
        assert {"top1_last", "macs_reduction", "seconds", "train_loss"} <= names
    project.environment["MLFLOW_TRACKING_URI"] = "sqlite:////proc/nowhere/mlflow.db"
    gone = project.psap("track")
    assert gone.returncode == 2 and gone.stderr.startswith("psap: ") and gone.stderr.count("\n") == 1, gone.stderr
