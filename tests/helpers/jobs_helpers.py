"""What SLURM says of the jobs of a project, and where the runs in them are."""

import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
from project_helpers import last_epoch

PROFILE = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2")
LONGEST = 600.0  # seconds to wait for anything on a machine that is busy with other things


def slurm(*command: str) -> str:
    """The output of one of SLURM's commands."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def jobs(folder: Path, states: str = "all") -> dict[str, str]:
    """Number -> rule and wildcards of the jobs that were submitted in `folder` and are in one of `states`."""
    listing = slurm("squeue", "--noheader", f"--states={states}", "--format=%i|%Z|%k").splitlines()
    found = (line.split("|") for line in listing)
    return {number: comment for number, submitted_in, comment in found if submitted_in == str(folder)}


def described(job: str) -> dict[str, str]:
    """What SLURM knows of a job."""
    return dict(re.findall(r"(\S+?)=(\S*)", slurm("scontrol", "show", "job", job)))


def training(folder: Path, run: str) -> psutil.Process | None:
    """The process that trains `run`, on whatever node."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cmdline()[1:5] == ["-m", "psap", "train", run] and process.cwd() == str(folder):
                return process
    return None


def in_the_middle(folder: Path, run: str, workflow: "subprocess.Popen[bytes]", beyond: int = 2) -> psutil.Process:
    """Wait until `run` is past the epoch `beyond` and still training; its process."""
    deadline = time.monotonic() + LONGEST
    while time.monotonic() < deadline and workflow.poll() is None:
        if last_epoch(folder, run) > beyond and (process := training(folder, run)):
            return process
        time.sleep(0.05)
    raise AssertionError(f"{run} is not in its middle (workflow: {workflow.poll()}): {jobs(folder)}")


def first_epoch(folder: Path, run: str) -> int:
    """The first epoch that the last attempt at `run` trained: Snakemake begins the log anew with every attempt."""
    said = (folder / "logs" / f"{run}.log").read_text()
    found = re.search(r" epoch (\d+)/", said)
    assert found, said
    return int(found[1])


def kill_all(workflow: "subprocess.Popen[bytes]") -> None:
    """kill -9 of a workflow and of all that it has started on this machine; not of its jobs in the queue."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(workflow.pid)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    workflow.wait()
