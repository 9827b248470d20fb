"""Replay: what was missed comes, once; what is there stays as it is; what is in progress is left open."""

import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from tracked_helpers import FAILED, FINISHED, a_head, a_row, add, address, expected, only, stored

from psap.errors import PsapError, one_line
from psap.tracking import Replay, replay
from psap.tracking.journal import begin
from psap.tracking.mirror import Mirror
from psap.tracking.reach import without_password
from psap.tracking.store import Store, tracking_uri


def dump(database: Path) -> list[str]:
    with sqlite3.connect(database) as connection:
        return list(connection.iterdump())


def test_a_run_that_its_user_deleted_does_not_come_back(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(0)])
    Mirror(Store(address(database))).sync(journal, live=True)
    Store(address(database)).client.delete_run(only(database).run_id)
    add(journal, FINISHED)
    assert replay(journal.parent, address(database)).failed == []
    (run,) = stored(database)
    assert run.deleted and run.points == expected(1)


def test_replay_leaves_a_live_run_open_and_ends_a_dead_one(database: Path, journal: Path) -> None:
    begin(journal, a_head(), [a_row(0)])
    with FileLock(journal.with_name("lock")):
        assert replay(journal.parent, address(database)) == Replay(0, 0, 1, [])
        assert (only(database).status, only(database).points) == ("RUNNING", expected(1))
    assert replay(journal.parent, address(database)) == Replay(1, 0, 0, [])
    assert only(database).status == "KILLED"
    begin(journal, a_head(), [a_row(0), a_row(1)])  # and it is resumed
    Mirror(Store(address(database))).sync(journal, live=True)
    assert (only(database).status, only(database).points) == ("RUNNING", expected(2))
    add(journal, FAILED)
    replay(journal.parent, address(database))
    assert (only(database).status, only(database).tags["psap.failure"]) == ("FAILED", "boom")


def test_replay_twice_changes_nothing_and_an_empty_store_is_rebuilt(
    database: Path, journal: Path, migrated: Path
) -> None:
    root = journal.parents[1]
    for name in ("a", "b"):
        path = root / "nested" / name / "journal.jsonl"
        path.parent.mkdir(parents=True)
        begin(path, a_head(run=name), [a_row(0)])
        add(path, FINISHED)
    begin(path, a_head(run="b"), [])  # b is run again before its first run was mirrored
    add(path, a_row(5), FINISHED)
    assert replay(root, address(database)) == Replay(3, 0, 0, [])
    before = dump(database)
    assert replay(root, address(database)) == Replay(0, 3, 0, [])
    assert dump(database) == before
    points = {(run.name, *point) for run in stored(database) for point in run.points}
    assert sorted(run.name for run in stored(database)) == ["a", "b", "b"]
    database.write_bytes(migrated.read_bytes())
    assert replay(root, address(database)) == Replay(3, 0, 0, [])
    assert {(run.name, *point) for run in stored(database) for point in run.points} == points


def test_what_fails_for_one_journal_is_told_and_the_rest_goes_on(database: Path, journal: Path) -> None:
    journal.write_text("torn")
    other = journal.parent / "other" / "journal.jsonl"
    other.parent.mkdir()
    begin(other, a_head(), [])
    add(other, FINISHED)
    done = replay(journal.parent, address(database))
    assert (done.mirrored, done.current, done.live) == (1, 0, 0)
    assert done.failed == [f"{journal}: {journal}: not a readable journal; delete it, or train the run again"]
    assert only(database).status == "FINISHED"


def test_a_store_out_of_reach_is_one_line_without_its_password(journal: Path) -> None:
    begin(journal, a_head(), [])
    with pytest.raises(PsapError, match=r"^tracking store http://127\.0\.0\.1:9: .*MLFLOW_TRACKING_URI$") as error:
        replay(journal.parent, "http://user:secret@127.0.0.1:9")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("password", ["secret", "se/cret", "se@cret", "secret:1", "se%2Fcret", "secret?a=b", "#secret"])
@pytest.mark.parametrize("scheme", ["http", "https", "postgresql"])
def test_no_part_of_a_password_is_told(journal: Path, scheme: str, password: str) -> None:
    begin(journal, a_head(), [])
    with pytest.raises(PsapError) as error:
        replay(journal.parent, f"{scheme}://somebody:{password}@127.0.0.1:9/x")
    said = one_line(error.value)
    assert "cret" not in said and "somebody" not in said and "127.0.0.1:9" in said


def test_mlflow_is_given_a_password_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "https://a%40b:p%2Fw@host:5000/x"
    for name in ("URI", "USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", uri)
    assert without_password(uri) == os.environ["MLFLOW_TRACKING_URI"] == "https://host:5000/x"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("a@b", "p/w")
    assert without_password("http://host:5000") == "http://host:5000"


def a_folder(place: Path) -> str:
    (place / "folder").mkdir()
    return address(place / "folder")


def a_pipe(place: Path) -> str:
    os.mkfifo(place / "pipe")
    return address(place / "pipe")


def a_text(place: Path) -> str:
    (place / "text").write_text("not a database, but a text of more than a hundred bytes\n" * 3)
    return address(place / "text")


@pytest.mark.parametrize("store", [a_folder, a_pipe, a_text])
def test_what_is_no_store_is_told_at_once(journal: Path, store: Callable[[Path], str]) -> None:
    begin(journal, a_head(), [])
    uri, start = store(journal.parent), time.monotonic()
    with pytest.raises(PsapError, match=r"^tracking store sqlite"):
        replay(journal.parent, uri)
    assert time.monotonic() - start < 3


def test_a_store_that_goes_is_not_tried_for_every_run(database: Path, journal: Path) -> None:
    """A journal that fails alone is told, and the rest goes on; without a store there is no rest."""
    for name in "abc":
        path = journal.parent / name / "journal.jsonl"
        path.parent.mkdir()
        begin(path, a_head(run=name), [])
    mirror = Mirror(Store(address(database)))
    assert mirror.problem() == ""
    database.unlink()
    database.mkdir()
    assert "folder" in mirror.problem()


def test_nothing_to_replay_needs_no_store(tmp_path: Path) -> None:
    assert replay(tmp_path / "state", "http://127.0.0.1:9") == Replay(0, 0, 0, [])


def test_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(None) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert tracking_uri(None) == "http://host:5000"
    assert tracking_uri("sqlite:///a/b.db") == f"sqlite:///{tmp_path}/a/b.db"
    assert tracking_uri("sqlite:////a/b.db") == "sqlite:////a/b.db"
