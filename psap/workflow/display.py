"""What `psap reproduce` shows of a workflow at work: one live display on a terminal, else a short line now and then."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any

from psap.workflow.progress import Progress

Output = tuple[IO[str] | None, IO[str] | None]  # a process's standard output and error; None: as this one's
_TICK = 0.5  # seconds between two looks
_PLAIN = 60.0  # seconds between two lines where there is no terminal
_NOISE = "Using workflow specific profile"  # said before the workflow can have a say in what is
_LONGEST = 8  # running jobs that are shown


class Silence:
    """Shows nothing, as of a dry run, which itself says it all."""

    def follow(self, workflow: "Popen[bytes]") -> None:
        """Show how `workflow` goes on, to its end."""
        while not _ended(workflow):
            self._show()
        self.close()

    def close(self) -> None:
        """Say what is left to say, and leave the terminal as it was."""

    def _show(self) -> None:
        pass


class PlainLines(Silence):
    """Says a `Progress` in a line on standard error now and then, for a file or a pipe."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told, self._last = "", time.monotonic()

    def _show(self) -> None:
        self._progress.look()
        if time.monotonic() - self._last >= _PLAIN and (line := self._progress.line()) != self._told:
            print(line, file=sys.stderr, flush=True)
            self._told, self._last = line, time.monotonic()


class Display(Silence):
    """Shows a `Progress` on the terminal; `said` are files of which new lines appear above it."""

    def __init__(self, progress: Progress, said: Sequence[IO[str]]) -> None:
        from rich.console import Console
        from rich.live import Live

        self._progress, self._said = progress, said
        self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
        self._live.start()

    def close(self) -> None:
        """Say what is left to say, and leave the terminal as it was."""
        self._live.stop()
        self._tell()

    def _show(self) -> None:
        self._progress.look()
        self._tell()
        self._live.update(self._drawn(), refresh=True)

    def _tell(self) -> None:
        for file in self._said:
            for line in file.read().splitlines():
                if not line.startswith(_NOISE):
                    self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _drawn(self) -> Any:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        progress = self._progress
        head = Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(total=progress.runs, completed=progress.done(), width=30), progress.line())
        running = Table.grid(padding=(0, 2))
        for name, values in list(progress.epochs())[:_LONGEST]:
            running.add_row(f"  {name}", *(_told(*values) if values else ()))
        more = len(progress.jobs) - _LONGEST
        return Group(head, running, *([f"  and {more} more"] if more > 0 else []))


@contextmanager
def shown(folder: Path, runs: int) -> Iterator[tuple[Silence, dict[str, str], Output]]:
    """What shows the progress of a workflow of `runs` runs, if it has any; and what the process that is the workflow
    needs in its environment, and as its output.

    On a terminal what the workflow says goes to files in `folder` first, or else it would run through the display. They
    are files, since a pipe would break with this process, and the workflow's jobs with it.
    """
    if not runs:
        yield Silence(), {}, (None, None)
        return
    events = folder / "psap.events"
    events.write_text("")
    progress, environment = Progress(events, runs), {"PSAP_EVENTS": str(events)}
    if not sys.stderr.isatty():
        yield PlainLines(progress), environment, (None, None)
        return
    names = [folder / "psap.out", folder / "psap.err"]
    with ExitStack() as stack:
        out, err = (stack.enter_context(name.open("w", encoding="utf-8")) for name in names)
        said = [stack.enter_context(name.open(encoding="utf-8", errors="replace")) for name in names]
        yield Display(progress, said), environment, (out, err)


def _told(epoch: str, epochs: str, loss: str, accuracy: str, speed: str) -> list[str]:
    return [f"epoch {epoch}/{epochs}", f"loss {loss}", accuracy and f"top-1 {accuracy}", speed]


def _ended(workflow: "Popen[bytes]") -> bool:
    try:
        workflow.wait(_TICK)
    except TimeoutExpired:
        return False
    return True
