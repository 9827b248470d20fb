import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs_helpers import PROFILE, kill_all
from project_helpers import Project

SCRIPT = Path(__file__).with_name("cluster.sh")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """A SLURM of two nodes on this machine, while the tests run."""
    if "PSAP_SLURM" not in os.environ:
        pytest.skip("starts a SLURM on this machine; to run it, as root: make slurm-test")
    try:
        subprocess.run([SCRIPT, "up"], check=True)
        yield
    finally:
        subprocess.run([SCRIPT, "down"], check=True)


@pytest.fixture
def start() -> Iterator[Callable[[Project], "subprocess.Popen[bytes]"]]:
    """Start the suite `tiny` of a project through SLURM, saying what it says to workflow.log; it ends with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(project: Project) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "psap", "reproduce", "tiny", *PROFILE]
        with (project.folder / "workflow.log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    command, cwd=project.folder, env=project.environment, stdout=log, stderr=log, process_group=0
                )
            )
        return started[-1]

    yield begin
    for workflow in started:
        kill_all(workflow)
