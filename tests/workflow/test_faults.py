"""Whatever happens to the machine, the same command goes on, and ends with the rows of an undisturbed run."""

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from project_helpers import TINY, Project
from strikes import KILLS, SIGNALS, networks, outcome, strike_often, wrong_in_mlflow

EPOCHS = {
    "dense": {"epochs": 12, "lr": 0.1},
    "pretrained": {"epochs": 16, "lr": 0.02},
    "scratch": {"epochs": 16, "lr": 0.1},
}


@pytest.fixture(scope="module")
def whole(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose suite ran to its end; its tracking server was not there, so its runs were replayed."""
    project = longer(Project(root, tmp_path_factory.mktemp("whole"), tracking=True))
    project.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"  # nobody listens at the discard port
    done = project.psap("reproduce", "tiny", "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tracking is behind, `psap track` replays it: tracking store http://127.0.0.1:9" in done.stderr
    del project.environment["MLFLOW_TRACKING_URI"]
    replayed = project.psap("track")
    assert replayed.stdout == "brought up to date: 6; already there: 0; still running: 0\n", replayed.stderr
    assert wrong_in_mlflow(project.folder, "tiny") == []
    assert not list(project.folder.glob("state/**/*.pt")), "nothing is left to resume from"
    return project


def longer(project: Project) -> Project:
    project.suite("tiny", TINY | {"training": TINY["training"] | EPOCHS})
    return project


def test_struck_in_every_way(whole: Project, root: Path, tmp_path: Path) -> None:
    draw, project = random.Random(0), longer(Project(root, tmp_path, tracking=True))
    kinds = [*KILLS, *KILLS, *SIGNALS]
    draw.shuffle(kinds)
    runs = len(networks(whole.folder, "tiny"))
    struck = list(strike_often(project.folder, "tiny", kinds, runs, draw, project.environment))
    assert len(struck) >= 5, f"only {struck} came in time"
    assert outcome(project.folder, "tiny") == outcome(whole.folder, "tiny")
    assert wrong_in_mlflow(project.folder, "tiny") == []


DENSE = "tiny/resnet8/dense/seed0"
FULL = """mount -t tmpfs -o size=1500k none state && {psap} train {run}; echo $?
mount -o remount,size=50m state && {psap} train {run}; echo $?"""


def test_a_full_disk(whole: Project, root: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], check=False).returncode:
        pytest.skip("no file system of a test's own can be mounted here (unshare -rm)")
    project = longer(Project(root, tmp_path))
    assert project.psap("data", "digits").returncode == 0
    (project.folder / "state").mkdir()
    script = FULL.format(psap=f"{sys.executable} -m psap", run=DENSE)
    command = ["unshare", "-rm", "sh", "-c", script]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )
    first, *said, last = done.stdout.splitlines()
    assert (first, last) == ("2", "0") and said[-1].startswith(f"{DENSE}: top-1 "), done.stderr
    full = "/epoch-00003-"
    problem, *later = (line for line in done.stderr.splitlines() if " epoch " not in line)
    assert problem.startswith(f"psap: state/{DENSE}/") and full in problem, done.stderr
    assert problem.endswith(
        "cannot be written (No space left on device); fix the cause and run the same command again to resume"
    )
    assert later == [], "nor a traceback"
    assert done.stderr.count(" epoch ") == EPOCHS["dense"]["epochs"], "each epoch was trained once"
    for name, content in project.files().items():
        assert content == whole.files()[name], name


def test_an_image_that_goes_bad(root: Path, tmp_path: Path) -> None:
    project = Project(root, tmp_path)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(8):
                picture = Image.effect_noise((16, 16), 60 if name == "cat" else 20).convert("RGB")
                picture.save(tmp_path / "photos" / split / name / f"{i}.png")
    suite = TINY | {"data": {"source": "folder", "path": "photos"}, "methods": {"scratch": ["l1"]}}
    project.suite("tiny", suite | {"training": TINY["training"] | {"batch_size": 4}})
    assert project.psap("reproduce", "tiny").returncode == 0
    before = project.files()
    image = tmp_path / "photos" / "train" / "dog" / "3.png"
    shutil.copy(image, tmp_path / "good.png")
    image.write_bytes(image.read_bytes()[:100])
    done = project.psap("reproduce", "tiny")
    assert done.returncode != 0 and project.files() == before, "nothing is taken back"
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert "photos/train/dog/3.png: damaged, truncated" in said and "Traceback" not in done.stderr
    shutil.copy(tmp_path / "good.png", image)
    done = project.psap("reproduce", "tiny")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert project.files() == before
