"""Whatever happens to a mirror, the store ends up with each run once and each point once."""

import multiprocessing
import os
import random
import signal
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracked_helpers import (
    DATA,
    FINISHED,
    READY,
    a_head,
    a_network,
    a_row,
    add,
    address,
    expected,
    only,
    stored,
    suite_runs,
)

from psap.tracking import replay
from psap.tracking.journal import begin
from psap.tracking.mirror import Mirror
from psap.tracking.records import NETWORK, linked
from psap.tracking.store import Store, _name

# It inherits an imported MLflow, which takes seconds to import. No store may be open here that a child then opens.
fork = multiprocessing.get_context("fork")


def test_live_rows_come_as_they_are_written_and_the_end_closes_the_run(database: Path, journal: Path) -> None:
    mirror = Mirror(Store(address(database)))
    head = a_head(params={"seed": 0, "long": "y" * 501, "just": "y" * 500, "none": None})
    begin(journal, head, [a_row(0)])
    assert mirror.sync(journal, live=True)["status"] == "RUNNING"
    assert (only(database).status, only(database).points) == ("RUNNING", expected(1))
    add(journal, a_row(1), a_row(2))
    mirror.sync(journal, live=True)
    assert only(database).points == expected(3)
    add(journal, FINISHED)
    assert mirror.sync(journal, live=True)["status"] == "FINISHED"
    run = only(database)
    assert (run.name, run.status) == ("demo/r", "FINISHED")
    assert run.points == [("last", 2, FINISHED.time, 97.5), *expected(3)]
    assert run.params == {"seed": "0", "long": "y" * 499 + "…", "just": "y" * 500, "none": "None"}
    assert run.tags.items() >= {"who": "me", "result": "done", "psap.key": head.key, "mlflow.runName": "demo/r"}.items()
    (artifact,) = (database.parent / "mlruns").rglob("run.json")
    assert artifact.read_text() == "{}\n" and run.run_id in artifact.parts


def test_points_that_are_no_numbers(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(0, float("nan")), a_row(1, float("inf"))])
    for _ in range(2):  # a second mirror that knows of nothing
        Mirror(Store(address(database))).sync(journal, live=True)
        journal.with_name("tracked.json").unlink()
    assert [(step, value) for name, step, _, value in only(database).points if name == "loss"] == [
        (0, "nan"),
        (1, pytest.approx(1.797e308, rel=1e-3)),
    ]


def test_names_that_mlflow_would_refuse(database: Path, journal: Path) -> None:
    names = {"ratio/blocks['a+b'].conv": "ratio/blocks__a_b__.conv", "/a//b/": "a/b", "../c": "c", "..": "_"}
    begin(journal, a_head(params=names, tags=names), [{"step": 0, "time": 1, "metrics": dict.fromkeys(names, 0.5)}])
    Mirror(Store(address(database))).sync(journal, live=True)
    run = only(database)
    assert run.params.keys() == set(names.values()) <= run.tags.keys()
    assert run.points == [(name, 0, 1, 0.5) for name in sorted(names.values())]


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_mlflow_takes_any_name_as_we_write_it(text: str) -> None:
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(_name(text))
    assert 0 < len(_name(text)) <= 250


def test_killed_at_any_moment_and_done_again_it_is_there_once(database: Path, journal: Path) -> None:
    def mirror(seconds: float | None) -> bool:
        process = fork.Process(target=lambda: Mirror(Store(address(database))).sync(journal, live=True))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL

    begin(journal, a_head(name="a % run"), [])
    end = replace(FINISHED, files=linked(NETWORK, a_network(database.parent)))
    start, chance = time.monotonic(), random.Random(0)
    assert not mirror(None)
    whole = time.monotonic() - start  # what one mirror takes to do its work
    kills = 0
    for step in range(20):
        add(journal, a_row(step))
        if step == 19:
            add(journal, end)
        kills += mirror(chance.uniform(0.0, 1.3 * whole))
    assert 0 < kills < 20
    assert Mirror(Store(address(database))).sync(journal, live=False)["status"] == "FINISHED"
    assert stored(database) == [only(database)]
    run = only(database)
    assert run.points == [("last", 19, FINISHED.time, 97.5), *expected(20)]
    assert (run.name, run.status, run.models, run.linked) == (
        "a % run",
        "FINISHED",
        [("a-run", READY)],
        [("last", 97.5)],
    )


def test_killed_before_any_commit_and_done_again_all_objects_are_there_once(database: Path, journal: Path) -> None:
    def killed(path: Path, commit: int) -> bool:
        """Whether a mirror was killed before this commit of its; the last of them has no such commit."""

        def mirror() -> None:
            from sqlalchemy import event
            from sqlalchemy.engine import Engine

            left = count(commit, -1)

            def commits(_: object) -> None:
                if next(left) == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            event.listen(Engine, "commit", commits)
            Mirror(Store(address(database))).sync(path, live=True)

        process = fork.Process(target=mirror)
        process.start()
        process.join()
        return process.exitcode == -signal.SIGKILL

    end, paths = replace(FINISHED, files=linked(NETWORK, a_network(database.parent))), []
    for commit in count():
        paths.append(journal.parent / str(commit) / "journal.jsonl")
        paths[-1].parent.mkdir()
        begin(paths[-1], a_head(run=f"demo/{commit}"), [a_row(0)])
        add(paths[-1], end)
        if not killed(paths[-1], commit):
            break
    assert len(paths) > 8
    assert replay(journal.parent, address(database)).failed == []
    (suite,) = suite_runs(database)
    runs = stored(database)
    assert len(runs) == len(paths)
    for run in runs:
        assert run.tags["mlflow.parentRunId"] == suite.run_id
        assert run.data == suite.data == [("digits", DATA["digest"][:8])]
        assert (run.status, run.linked) == ("FINISHED", [("last", 97.5)])
        assert run.models == [(run.name.replace("/", "-"), READY)]
    copies = list((database.parent / "mlruns" / "demo" / "models").iterdir())
    assert len(copies) == len(runs), "a network is copied once"


def test_a_store_whose_making_is_killed_is_made_by_the_next(tmp_path: Path, migrated: Path) -> None:
    database = tmp_path / "new" / "mlflow.db"
    for seconds in (0.4, 1.0):
        process = fork.Process(target=Store, args=[address(database)])
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
    Store(address(database))
    assert stored(database) == []
    assert sorted(path.name for path in database.parent.iterdir()) == ["mlflow.db", "mlflow.db.lock"]


def test_several_mirrors_at_one_journal_make_one_run(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(step) for step in range(50)])
    add(journal, FINISHED)
    mirrors = [fork.Process(target=replay, args=[journal.parent, address(database)]) for _ in range(4)]
    for process in mirrors:
        process.start()
    for process in mirrors:
        process.join()
    assert [process.exitcode for process in mirrors] == [0] * 4
    run = only(database)
    assert run.points == [("last", 49, FINISHED.time, 97.5), *expected(50)]


def test_a_run_that_lost_rows_is_replaced(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(0), a_row(1)])
    Mirror(Store(address(database))).sync(journal, live=True)
    begin(journal, a_head(), [a_row(0)])
    add(journal, {**a_row(1), "time": 5}, FINISHED)
    Mirror(Store(address(database))).sync(journal, live=True)
    old, new = stored(database)
    assert old.deleted and not new.deleted
    assert new.run_id == only(database).run_id
    assert [point for point in new.points if point[0] == "loss"] == [
        ("loss", 0, a_row(0)["time"], 0.5),
        ("loss", 1, 5, 0.5),
    ]


def test_a_request_that_was_carried_out_late_leaves_one_whole_run(database: Path, journal: Path) -> None:
    mirror, head = Mirror(Store(address(database))), a_head()
    begin(journal, head, [a_row(0), a_row(1)])
    mirror.sync(journal, live=True)
    store = Store(address(database))
    client = store.client
    experiment = client.get_experiment_by_name("demo")
    assert experiment
    for _ in range(3):  # one of them will come first in the order of ids
        client.create_run(experiment.experiment_id, 0, {"psap.key": head.key}, "demo/r")
    add(journal, a_row(2), FINISHED)
    mirror.sync(journal, live=True)
    run = only(database)
    assert run.points == [("last", 2, FINISHED.time, 97.5), *expected(3)]
    assert (run.params, run.status, run.tags["who"]) == ({"seed": "0"}, "FINISHED", "me")
