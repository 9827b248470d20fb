"""The mirror of a workflow: up to date at its end, and never in its way."""

import os
import socket
import sqlite3
import time
from pathlib import Path

import pytest
from tracked_helpers import FINISHED, a_head, a_row, add, address, only

from psap.tracking import background, mirror
from psap.tracking.background import mirrored
from psap.tracking.journal import begin
from psap.tracking.mirror import is_current, replay


def test_at_its_end_the_store_has_all(
    database: Path, journal: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address(database))
    with mirrored(journal.parents[1]):
        begin(journal, a_head(), [a_row(0)])
        add(journal, a_row(1), FINISHED)
    assert (only(database).status, only(database).steps("loss")) == ("FINISHED", [0, 1])
    assert capfd.readouterr().err == ""


def test_what_a_store_is_known_to_hold_is_not_asked_for(
    database: Path, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(journal, a_head(), [a_row(0)])
    add(journal, a_row(1), FINISHED)
    root, store = journal.parents[1], address(database)
    assert not is_current(root, store)
    replay(root, store)
    assert is_current(root, store)
    assert not is_current(root, address(tmp_path / "other.db")), "a store that is not there"
    assert not is_current(root, "http://127.0.0.1:9"), "another store"
    monkeypatch.setattr(mirror, "Store", None)  # without MLflow
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    assert background._problem(root) == ""
    add(journal, a_row(2))
    assert not is_current(root, store)
    database.unlink()
    assert not is_current(root, store)


@pytest.mark.parametrize("kind", ["folder", "pipe", "refusing", "deaf", "locked"])
def test_no_store_holds_a_workflow_up(
    kind: str, database: Path, journal: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        path = journal.parent / name / "journal.jsonl"
        path.parent.mkdir()
        begin(path, a_head(run=name), [])
    monkeypatch.setattr(background, "_PATIENCE", 8)
    with socket.create_server(("127.0.0.1", 0)) as deaf, sqlite3.connect(database) as lock:
        port = deaf.getsockname()[1]
        stores = {
            "folder": address(journal.parent),
            "pipe": address(journal.parent / "pipe"),
            "refusing": "http://somebody:secret@127.0.0.1:9",
            "deaf": f"http://somebody:secret@127.0.0.1:{port}",
            "locked": address(database),
        }
        os.mkfifo(journal.parent / "pipe")
        lock.execute("begin exclusive")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", stores[kind])
        start = time.monotonic()
        with mirrored(journal.parents[1]):
            pass
        assert time.monotonic() - start < 12
    said = capfd.readouterr().err
    assert said.startswith("tracking is behind, `psap track` replays it: ") and said.count("\n") == 1
    assert "secret" not in said
