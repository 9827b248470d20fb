"""Killed at any moment, the same command goes on and ends with the same bits."""

import os
import random
import signal
import time

import pytest
from project import TINY, Project

DENSE, PRUNED = "tiny/resnet8/dense/seed0", "tiny/resnet8/scratch/psap/0.5/seed0"


def kill_in_epoch(project: Project, run: str, epoch: int, delay: float) -> bool:
    """Start `run`, kill it `delay` seconds after the checkpoint of `epoch`; False when it was through before."""
    process = project.start("train", run)
    state = project.folder / "state" / run
    while process.poll() is None and not list(state.glob(f"*/epoch-{epoch:05d}-*.pt")):
        time.sleep(0.01)
    time.sleep(delay)
    running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return running


@pytest.mark.parametrize("seed", [0])
def test_killed_four_times_and_resumed_is_the_same_run(root, tmp_path, seed: int) -> None:
    draw = random.Random(seed)
    suite = TINY | {"training": TINY["training"] | {"scratch": {"epochs": 8, "lr": 0.1}}}
    projects = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        project = Project(root, tmp_path / name)
        project.suite("tiny", suite)
        assert project.psap("data", "digits").returncode == 0
        projects.append(project)
    whole, killed = projects
    for run in (DENSE, PRUNED):
        done = whole.psap("train", run)
        assert done.returncode == 0, done.stderr
    kills = 0
    assert killed.psap("train", DENSE).returncode == 0
    process = killed.start("train", PRUNED)
    time.sleep(draw.uniform(0.5, 4))  # while it starts up
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for epoch in sorted(draw.sample(range(1, 8), 3)):
        kills += kill_in_epoch(killed, PRUNED, epoch, draw.uniform(0, 0.3))
    done = killed.psap("train", PRUNED)
    assert done.returncode == 0, done.stderr
    assert kills >= 2, "too few of the kills came in time to prove anything"
    assert done.stderr.count(" epoch ") < 8, "the last attempt went on, it did not begin anew"
    assert killed.files() == whole.files()


def test_a_damaged_checkpoint_is_passed_over_and_said_so(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", DENSE).returncode == 0
    expected = project.files()
    for file in project.folder.glob("results/**/*.*"):
        file.unlink()
    assert kill_in_epoch(project, DENSE, 2, 0.0)
    newest = max(project.folder.glob("state/**/*.pt"), key=lambda file: file.name)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    done = project.psap("train", DENSE)
    assert done.returncode == 0
    assert f"{newest.relative_to(project.folder)}: damaged" in done.stderr
    assert project.files() == expected
