"""A suite through a real SLURM: struck in every way it goes on, and ends with the rows of an undisturbed local run."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from jobs_helpers import PROFILE, described, first_epoch, in_the_middle, jobs, kill_all, slurm, training
from project_helpers import TINY, Project, last_epoch
from strikes import outcome, wrong_in_mlflow

Workflow = subprocess.Popen[bytes]
Start = Callable[[Project], Workflow]
METHODS = {"pretrained": ["psap"], "scratch": ["psap", "small_dense"]}
EPOCHS = 30
DENSE, PRETRAINED, SCRATCH, RETRAINED = RUNS = [
    "tiny/resnet8/dense/seed0",
    "tiny/resnet8/pretrained/psap/0.5/seed0",
    "tiny/resnet8/scratch/psap/0.5/seed0",
    "tiny/resnet8/scratch/small_dense/0.5/seed0",
]

pytestmark = pytest.mark.usefixtures("cluster")


def four_runs(root: Path, folder: Path) -> Project:
    folder.mkdir()
    project = Project(root, folder, tracking=True)
    recipes = {name: TINY["training"][name] | {"epochs": EPOCHS} for name in ("dense", "pretrained", "scratch")}
    project.suite("tiny", TINY | {"methods": METHODS, "training": TINY["training"] | recipes})
    return project


def cancel(process: psutil.Process) -> None:
    slurm("scancel", process.environ()["SLURM_JOB_ID"])


def preempt(process: psutil.Process) -> None:
    """Another's job of a partition that comes first takes the whole node; SLURM puts ours back into the queue."""
    node = process.environ()["SLURMD_NODENAME"]
    slurm("sbatch", "--partition=urgent", "--exclusive", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 1")


STRIKES = {DENSE: cancel, PRETRAINED: psutil.Process.kill, SCRATCH: preempt}
ENDS = {DENSE: ("CANCELLED", "0"), PRETRAINED: ("FAILED", "0"), SCRATCH: ("COMPLETED", "1")}  # state, and restarts


def test_struck_in_every_way(root: Path, tmp_path: Path, start: Start) -> None:
    whole, struck = four_runs(root, tmp_path / "whole"), four_runs(root, tmp_path / "struck")
    assert whole.psap("reproduce", "tiny", "--cores", "2").returncode == 0
    folder, workflow = struck.folder, start(struck)
    job, reached = {}, {}
    for run, strike in STRIKES.items():
        process = in_the_middle(folder, run, workflow)
        job[run] = process.environ()["SLURM_JOB_ID"]
        strike(process)
        process.wait(timeout=60)
        reached[run] = last_epoch(folder, run)
    reached[RETRAINED] = stopped_and_killed(struck, workflow, start)
    for run, end in ENDS.items():
        first = described(job[run])
        assert (first["JobState"], first["Restarts"]) == end, "SLURM itself brings back what it preempts, and only that"
    for run in RUNS:
        assert 2 < reached[run] < EPOCHS, "struck in the middle"
        assert first_epoch(folder, run) == reached[run] + 1, "the last attempt went on, it did not begin anew"
    assert outcome(folder, "tiny") == outcome(whole.folder, "tiny")
    assert len(outcome(folder, "tiny")) == 4 * len(RUNS) + 2 + 1, "history of two runs, runs.csv"
    assert wrong_in_mlflow(folder, "tiny") == []


def stopped_and_killed(project: Project, workflow: Workflow, start: Start) -> int:
    """Stop the workflow in the middle of its last run, start it again, kill it, and have it go on to its end.

    Returns the epoch at which the run was last interrupted.
    """
    folder = project.folder
    process = in_the_middle(folder, RETRAINED, workflow)
    workflow.send_signal(signal.SIGTERM)
    assert workflow.wait(timeout=60) == 128 + signal.SIGTERM
    process.wait(timeout=60)
    assert jobs(folder, "PENDING,RUNNING") == {}, "it leaves no job behind"
    epoch = last_epoch(folder, RETRAINED)
    workflow = start(project)
    process = in_the_middle(folder, RETRAINED, workflow, beyond=epoch)
    assert first_epoch(folder, RETRAINED) == epoch + 1
    kill_all(workflow)
    assert training(folder, RETRAINED) == process, "SLURM's job outlives the workflow"
    process.suspend()  # or else a fast machine would be through before the next workflow takes the job back
    workflow = start(project)
    process.wait(timeout=60)
    epoch = last_epoch(folder, RETRAINED)
    assert workflow.wait(timeout=600) == 0, (folder / "workflow.log").read_text()[-3000:]
    return epoch


def test_what_a_rule_asks_for_reaches_slurm_and_jobs_only_write_journals(root: Path, tmp_path: Path) -> None:
    project = Project(root, tmp_path, tracking=True)
    project.suite("tiny", TINY | {"seeds": [0, 1], "hardware": "gpu"})  # which alone makes it ask for GPUs
    rows = [f"results/tiny/resnet8/dense/seed{seed}/run.json" for seed in (0, 1)]
    asked = ("dense:mem_mb=1500", "dense:runtime=7")
    done = project.snakemake(*rows, *PROFILE, "--set-resources", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = (described(job) for job, rule in jobs(tmp_path).items() if rule.startswith("rule_dense_"))
    for job in (one, other):
        assert job["TresPerJob"] == "gres:gpu:1"
        assert job["TRES"] == "cpu=1,mem=1500M,node=1,billing=1" and job["TimeLimit"] == "00:07:00"
    assert max(one["StartTime"], other["StartTime"]) < min(one["EndTime"], other["EndTime"]), "at once, with a GPU each"
    assert not (tmp_path / "mlflow.db").exists() and not list(tmp_path.glob("state/**/tracking.log"))
    replayed = project.psap("track")
    assert replayed.stdout == "brought up to date: 2; already there: 0; still running: 0\n", replayed.stderr
