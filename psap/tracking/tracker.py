"""The run's side: append to the journal, and start the process that mirrors it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import psap
from psap.errors import PsapError
from psap.tracking import journal, records
from psap.tracking.records import End, Head, Row
from psap.tracking.store import tracking_uri
from psap.utils import files


class Tracker:
    """Tracks one run, whose state folder this process owns (it holds the lock `state`/lock).

    `head` is that of a new MLflow run; `uri` names the store, by default MLFLOW_TRACKING_URI or mlflow.db in the
    working directory.
    With PSAP_TRACKING=off in the environment only the journal is written, and `replay` can mirror it at any time.

    A row must be in the checkpoint before it is logged. Then a run that is killed and resumed is one MLflow run, with
    each step once; were a logged row lost, MLflow's run would be deleted and made again.
    """

    def __init__(self, state: Path, head: Head, uri: str | None = None, patience: float = 10.0) -> None:
        self._path = state / "journal.jsonl"
        self._head = head
        self._uri = tracking_uri(uri)
        self._patience = patience
        self._file: TextIO | None = None
        self._mirror: subprocess.Popen[bytes] | None = None

    def start(self, rows: Sequence[Row]) -> None:
        """Begin the journal with the `rows` restored from the checkpoint (none on a fresh start), and the mirror."""
        journal.begin(self._path, self._head, rows)
        with files.os_errors_as_psap_error(self._path):
            self._file = self._path.open("a", encoding="utf-8")
        if os.environ.get("PSAP_TRACKING") != "off":
            with suppress(OSError):  # no process to be had: it stays behind
                self._mirror = _follow(self._path, self._uri)

    def log(self, row: Row) -> None:
        """Append the metrics of one step, which the checkpoint holds already."""
        self._append(records.line(records.normal(row)))

    def finish(
        self, metrics: Mapping[str, float], artifacts: Sequence[Path] = (), network: Sequence[Path] = ()
    ) -> None:
        """Append the end: metrics of the whole run (under names that no row uses), small text files, and its network.

        The files of the `network` become a model of the run, and are read where they lie.
        Waits up to `patience` seconds for the store to have it all; if it has not, one line on stderr says so.
        """
        self._end(
            End(
                "FINISHED",
                records.now(),
                {name: float(value) for name, value in metrics.items()},
                artifacts={path.name: path.read_text(encoding="utf-8") for path in artifacts},
                files=records.linked(records.NETWORK, network),
            )
        )

    def fail(self, reason: str) -> None:
        """Mark the run as FAILED; a later `start` carries it on. Raises nothing, as an exception is under way."""
        with suppress(PsapError):
            self._end(End("FAILED", records.now(), tags={records.FAILURE: reason}))

    def _append(self, line: str) -> None:
        assert self._file is not None, "start comes first"
        with files.os_errors_as_psap_error(self._path):
            self._file.write(line)
            self._file.flush()

    def _end(self, end: End) -> None:
        self._append(records.line(end))
        if self._mirror is None and os.environ.get("PSAP_TRACKING") == "off":
            return
        if not self._caught_up():
            print(
                f"psap: tracking of {self._head.run} is behind, `psap track` replays it "
                f"(see {self._path.with_name('tracking.log')})",
                file=sys.stderr,
            )

    def _caught_up(self) -> bool:
        """Whether the store has it all in time. A mirror that needs longer goes on by itself for a while."""
        if self._mirror is None:
            return False
        try:
            return self._mirror.wait(self._patience) == 0
        except subprocess.TimeoutExpired:
            return False


def _follow(path: Path, uri: str) -> subprocess.Popen[bytes]:
    """Start the mirror of the journal at `path`; what it says goes to tracking.log."""
    home = str(Path(psap.__file__).parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    # By the environment, since others can read a command line and an address may hold a password.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MLFLOW_TRACKING_URI": uri}
    with path.with_name("tracking.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "psap.tracking", str(path), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,  # Ctrl-C is for the run, whose end the mirror notices
        )
