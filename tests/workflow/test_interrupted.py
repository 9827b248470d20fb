"""Rows that are in git outlive whatever interrupts the runs that would replace them."""

import os
import shutil
import signal
import subprocess
import sys
import time

from project_helpers import Project


def test_rows_survive_ctrl_c_and_jobs_that_fail(finished: Project) -> None:
    folder = finished.folder
    for name in ("checkpoints", "state"):  # as in a fresh clone: rows are in git, networks are not
        shutil.rmtree(folder / name)
    rows = {file: file.read_bytes() for file in folder.glob("results/**/seed0/*")}
    command = [sys.executable, "-m", "snakemake", "tiny", "--cores", "2"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=finished.environment,
        text=True,
        process_group=0,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Who runs the tests in the background of a shell ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as workflow:
        while workflow.poll() is None and not list(folder.glob("state/**/epoch-*.pt")):
            time.sleep(0.02)
        os.killpg(workflow.pid, signal.SIGINT)
        said = workflow.communicate()[1]
    assert workflow.returncode != 0
    assert {file: file.read_bytes() for file in rows} == rows
    assert "run the same command again to resume" in said and "git checkout-index --all --quiet" in said

    shutil.rmtree(folder / "state")
    (folder / "state").mkdir()
    (folder / "state" / "tiny").write_text("")  # a job that fails
    done = finished.snakemake("tiny", "--cores", "2")
    assert done.returncode == 1
    assert {file: file.read_bytes() for file in rows} == rows
    told = {line for line in done.stderr.splitlines() if line.startswith("psap: ") and "state" in line}
    assert len(told) == 1 and "cannot be written (Not a directory)" in told.pop()
    for block in ("RuleException", "CalledProcessError", "set -euo", "Cannot restore", "At least one job", "Traceback"):
        assert block not in done.stderr, block
