"""The report of a suite as an MLflow run of its own, beside the runs that it is about."""

import sys
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

from psap import files
from psap.tracking import journal
from psap.tracking.journal import End


def journal_report(folder: Path, state: Path) -> None:
    """Write the journal of the report in `folder` (results/<suite>), its figures and tables being the artifacts.

    Nothing happens where there is no report, no run of the suite in `state`, or the journal is of these very files. A
    report that has changed replaces the former one.
    """
    suite = folder.name
    if not (folder / "report.html").is_file() or not (state / suite).is_dir():
        return
    found = [file for file in sorted(folder.glob("*")) if file.is_file() and not file.name.startswith(".")]
    artifacts = journal.linked("", found) | journal.linked("figures", sorted(folder.glob("figures/*")))
    path = state / suite / "report" / "journal.jsonl"
    path.parent.mkdir(exist_ok=True)
    with FileLock(path.with_name("tracking.lock")):
        old = journal.read(path)
        if old and old.end and old.end.files == artifacts:
            return
        head = journal.new_head(f"{suite}/report", suite, {"psap.suite": suite, "psap.method": "report"}, {})
        if old:
            head = journal.succeed(head, old.head)
        end = End("FINISHED", journal.now(), files=artifacts)
        files.write_text(path, journal.line(head) + journal.line(end))


def without_journal(folder: Path, state: Path) -> list[str]:
    """The runs in `folder` (results/<suite>) that have a row and no journal in `state`: their state was removed, or
    they were trained elsewhere. No store can be told of them."""
    runs = (file.parent.relative_to(folder.parent) for file in sorted(folder.rglob("run.json")))
    return [run.as_posix() for run in runs if not any((state / run).rglob("journal*.jsonl"))]


def tell_without_journal(folders: Iterable[Path], state: Path) -> None:
    """Say on stderr, in a line, how many runs no store can be told of."""
    runs = [run for folder in folders for run in without_journal(folder, state)]
    if runs:
        print(
            f"psap: {len(runs)} runs have results but no journal below {state}/, so MLflow may lack them; the first "
            f"is {runs[0]}. Their numbers are in results/; training them again tracks them",
            file=sys.stderr,
        )
