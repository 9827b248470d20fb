"""One mirror for all runs of a workflow, in a process beside it: no store, whatever it does, holds a workflow up."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from psap.errors import PsapError
from psap.tracking.mirror import is_current, replay

_PAUSE = 10.0  # seconds between two looks at what there is to mirror
_PATIENCE = 30  # seconds that it may take once the workflow has ended


@contextmanager
def mirrored(root: Path) -> Iterator[None]:
    """Keep the tracking store up to date with the journals under `root`; at the end, say in a line if it is behind."""
    command = [sys.executable, "-m", "psap.tracking.background", str(root)]
    # In a process group of its own: Ctrl-C is for the workflow, whose end the mirror notices by its closed input.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, process_group=0
    )
    try:
        yield
    finally:
        try:
            problem = process.communicate(timeout=_PATIENCE)[0].strip()
        except subprocess.TimeoutExpired:
            process.kill()
            problem = process.communicate()[0].strip()
        if process.returncode:
            problem = problem or f"the store has not answered in {_PATIENCE} seconds"
            print(f"tracking is behind, `psap track` replays it: {problem}", file=sys.stderr)


def _mirror(root: Path) -> None:
    """Mirror until the input is closed, then once more; exit with 1 and one line if that fails."""
    ended = False
    while True:
        with redirect_stdout(sys.stderr):  # what MLflow says
            problem = _problem(root)
        if ended:
            print(problem, flush=True)
            os._exit(1 if problem else 0)  # at once: tearing MLflow down takes most of a second
        ended = bool(select.select([sys.stdin], [], [], _PAUSE)[0])
        if ended:
            signal.alarm(_PATIENCE)


def _problem(root: Path) -> str:
    try:
        return "" if is_current(root) else next(iter(replay(root).failed), "")
    except PsapError as error:
        return str(error)


if __name__ == "__main__":
    _mirror(Path(sys.argv[1]))
