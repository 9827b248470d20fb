"""The journal of one run: what the tracking store must hold, as lines of JSON in the run's state folder.

The first line is the head, then follows one line a row, and at last the end. The file is rewritten whole at every start
of the run and only grows after that, so whatever a kill leaves is a whole head, whole rows, and at most one torn line.
Beside it, tracked.json acknowledges what the tracking store is known to hold of it.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from psap.tracking.records import End, Head, Row, Status, line, normal
from psap.utils import files
from psap.utils.mappings import JsonObject


class Acknowledgement(TypedDict):
    """What a `store` is known to hold: which run (`key`) as which (`run_id`), how many rows, and which end."""

    store: str
    key: str
    run_id: str | None
    rows: int
    status: Status
    time: int


@dataclass(frozen=True)
class Journal:
    """A journal as read: `end` is None while the run goes on, or when it was cut off."""

    head: Head
    rows: list[Row]
    end: End | None


def read(path: Path) -> Journal | None:
    """The journal at `path` up to its first torn line; None if there is none, not even a whole head, or of a version
    whose records are others."""
    records: list[JsonObject] = []
    try:
        for text in files.regular(path).read_text(encoding="utf-8", errors="replace").splitlines():
            records.append(json.loads(text))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, RecursionError):
        pass
    if not records:
        return None
    first, *rest = records
    try:
        ends = [_end(record) for record in rest if "status" in record]
        rows = [_row(record) for record in rest if "step" in record]
        head = Head(**{**first, "replaces": tuple(first["replaces"])})
    except (TypeError, KeyError, AttributeError, ValueError):
        return None
    return Journal(head, rows, ends[-1] if ends else None)


def begin(path: Path, new: Head, rows: Sequence[Row]) -> None:
    """Write the journal afresh: with the `rows` that a checkpoint restored, for the run `new` or the one it carries on.

    The MLflow run of the old journal is carried on if what it may hold is a beginning of what is to come. If not, its
    points cannot be taken back, so a new MLflow run replaces it: each step must be there once. Only a finished run that
    starts again from nothing is another run; its journal is put aside unless the store is known to hold all of it. One
    that cannot be read, of another version say, is set aside with a line on stderr: no training fails by it.
    """
    rows = [normal(row) for row in rows]
    head = replace(new, start=min([new.start, *(row["time"] for row in rows[:1])]))
    old = read(path)
    if old is None and path.exists():
        aside = path.with_name(f"unread-{path.name}")  # not a name that a replay looks for
        path.replace(aside)
        print(f"{path}: not a journal of this version; it is {aside.name} now, and a new one begins", file=sys.stderr)
    if old is not None:
        finished = old.end is not None and old.end.status == "FINISHED"
        if not finished or rows:
            head = _carry_on(old, head, rows, finished)
        elif not _holds_all(acknowledged(path), old):
            path.replace(path.with_name(f"journal-{old.head.key}.jsonl"))
    files.write_text(path, "".join([line(head), *(line(row) for row in rows)]))


def _carry_on(old: Journal, new: Head, rows: list[Row], finished: bool) -> Head:
    """`new` as a continuation of `old`: in the same MLflow run, or in one that replaces it."""
    prefix = [line(row) for row in old.rows] == [line(row) for row in rows[: len(old.rows)]]
    # MLflow refuses to change a parameter, and a run cannot move to another experiment.
    same = (old.head.params, old.head.experiment, old.head.run) == (new.params, new.experiment, new.run)
    if prefix and same and not finished:
        return replace(new, key=old.head.key, start=old.head.start, replaces=old.head.replaces)
    return succeed(new, old.head)


def succeed(new: Head, old: Head) -> Head:
    """`new` as what replaces `old`, where that is another run, and all that `old` replaces."""
    return replace(new, replaces=tuple(key for key in (*old.replaces, old.key) if key != new.key))


def acknowledge(path: Path, what: Acknowledgement) -> None:
    """Note what the store is known to hold of the journal at `path`. It only saves work: a mirror may do all again."""
    files.write_json(_tracked(path), what)


def acknowledged(path: Path) -> Acknowledgement | None:
    """What the store is known to hold of the journal at `path`."""
    try:
        known: Acknowledgement = json.loads(files.regular(_tracked(path)).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return known


def _end(record: JsonObject) -> End:
    return End(**{**record, "files": {name: tuple(link) for name, link in record.get("files", {}).items()}})


def _row(record: JsonObject) -> Row:
    return {"step": record["step"], "time": record["time"], "metrics": record["metrics"]}


def _holds_all(known: Acknowledgement | None, journal: Journal) -> bool:
    return known is not None and (known["key"], known["status"]) == (journal.head.key, "FINISHED")


def _tracked(path: Path) -> Path:
    return path.with_name(path.name.replace("journal", "tracked")).with_suffix(".json")
