"""The mirror: bring the tracking store up to date with journals."""

import sqlite3
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from psap.errors import PsapError, public
from psap.tracking.journal import Acknowledgement, Journal, acknowledge, acknowledged, read
from psap.tracking.reach import SQLITE, out_of_reach, reach, reason
from psap.tracking.records import End
from psap.tracking.store import Store, tracking_uri

LOCK_SECONDS = 5.0  # to wait for another mirror that is at the same journal


class Replay(NamedTuple):
    """How many journals were brought up to date, were so before, or are of runs in progress; and what went wrong."""

    mirrored: int
    current: int
    live: int
    failed: list[str]


class Mirror:
    """Copies journals into `store`; raises what MLflow raises if that cannot be reached."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._described: dict[str, str] = {}  # key -> run id, of runs whose parameters and tags are written

    def sync(self, path: Path, *, live: bool) -> Acknowledgement:
        """Bring the store up to date with the journal at `path`, and return what it holds now.

        A journal without an end is one of a run in progress if `live` says so or a process holds the run's lock;
        otherwise the run is dead, and becomes KILLED. Raises filelock.Timeout while another mirror is at this journal.
        """
        with FileLock(path.with_name("tracking.lock"), timeout=LOCK_SECONDS):
            journal = read(path)  # not before: an outdated journal would bring back a run that was replaced
            if journal is None:
                raise PsapError(f"{path}: not a readable journal; delete it, or train the run again")
            known = acknowledged(path)
            end = journal.end or _without_end(journal, live or _locked(path.with_name("lock")))
            key = journal.head.key
            run_id = self._described.get(key) if journal.end is None else None
            run_id = run_id or self._store.open(journal.head)
            now = _held(journal, end, run_id, self._store.uri)
            if now != known:
                if run_id is not None:
                    same = known is not None and (known["key"], known["run_id"]) == (key, run_id)
                    self._write(run_id, journal, end, known["rows"] if known and same else 0)
                acknowledge(path, now)
            return now

    def problem(self) -> str:
        """Why the store cannot be reached any more; empty if it can."""
        try:
            reach(self._store.uri)
        except (OSError, sqlite3.Error, PsapError) as error:
            return reason(error)
        return ""

    def _write(self, run_id: str, journal: Journal, end: End, done: int) -> None:
        """Write what the run lacks, of whose rows the first `done` are there."""
        if self._described.get(journal.head.key) != run_id:
            self._store.describe(run_id, journal.head)
            self._described[journal.head.key] = run_id
        self._store.write(run_id, journal.rows[done:])
        if end.status != "RUNNING":
            self._store.close(run_id, journal.head, end, step=journal.rows[-1]["step"] if journal.rows else 0)


def replay(root: Path, uri: str | None = None) -> Replay:
    """Mirror every journal under `root` into the store at `uri` (see `tracking_uri`).

    Raises PsapError if the store cannot be reached; what fails for one journal is reported, and the rest goes on. A run
    that is in the store already stays as it is, so a replay into an empty store rebuilds all of it.
    """
    uri = tracking_uri(uri)
    paths = sorted(root.rglob("journal*.jsonl"))
    if not paths:
        return Replay(0, 0, 0, [])
    mirror = Mirror(Store.reached(uri))
    mirrored = current = live = 0
    failed: list[str] = []
    for path in paths:
        before = acknowledged(path)
        try:
            after = mirror.sync(path, live=False)
        except Timeout:
            live += 1
        except Exception as error:
            failed.append(f"{path}: {reason(error)}")
            if problem := mirror.problem():  # the store has gone: each other journal would wait for it as long
                raise PsapError(out_of_reach(uri, problem)) from error
        else:
            live += after["status"] == "RUNNING"
            current += after["status"] != "RUNNING" and after == before
            mirrored += after["status"] != "RUNNING" and after != before
    return Replay(mirrored, current, live, failed)


def is_current(root: Path, uri: str | None = None) -> bool:
    """Whether the store at `uri` holds every journal under `root`, as far as can be told without asking it.

    MLflow, whose import takes seconds, is not needed for that.
    """
    uri = tracking_uri(uri)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        return False
    return all(_is_held(path, uri) for path in root.rglob("journal*.jsonl"))


def _is_held(path: Path, uri: str) -> bool:
    known, journal = acknowledged(path), read(path)
    if not (known and journal and journal.end):
        return False
    return known == _held(journal, journal.end, known["run_id"], uri)


def _held(journal: Journal, end: End, run_id: str | None, uri: str) -> Acknowledgement:
    return Acknowledgement(
        store=public(uri),
        key=journal.head.key,
        run_id=run_id,
        rows=len(journal.rows),
        status=end.status,
        time=end.time,
    )


def _without_end(journal: Journal, live: bool) -> End:
    return (
        End("RUNNING", 0) if live else End("KILLED", journal.rows[-1]["time"] if journal.rows else journal.head.start)
    )


def _locked(path: Path) -> bool:
    """Whether a process holds the lock at `path`. Holds it itself for some microseconds."""
    try:
        FileLock(path).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    return False
