"""`psap train --processes`: a rank that is lost costs an epoch at most, and what cannot be shared is one clear line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from project_helpers import TINY, Project, last_epoch

from psap.utils.mappings import JsonObject

CHANGED = {"pretrained": {"epochs": 12, "lr": 0.02}, "micro_batch": 25}
RUN = "tiny/resnet8/pretrained/psap/0.5/seed0"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Project:
    return trained_dense(Project(pytestconfig.rootpath, tmp_path_factory.mktemp("undisturbed")))


def trained_dense(project: Project) -> Project:
    project.suite("tiny", TINY | {"training": TINY["training"] | CHANGED})
    for arguments in (("data", "digits"), ("train", "tiny/resnet8/dense/seed0")):
        done = project.psap(*arguments)
        assert done.returncode == 0, done.stderr
    return project


def test_a_rank_that_is_killed_ends_the_run_which_then_goes_on_to_the_same_end(
    undisturbed: Project, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    done = undisturbed.psap("train", RUN, "--processes", "2")
    assert done.returncode == 0, done.stderr
    expected = undisturbed.files()

    project = trained_dense(Project(pytestconfig.rootpath, tmp_path))
    command = [sys.executable, "-m", "psap", "train", RUN, "--processes", "2"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stderr=subprocess.PIPE, text=True
    ) as job:
        wait_for(lambda: last_epoch(project.folder, RUN) >= 2)
        (victim,) = [child for child in psutil.Process(job.pid).children() if is_rank(child, 1)]
        victim.send_signal(signal.SIGKILL)
        said = job.communicate(timeout=120)[1]
    assert job.returncode == 2
    last = said.strip().splitlines()[-1]
    assert last.startswith("psap: rank 1 of 2 ended with signal SIGKILL")
    assert "Traceback" not in said
    assert not (project.folder / "results" / RUN / "run.json").exists()

    done = project.psap("train", RUN, "--processes", "2")
    assert done.returncode == 0, done.stderr
    assert "epoch 1/12" not in done.stderr
    assert project.files() == expected


def is_rank(process: psutil.Process, rank: int) -> bool:
    return process.environ().get("RANK") == str(rank)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_run_goes_on_with_another_number_of_ranks(
    undisturbed: Project, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    project = trained_dense(Project(pytestconfig.rootpath, tmp_path))
    job = project.start("train", RUN, "--processes", "2")
    wait_for(lambda: last_epoch(project.folder, RUN) >= 2)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    for rank in [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(project.folder)]:
        rank.kill()
    done = project.psap("train", RUN)
    assert done.returncode == 0, done.stderr
    assert "epoch 1/12" not in done.stderr and "epoch 12/12" in done.stderr


@pytest.mark.parametrize(
    ("processes", "change", "says"),
    [
        ("3", {"micro_batch": None}, "3 processes need training: {micro_batch: ...} in the suite, such as 16"),
        ("3", {}, "cannot be shared by 3 processes that take 25 images at a time"),
        ("2", {"micro_batch": 50}, "cannot be shared by 2 processes that take 50 images at a time"),
        (
            "2",
            {"batch_size": 500, "micro_batch": 250},
            "do not fill a batch of 500",
        ),
    ],
)
def test_images_that_do_not_suffice_for_every_rank(
    processes: str, change: JsonObject, says: str, undisturbed: Project
) -> None:
    file = undisturbed.folder / "params" / "tiny.yaml"
    before = file.read_text()
    suite = yaml.safe_load(before)
    suite["training"] |= change
    file.write_text(yaml.safe_dump(suite))
    done = undisturbed.psap("train", "tiny/resnet8/dense/seed0", "--processes", processes)
    file.write_text(before)
    assert done.returncode == 2
    assert says in done.stderr and "Traceback" not in done.stderr
