"""One process for all jobs of a workflow that has torch imported, and forks for each: runs may be shorter than that."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def warm_starts(folder: Path) -> Iterator[dict[str, str]]:
    """What the environment of a workflow needs for its jobs to start so. `folder` is for the socket."""
    address = str(folder / "psap.warm")
    command = [sys.executable, "-m", "psap.cli.warm", address]
    # In a process group of its own: Ctrl-C is for the workflow, whose end it notices by its closed input.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0
    ):
        yield {"PSAP_WARM": address}  # psap.__main__ reads it
