"""The report of a suite in MLflow: at the run that all runs of the suite are nested under."""

import sys
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from psap.tracking import journal, records
from psap.tracking.records import End
from psap.utils import files
from psap.utils.validation import read_written


def journal_report(folder: Path, state: Path) -> None:
    """Write the journal of the suite's own run: the report in `folder` (results/<suite>), its figures and tables are
    the artifacts.

    Nothing happens where there is no report, no run of the suite in `state`, or the journal is of these very files. A
    report that has changed takes the place of the former one.
    """
    suite = folder.name
    if not (folder / "report.html").is_file() or not (state / suite).is_dir():
        return
    found = [file for file in sorted(folder.glob("*")) if file.is_file() and not file.name.startswith(".")]
    artifacts = records.linked("", found) | records.linked("figures", sorted(folder.glob("figures/*")))
    path = state / suite / "report" / "journal.jsonl"
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_name("tracking.lock")):
        old = journal.read(path)
        head = records.suite_head(suite)
        if old and old.end and old.end.files == artifacts and old.head.key == head.key:
            return
        if old:
            head = journal.succeed(head, old.head)
        end = End("FINISHED", records.now(), files=artifacts)
        files.write_text(path, records.line(head) + records.line(end))


def tell_without_journal(folders: Iterable[Path], state: Path, networks: Path) -> None:
    """Say on stderr, in a line, how many runs of `folders` (results/<suite>) no store can be told of: they were trained
    here, have a row, and no journal in `state`.

    A suite that has neither state nor `networks` here came as rows alone, as in a fresh clone.
    """
    here = [folder for folder in folders if any((top / folder.name).is_dir() for top in (state, networks))]
    rows = {
        file.parent.relative_to(folder.parent).as_posix(): file
        for folder in here
        for file in sorted(folder.rglob("run.json"))
    }
    runs = [run for run, row in rows.items() if not any((state / run).rglob("journal*.jsonl")) and _began(row)]
    if runs:
        print(
            f"psap: {len(runs)} runs have results but no journal below {state}/, so MLflow may lack them; the first "
            f"is {runs[0]}. Their numbers are in results/; training them again tracks them",
            file=sys.stderr,
        )


def _began(row: Path) -> bool:
    """Whether the run of `row` was trained at all: what needs a network that diverged is not."""
    return (read_written(row).get("diverged") or {}).get("epoch") != 0
