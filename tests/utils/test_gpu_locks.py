"""GPUs for jobs: no two jobs have the same one, and one that dies gives its own back."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Protocol

import pytest

# Takes GPUs, says which, and keeps them until it is told to end.
JOB = "import os, sys; from psap.utils.gpu_locks import acquire_gpus; acquire_gpus(int(sys.argv[1])); " + (
    "print(os.environ.get('CUDA_VISIBLE_DEVICES', 'none'), flush=True); sys.stdin.read()"
)


class Start(Protocol):
    """Starts a job that takes `count` of `gpus`; it ends with the test."""

    def __call__(self, count: int = 1, gpus: str = "0,1,2,3", **environment: str) -> "subprocess.Popen[str]": ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    jobs: list[subprocess.Popen[str]] = []

    def start_job(count: int = 1, gpus: str = "0,1,2,3", **environment: str) -> "subprocess.Popen[str]":
        mine = os.environ | {"TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": gpus} | environment
        command = [sys.executable, "-c", JOB, str(count)]
        jobs.append(subprocess.Popen(command, env=mine, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE))
        return jobs[-1]

    yield start_job
    for job in jobs:
        job.kill()
        job.communicate()


def has(job: "subprocess.Popen[str]") -> list[str]:
    assert job.stdout
    return job.stdout.readline().strip().split(",")


def test_jobs_have_gpus_of_their_own(start: Start) -> None:
    jobs = [start() for _ in range(4)]
    assert sorted(gpu for job in jobs for gpu in has(job)) == ["0", "1", "2", "3"]


def test_a_job_waits_for_what_another_gives_back_even_killed(start: Start) -> None:
    first, second = start(2, "0,1"), start(1, "5")
    assert sorted(has(first)) == ["0", "1"] and has(second) == ["5"]
    waiting = start(1, "0,1")
    assert waiting.stderr and waiting.stderr.readline().startswith("waiting for a GPU that another job has")
    assert has(start(1, "2")) == ["2"], "whoever waits is in nobody's way"
    first.kill()
    assert has(waiting)[0] in {"0", "1"}


def test_two_jobs_that_want_all_gpus_do_not_wait_for_each_other(start: Start) -> None:
    jobs = {job.stdout: job for job in (start(4), start(4)) if job.stdout}
    while jobs:
        first = jobs.pop(select.select(list(jobs), [], [], 60)[0][0])
        assert sorted(has(first)) == ["0", "1", "2", "3"]
        first.kill()


def test_a_gpu_is_shared_when_asked_for(start: Start) -> None:
    jobs = [start(gpus="0,1", PSAP_JOBS_PER_GPU="2") for _ in range(4)]
    assert sorted(gpu for job in jobs for gpu in has(job)) == ["0", "0", "1", "1"]


def test_the_same_number_in_another_slurm_job_is_another_gpu(start: Start) -> None:
    assert [has(start(gpus="0", SLURM_JOB_ID=job)) for job in ("7", "8")] == [["0"], ["0"]]


@pytest.mark.parametrize(
    ("count", "environment", "says"),
    [
        (5, {}, "5 GPUs wanted, but 4 are visible here; lower --processes"),
        (1, {"PSAP_JOBS_PER_GPU": "half"}, "PSAP_JOBS_PER_GPU=half: must be a whole number above 0"),
    ],
)
def test_what_cannot_be_had(count: int, environment: dict[str, str], says: str, start: Start) -> None:
    said = start(count, **environment).communicate()[1]
    assert f"PsapError: {says}" in said.splitlines()[-1]


@pytest.mark.skipif(bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="is about machines without GPUs")
def test_without_gpus_nothing_is_taken(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has(start(3, gpus="")) == [""]
