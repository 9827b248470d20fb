"""A suite's report is at the run that its runs are nested in, as artifacts."""

from pathlib import Path

import pytest
from tracked_helpers import a_head, address, stored, suite_runs

from psap.tracking import Replay, journal_report, replay
from psap.tracking.journal import begin


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """results/demo of a project in which a run of `demo` was trained; the working directory is that project."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results/demo")
    (folder / "figures").mkdir(parents=True)
    Path("state/demo/resnet8").mkdir(parents=True)
    for name in ("report.html", "table.csv", "figures/accuracy.png"):
        (folder / name).write_text(name)
    return folder


def artifacts(database: Path, run_id: str) -> dict[str, str]:
    (folder,) = (database.parent / "mlruns").rglob(f"{run_id}/artifacts")
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.*")}


def test_once_and_replaced_when_it_changes(database: Path, report: Path) -> None:
    uri, state = address(database), Path("state")
    journal_report(report, state)
    assert replay(state, uri) == Replay(1, 0, 0, [])
    (first,) = suite_runs(database)
    assert (first.name, first.status) == ("demo", "FINISHED")
    expected = {name: name for name in ("report.html", "table.csv", "figures/accuracy.png")}
    assert artifacts(database, first.run_id) == expected

    journal_report(report, state)
    assert replay(state, uri) == Replay(0, 1, 0, [])
    (report / "table.csv").write_text("another")
    (report / "figures" / "accuracy.png").unlink()
    journal_report(report, state)
    assert replay(state, uri) == Replay(1, 0, 0, [])
    (second,) = suite_runs(database)
    assert (second.run_id, second.status, second.deleted) == (first.run_id, "FINISHED", False)
    assert artifacts(database, first.run_id) == {"report.html": "report.html", "table.csv": "another"}


def test_a_report_that_was_a_run_of_its_own_goes(database: Path, report: Path) -> None:
    Path("state/demo/report").mkdir()
    begin(Path("state/demo/report/journal.jsonl"), a_head(run="demo/report"), [])
    assert replay(Path("state"), address(database)).failed == []
    journal_report(report, Path("state"))
    assert replay(Path("state"), address(database)) == Replay(1, 0, 0, [])
    (run,) = stored(database)
    assert run.deleted and run.name == "demo/report"


def test_a_file_that_changed_before_it_was_mirrored_is_left_out(database: Path, report: Path) -> None:
    journal_report(report, Path("state"))
    (report / "table.csv").write_text("of another run")
    (report / "figures" / "accuracy.png").unlink()
    assert replay(Path("state"), address(database)) == Replay(1, 0, 0, [])
    assert artifacts(database, suite_runs(database)[0].run_id) == {"report.html": "report.html"}


def test_a_suite_that_did_not_run_here_has_none(report: Path) -> None:
    report.rename("results/other")
    journal_report(Path("results/other"), Path("state"))
    assert not list(Path("state").rglob("journal.jsonl"))
