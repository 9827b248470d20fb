"""Run the workflow, whatever an earlier one left behind, with one mirror into MLflow for all of its runs."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from psap.errors import PsapError
from psap.plan import load_grids
from psap.suite import RESULTS, STATE
from psap.tracking import journal_report, replay

_PAUSE = 10.0  # seconds between two looks at what there is to mirror


def run_workflow(suites: Sequence[str], cores: str) -> int:
    """Run `snakemake <suites>` in the working directory; returns its exit code.

    Snakemake leaves its own lock behind when it is killed, and cannot tell that from a workflow at work; here it is
    lifted where no Snakemake is left in this folder. Raises PsapError when one is.
    """
    grids = load_grids(Path("params"))
    for suite in suites:
        if suite not in grids:
            raise PsapError(f"unknown suite {suite!r}; params/ has {', '.join(grids)}")
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    snakemake = [sys.executable, "-m", "snakemake"]
    try:
        with FileLock(folder / "psap.lock", timeout=0):
            if alive := _snakemakes():
                raise PsapError(
                    f"Snakemake is at work in this folder (process {alive[0]}); wait for it, or stop it first"
                )
            if any(folder.glob("locks/*")):
                subprocess.run([*snakemake, "--unlock"], check=True, capture_output=True)
            code = _run_tracked([*snakemake, *suites, "--cores", cores], suites)
    except Timeout:
        raise PsapError("another `psap reproduce` is at work in this folder; wait for it, or stop it first") from None
    for suite in suites if code == 0 else ():
        print(f"report: {Path('results') / suite / 'report.html'}")
    return code


def _snakemakes() -> list[int]:
    """Processes of this user that run Snakemake in the working directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        # By an argument's last part: the folder's own path may hold the word, and ours with it.
        runs = any(Path(argument).name == "snakemake" for argument in process.info["cmdline"] or ())
        if runs and process.info["cwd"] == str(Path.cwd()):
            found.append(process.pid)
    return found


def _run_tracked(command: list[str], suites: Sequence[str]) -> int:
    """Run `command`; mirror its runs here, since an import of MLflow in each job would cost as much as a short run."""
    tracked = os.environ.get("PSAP_TRACKING") != "off"
    with subprocess.Popen(command, env=os.environ | {"PSAP_TRACKING": "off"}) as workflow:
        while workflow.poll() is None:
            try:
                workflow.wait(_PAUSE)
            except subprocess.TimeoutExpired:
                if tracked:
                    _mirror()
    for suite in suites:
        journal_report(RESULTS / suite, STATE)
    if tracked and (problem := _mirror()):
        print(f"tracking is behind, `psap track` replays it: {problem}", file=sys.stderr)
    return workflow.returncode


def _mirror() -> str:
    """Bring MLflow up to date; returns what went wrong, if anything. A store that is gone must not stop a workflow."""
    try:
        return next(iter(replay(STATE).failed), "")
    except PsapError as error:
        return str(error)
