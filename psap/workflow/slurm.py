"""What a workflow that was killed leaves in a cluster's queue."""

import shutil
import subprocess
from pathlib import Path


def cancel_left_jobs() -> None:
    """Take back the jobs that a workflow of the working directory has left in SLURM's queue; nothing without SLURM.

    Its successor submits the same runs again, which would wait for those that are left, each with a GPU in hand.
    """
    if shutil.which("squeue") is None:
        return
    listing = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%i|%Z|%k"], capture_output=True, text=True, check=False
    )
    jobs = (line.split("|", 2) for line in listing.stdout.splitlines())
    # By the comment that Snakemake gives its jobs: this process may itself be a job of this folder.
    left = [job for job, folder, comment in jobs if folder == str(Path.cwd()) and comment.startswith("rule_")]
    if left:
        subprocess.run(["scancel", *left], capture_output=True, check=False)
