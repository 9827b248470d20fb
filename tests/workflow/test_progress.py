"""What `psap reproduce` shows of a suite at work: one live display on a terminal, short lines elsewhere, no noise."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project_helpers import Project
from tracked_helpers import wait_until

from psap.workflow import display
from psap.workflow.display import PlainLines
from psap.workflow.progress import Progress, clock

NOISE = (
    "Select jobs",
    "Host:",
    "Building DAG",
    "Provided cores",
    "Job stats",
    "Finished job",
    "workflow specific profile",
)
SHOW_CURSOR = b"\x1b[?25h"


class Terminal:
    """`psap reproduce tiny` on a terminal of its own, 120 characters wide."""

    def __init__(self, project: Project) -> None:
        ours, theirs = pty.openpty()
        environment = project.environment | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        command = [sys.executable, "-m", "psap", "reproduce", "tiny", "--cores", "2"]
        self.process = subprocess.Popen(
            command,
            cwd=project.folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            process_group=0,
            # Who runs the tests in the background of a shell ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        self._ours, self.bytes = ours, b""

    def read(self) -> str:
        """All that has been written so far, without what moves the cursor or colours."""
        try:
            while part := os.read(self._ours, 1 << 16):
                self.bytes += part
        except (BlockingIOError, OSError):  # nothing for now; and the end
            pass
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.bytes.decode())

    def end(self) -> int:
        while self.process.poll() is None:
            self.read()
            time.sleep(0.1)
        self.read()
        return self.process.returncode


def test_a_terminal_shows_runs_epochs_and_the_time_left(project: Project) -> None:
    terminal = Terminal(project)
    assert terminal.end() == 0, terminal.read()
    said = terminal.read()
    assert re.search(r"0 of 5 runs, \d at work", said) and re.search(
        r"[1-4] of 5 runs, \d at work, 00:\d\d:\d\d left", said
    )
    assert re.search(r"tiny/resnet8/\S+ +epoch \d/3 +loss [\d.]+ +top-1 [\d.]+ % +\d+ images/s", said)
    assert "tiny/resnet8/dense/seed0: top-1 " in said and said.rstrip().endswith("report: results/tiny/report.html")
    assert not [noise for noise in NOISE if noise in said]
    assert terminal.bytes.rindex(SHOW_CURSOR) > terminal.bytes.rindex(b"at work"), "the cursor is back"
    again = Terminal(project)
    assert again.end() == 0
    assert "Nothing to be done" in again.read()


def test_an_interrupted_display_leaves_the_terminal_as_it_was(project: Project) -> None:
    terminal = Terminal(project)
    wait_until(lambda: "at work" in terminal.read(), 60)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    last = terminal.bytes[terminal.bytes.rindex(b"at work") :]
    assert SHOW_CURSOR in last and b"stopping; run the same command again to resume" in last


def test_a_failure_names_the_log_with_the_rest(project: Project) -> None:
    (project.folder / "state").mkdir()
    (project.folder / "state" / "tiny").write_text("a file where the folder should be")
    done = project.psap("reproduce", "tiny", "--retries", "0")
    assert done.returncode == 1
    assert "state/tiny" in done.stderr and not [noise for noise in NOISE[:-1] if noise in done.stderr], done.stderr
    (log,) = re.findall(r"all that Snakemake said is in (\S+)", done.stderr)
    assert "Select jobs to execute" in (project.folder / log).read_text()


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events").write_text("")
    return Progress(Path("events"), runs=10)


def happens(**event: object) -> None:
    with Path("events").open("a") as file:
        file.write(json.dumps(event) + "\n")


def begins(job: int, run: str, last: str = "") -> None:
    log = Path("logs", f"{run}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(f"a warning\n{last}\n")
    happens(event="job_info", job=job, rule="prune", log=[str(log)])


EPOCH = (
    "s/m/dense/seed0  epoch 5/10  lr 0.1000  loss 0.123  top-1 91.20 %  multiply-adds -0.0 %  restored 0  620 images/s"
)


def test_runs_are_counted_from_events_and_epochs_from_logs(progress: Progress) -> None:
    assert progress.line() == "0 of 10 runs, 0 at work"
    happens(event="run_info", stats={"data": 1, "dense": 1, "prune": 3, "retrain": 2, "total": 9})
    begins(1, "s/m/dense/seed0", EPOCH)
    begins(2, "s/m/scratch/psap/0.5/seed0", "Traceback of something")
    begins(3, "data/digits")
    progress.look()
    assert next(progress.epochs()) == ("s/m/dense/seed0", ["5", "10", "0.123", "91.20 %", "620 images/s"])
    assert progress.line().startswith("4 of 10 runs, 3 at work, 00:00:0")
    happens(event="job_finished", job=3)
    happens(event="job_error", job=2)
    happens(event="job_finished", job=1)
    with Path("events").open("a") as file:
        file.write('{"event": "job_fin')  # what is being written
    progress.look()
    assert progress.line().startswith("5 of 10 runs, 0 at work, 00:00:0")


def test_an_epoch_without_a_score_is_shown_too(progress: Progress) -> None:
    begins(1, "s/m/dense/seed0", EPOCH.replace("top-1 91.20 %  ", ""))
    progress.look()
    assert list(progress.epochs()) == [("s/m/dense/seed0", ["5", "10", "0.123", "", "620 images/s"])]


def test_without_a_terminal_a_line_now_and_then(
    progress: Progress, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(display, "_PLAIN", 0.0)
    monkeypatch.setattr(display, "_TICK", 0.05)
    with subprocess.Popen(["sleep", "0.5"]) as workflow:
        PlainLines(progress).follow(workflow)
    assert capsys.readouterr().err == "0 of 10 runs, 0 at work\n", "once, as nothing changes"


def test_the_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3661, 360_000)] == ["00:00:00", "00:01:00", "01:01:01", "100:00:00"]
