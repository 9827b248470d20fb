"""Killed at any moment, the same command goes on and ends with the same bits."""

import json
import os
import random
import signal
import time
from pathlib import Path

from project_helpers import TINY, Project, last_epoch

DENSE, PRUNED = "tiny/resnet8/dense/seed0", "tiny/resnet8/scratch/psap/0.5/seed0"
EPOCHS = 8
SUITE = TINY | {"training": TINY["training"] | {part: {"epochs": EPOCHS, "lr": 0.1} for part in ("dense", "scratch")}}


def kill_after_epoch(project: Project, run: str, epoch: int, delay: float) -> bool:
    """Start `run`, kill it `delay` seconds after a checkpoint of `epoch` or later; False when it was through before."""
    process = project.start("train", run)
    while process.poll() is None and last_epoch(project.folder, run) < epoch:
        time.sleep(0.01)
    time.sleep(delay)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return running


def test_killed_four_times_and_resumed_is_the_same_run(root: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    projects = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        project = Project(root, tmp_path / name)
        project.suite("tiny", SUITE)
        assert project.psap("data", "digits").returncode == 0
        projects.append(project)
    whole, killed = projects
    for run in (DENSE, PRUNED):
        done = whole.psap("train", run)
        assert done.returncode == 0, done.stderr
    row = json.loads((whole.folder / "results" / PRUNED / "run.json").read_text())
    an_epoch = row["cost"]["seconds"] / EPOCHS
    assert killed.psap("train", DENSE).returncode == 0
    assert kill_after_epoch(killed, PRUNED, 0, draw.uniform(0, 1)), "killed while it starts up"
    kills = 0
    for _ in range(3):
        epoch = last_epoch(killed.folder, PRUNED) + 1
        kills += kill_after_epoch(killed, PRUNED, epoch, draw.uniform(0, an_epoch))
    done = killed.psap("train", PRUNED)
    assert done.returncode == 0, done.stderr
    assert kills >= 2, "too few of the kills came in time to prove anything"
    assert done.stderr.count(" epoch ") < EPOCHS, "the last attempt went on, it did not begin anew"
    assert killed.files() == whole.files()


def test_a_damaged_checkpoint_is_passed_over_and_said_so(project: Project) -> None:
    project.suite("tiny", SUITE)
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", DENSE).returncode == 0
    expected = project.files()
    for file in project.folder.glob("results/**/*.*"):
        file.unlink()
    assert kill_after_epoch(project, DENSE, 2, 0.0)
    newest = max(project.folder.glob("state/**/*.pt"), key=lambda file: file.name)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    done = project.psap("train", DENSE)
    assert done.returncode == 0
    assert f"{newest.relative_to(project.folder)}: damaged" in done.stderr
    assert project.files() == expected
