"""The journal survives any cut, and a start decides rightly which MLflow run it is."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tracked_helpers import FAILED, FINISHED, a_head, a_row, add

from psap.tracking import tell_without_journal
from psap.tracking.journal import acknowledge, begin, read
from psap.tracking.records import End, Head, Row, line
from psap.utils.mappings import JsonObject

ROWS = [a_row(0), a_row(1, math.nan), a_row(2, math.inf)]


def head_of(path: Path) -> Head:
    journal = read(path)
    assert journal is not None
    return journal.head


@given(cut=st.floats(0, 1), tail=st.binary(max_size=20))
def test_whatever_a_kill_leaves_is_read_as_far_as_it_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: float, tail: bytes
) -> None:
    head = a_head()
    end = replace(FINISHED, artifacts={"a": "é\u2028\n"}, files={"network/w": ("checkpoints/w", "0" * 64)})
    records: list[Head | Row | End] = [head, *ROWS, end]
    lines = [line(record).encode() for record in records]
    whole = b"".join(lines)
    size = round(cut * len(whole))
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    # Garbage after a cut in the middle of a line is what a power failure may leave.
    path.write_bytes(whole[:size] + (b"\0" + tail if size < len(whole) else b""))
    # A line is whole without its line feed.
    count = sum(len(b"".join(lines[: i + 1])) - 1 <= size for i in range(5))
    if size < len(whole) and count and len(b"".join(lines[:count])) - 1 == size:
        count -= 1  # the garbage stands where the line feed should
    journal = read(path)
    if count == 0:
        assert journal is None
    else:
        assert journal is not None and journal.head == head
        assert [line(row) for row in journal.rows] == [line(row) for row in ROWS[: count - 1]]
        assert journal.end == (end if count == 5 else None)


def test_no_journal_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "journal.jsonl") is None


def test_a_start_writes_head_and_restored_rows(journal: Path) -> None:
    head = a_head()
    begin(journal, head, ROWS)
    written = read(journal)
    assert written is not None and written.end is None
    assert written.head == replace(head, start=ROWS[0]["time"])  # it began when its first row was there, at the latest
    assert [line(row) for row in written.rows] == [line(row) for row in ROWS]


def test_numbers_of_any_library_become_plain_ones(journal: Path) -> None:
    numbers: JsonObject = {"step": np.int64(3), "time": np.int64(4), "metrics": {"loss": np.float32(0.5)}}
    begin(journal, a_head(), [cast(Row, numbers)])
    written = read(journal)
    assert written is not None and written.rows == [{"step": 3, "time": 4, "metrics": {"loss": 0.5}}]


@pytest.mark.parametrize(
    ("logged", "restored"),
    [([], []), ([], ROWS), (ROWS, ROWS), (ROWS[:2], ROWS), ([*ROWS, FAILED], ROWS), ([FAILED], [])],
    ids=["nothing yet", "row not logged", "all logged", "last not logged", "failed", "failed at once"],
)
def test_a_resumed_run_stays_the_same_mlflow_run(journal: Path, logged: list[Row | End], restored: list[Row]) -> None:
    first = a_head()
    begin(journal, first, [])
    add(journal, *logged)
    begin(journal, a_head(tags={"commit": "new"}), restored)
    resumed = head_of(journal)
    assert (resumed.key, resumed.start, resumed.replaces) == (first.key, first.start, ())
    assert resumed.tags["commit"] == "new"


@pytest.mark.parametrize(
    ("logged", "restored", "changes"),
    [
        (ROWS, ROWS[:2], {}),
        (ROWS, [], {}),
        (ROWS, [*ROWS[:2], a_row(2)], {}),
        ([*ROWS, FINISHED], ROWS, {}),
        (ROWS, ROWS, {"params": {"seed": 1}}),
        (ROWS, ROWS, {"experiment": "other"}),
        (ROWS, ROWS, {"run": "demo/other"}),
    ],
    ids=["row lost", "all lost", "row changed", "killed after the end", "params", "experiment", "name"],
)
def test_what_cannot_be_continued_is_replaced(
    journal: Path, logged: list[Row | End], restored: list[Row], changes: JsonObject
) -> None:
    first, second, third = a_head(), a_head(**changes), a_head()
    begin(journal, first, [])
    add(journal, *logged)
    begin(journal, second, restored)
    assert (head_of(journal).key, head_of(journal).replaces) == (second.key, (first.key,))
    add(journal, a_row(7))
    begin(journal, third, [])  # before any mirror saw the second
    assert (head_of(journal).key, head_of(journal).replaces) == (third.key, (first.key, second.key))
    assert [path.name for path in journal.parent.glob("journal*")] == ["journal.jsonl"]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_finished_run_that_starts_again_is_another_run(journal: Path, mirrored: bool) -> None:
    first, second = a_head(), a_head()
    begin(journal, first, [])
    add(journal, *ROWS, FINISHED)
    text = journal.read_text()
    if mirrored:
        acknowledge(
            journal,
            {"store": "", "key": first.key, "run_id": "r", "rows": 3, "status": "FINISHED", "time": FINISHED.time},
        )
    begin(journal, second, [])
    assert (head_of(journal).key, head_of(journal).replaces) == (second.key, ())
    aside = {path.name: path.read_text() for path in journal.parent.glob("journal-*")}
    assert aside == ({} if mirrored else {f"journal-{first.key}.jsonl": text})


OTHERS = ['{"key": 1, "version": 2}', '{"key": "k"}', "5", "[]", "null", '"key"', "", "\0", '{"runs": []}']


@pytest.mark.parametrize("text", OTHERS)
def test_a_journal_of_another_version_is_set_aside_with_a_line(
    journal: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text(text + "\n")
    assert read(journal) is None
    begin(journal, a_head(), ROWS)
    assert head_of(journal).run == a_head().run
    assert journal.with_name(f"unread-{journal.name}").read_text() == text + "\n"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "not a journal of this version" in said


@pytest.mark.parametrize(
    "record", [{"step": 1}, {"status": "FINISHED"}, {"status": "FINISHED", "time": 1, "more": 2}, 7]
)
def test_a_record_of_another_version_makes_the_journal_one(journal: Path, record: object) -> None:
    begin(journal, a_head(), ROWS)
    journal.write_text(journal.read_text() + json.dumps(record) + "\n")
    assert read(journal) is None


def test_a_row_without_a_journal_is_told_where_it_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["{}", "{}", '{"diverged": {"epoch": 1}}', '{"diverged": {"epoch": 0}}']
    for seed, row in enumerate(rows):
        (tmp_path / f"results/s/m/dense/seed{seed}").mkdir(parents=True)
        (tmp_path / f"results/s/m/dense/seed{seed}/run.json").write_text(row)
    folders = [tmp_path / "results" / "s"], tmp_path / "state", tmp_path / "checkpoints"
    tell_without_journal(*folders)
    assert capsys.readouterr().err == "", "rows of a clone were trained elsewhere"
    kept = tmp_path / "state/s/m/dense/seed0/key"
    kept.mkdir(parents=True)
    begin(kept / "journal.jsonl", a_head(), ROWS)
    tell_without_journal(*folders)
    said = capsys.readouterr().err
    assert said.startswith("psap: 2 runs have results but no journal") and "s/m/dense/seed1." in said
    assert said.count("\n") == 1
    shutil.rmtree(tmp_path / "state")
    (tmp_path / "checkpoints/s").mkdir(parents=True)
    tell_without_journal(*folders)
    assert capsys.readouterr().err.startswith("psap: 3 runs ")
