"""Real training processes beside real stores: fresh, killed, absent, locked, and a server."""

import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tracked_helpers import TRAINER, a_row, assert_whole, stored, suite_runs, trainer, wait_until

from psap.tracking import Replay, Tracker, new_head, replay

BEHIND = "psap: tracking of demo/{} is behind, `psap track` replays it"


def test_the_training_process_does_not_import_mlflow() -> None:
    code = "import sys, psap.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(TRAINER.parents[2])})


def test_sixteen_runs_at_once_on_a_store_that_is_not_there_yet(tmp_path: Path) -> None:
    database = tmp_path / "new" / "mlflow.db"
    states = [tmp_path / "state" / f"r{i:02}" for i in range(16)]
    runs = [trainer(state, f"sqlite:///{database}", patience=300) for state in states]
    assert [(run.communicate(), run.returncode) for run in runs] == [(("", ""), 0)] * 16
    tracked = sorted(stored(database), key=lambda run: run.name)
    assert len(tracked) == 16
    (suite,) = suite_runs(database)
    assert {run.tags["mlflow.parentRunId"] for run in tracked} == {suite.run_id}
    for run, state in zip(tracked, states, strict=True):
        assert_whole(run, state)
        assert (state / "tracking.log").read_text() == ""


def test_killed_and_resumed_it_is_one_run_with_each_step_once(database: Path, tmp_path: Path) -> None:
    chance, state = random.Random(1), tmp_path / "state" / "r"
    for _ in range(2):
        run = trainer(state, f"sqlite:///{database}", epochs=300, seconds=0.1)
        wait_until((state / "journal.jsonl").exists)
        time.sleep(chance.uniform(1.5, 3.5))
        mirrors = psutil.Process(run.pid).children()
        run.send_signal(signal.SIGKILL)
        run.communicate()
        psutil.wait_procs(mirrors, timeout=30)
        assert len(mirrors) == 1 and not mirrors[0].is_running()  # no mirror outlives its run for long
    run = trainer(state, f"sqlite:///{database}", epochs=300)
    assert (run.communicate(), run.returncode) == (("", ""), 0)
    (tracked,) = stored(database)
    assert_whole(tracked, state, epochs=300)
    assert replay(tmp_path / "state", f"sqlite:///{database}") == Replay(0, 1, 0, [])


def test_runs_are_not_held_up_by_stores_that_are_not_there(database: Path, tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    obstacle.write_text("a file where the folder should be")
    addresses = {"folder": f"sqlite:///{obstacle}/mlflow.db", "port": f"http://127.0.0.1:{free_port()}"}
    states = {name: tmp_path / "state" / name for name in addresses}
    runs = {name: trainer(states[name], uri) for name, uri in addresses.items()}
    for name, run in runs.items():
        out, err = run.communicate(timeout=60)
        assert (run.returncode, out, err.count("\n")) == (0, "", 1)
        assert err.startswith(BEHIND.format(name))
        assert {"folder": "obstacle", "port": "refused"}[name] in (states[name] / "tracking.log").read_text()
    assert replay(tmp_path / "state", f"sqlite:///{database}") == Replay(2, 0, 0, [])
    for found in stored(database):
        assert_whole(found, tmp_path / "state" / Path(found.name).name)


def test_a_locked_store_is_caught_up_with_in_time_or_replayed(database: Path, tmp_path: Path) -> None:
    patient, hurried, uri = tmp_path / "state" / "patient", tmp_path / "state" / "hurried", f"sqlite:///{database}"
    lock = sqlite3.connect(database)
    lock.execute("begin exclusive")
    runs = [trainer(patient, uri, patience=60), trainer(hurried, uri, seconds=0.5, patience=0.5)]
    out, err = runs[1].communicate()
    assert (runs[1].returncode, out, err.count("\n")) == (0, "", 1)
    assert err.startswith(BEHIND.format("hurried"))
    wait_until(lambda: "locked" in (patient / "tracking.log").read_text())
    lock.close()
    assert (runs[0].communicate(), runs[0].returncode) == (("", ""), 0)
    done = replay(tmp_path / "state", uri)  # the mirror of the hurried run goes on by itself, and may have been first
    assert (done.mirrored + done.current, done.failed) == (2, [])
    runs_by_name = sorted(stored(database), key=lambda run: run.name)
    for run, state in zip(runs_by_name, [hurried, patient], strict=True):
        assert_whole(run, state)


def test_a_server(database: Path, tmp_path: Path) -> None:
    port = free_port()
    root, uri = tmp_path / "state", f"http://127.0.0.1:{port}"
    command = f"-m mlflow server --port {port} --workers 1 --backend-store-uri sqlite:///{database}".split()
    server = subprocess.Popen(
        [sys.executable, *command, "--artifacts-destination", str(tmp_path / "artifacts")],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(port), 60)
        run = trainer(root / "live", uri)
        assert (run.communicate(timeout=100), run.returncode) == (("", ""), 0)
        (root / "live" / "tracked.json").unlink()
        assert replay(root, uri) == Replay(1, 0, 0, [])
        assert replay(root, uri) == Replay(0, 1, 0, [])
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    (tracked,) = stored(database)
    assert_whole(tracked, root / "live")
    for name in ("run.json", "model.safetensors"):
        (artifact,) = (tmp_path / "artifacts").rglob(name)
        assert artifact.read_bytes() == (root / "live" / name).read_bytes()
    assert tracked.tags["mlflow.parentRunId"] == suite_runs(database)[0].run_id


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_tracking_off_writes_the_journal_only(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], database: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PSAP_TRACKING", "off")
    tracker = Tracker(tmp_path / "run", new_head("demo/r", "demo", {}, {}))
    tracker.start([])
    tracker.log(a_row(0))
    tracker.finish({"last": 1.0})
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["journal.jsonl"]
    assert replay(tmp_path / "run", f"sqlite:///{database}") == Replay(1, 0, 0, [])
    (tracked,) = stored(database)
    assert (tracked.status, tracked.steps("loss"), tracked.steps("last")) == ("FINISHED", [0], [0])


def test_a_failure_is_marked(monkeypatch: pytest.MonkeyPatch, database: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("PSAP_TRACKING", "off")
    tracker = Tracker(tmp_path, new_head("demo/r", "demo", {}, {}))
    tracker.start([])
    tracker.log(a_row(0))
    tracker.fail("ValueError: loss is nan")
    replay(tmp_path, f"sqlite:///{database}")
    (tracked,) = stored(database)
    assert (tracked.status, tracked.tags["psap.failure"]) == ("FAILED", "ValueError: loss is nan")
    assert tracked.steps("loss") == [0]


def test_a_torn_last_line_is_left_out_and_mended_by_the_resume(
    monkeypatch: pytest.MonkeyPatch, database: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("PSAP_TRACKING", "off")
    uri, path = f"sqlite:///{database}", tmp_path / "journal.jsonl"
    tracker = Tracker(tmp_path, new_head("demo/r", "demo", {}, {}))
    tracker.start([])
    tracker.log(a_row(0))
    tracker.log(a_row(1))
    path.write_bytes(path.read_bytes()[:-10])
    replay(tmp_path, uri)
    assert [(run.status, run.steps("loss")) for run in stored(database)] == [("KILLED", [0])]
    tracker = Tracker(tmp_path, new_head("demo/r", "demo", {}, {}))
    tracker.start([a_row(0), a_row(1)])
    tracker.log(a_row(2))
    tracker.finish({})
    replay(tmp_path, uri)
    assert [(run.status, run.steps("loss")) for run in stored(database)] == [("FINISHED", [0, 1, 2])]
