"""Run the workflow, whatever an earlier one left behind."""

import subprocess
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from psap.errors import PsapError
from psap.plan import load_grids


def run_workflow(suite: str, cores: str) -> int:
    """Run `snakemake <suite>` in the working directory; returns its exit code.

    Snakemake leaves its own lock behind when it is killed, and cannot tell that from a workflow at work. The lock taken
    here dies with its process, so Snakemake's can be lifted safely. Raises PsapError when another one is at work.
    """
    grids = load_grids(Path("params"))
    if suite not in grids:
        raise PsapError(f"unknown suite {suite!r}; params/ has {', '.join(grids)}")
    folder = Path(".snakemake")
    folder.mkdir(exist_ok=True)
    snakemake = [sys.executable, "-m", "snakemake"]
    try:
        with FileLock(folder / "psap.lock", timeout=0):
            if any(folder.glob("locks/*")):
                subprocess.run([*snakemake, "--unlock"], check=True, capture_output=True)
            done = subprocess.run([*snakemake, suite, "--cores", cores], check=False)
    except Timeout:
        raise PsapError("another `psap reproduce` is at work in this folder; wait for it, or stop it first") from None
    if done.returncode == 0:
        print(f"report: {Path('results') / suite / 'report.html'}")
    return done.returncode
