"""What the workflow says before it starts, and what it refuses."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from PIL import Image
from project_helpers import TINY, Project
from torch import nn

from psap import models
from psap.planning import affordable, report
from psap.planning.estimate import Estimate
from psap.suites.grid import load_grids
from psap.utils import gpu_locks
from psap.workflow import reproduce

# Days on any machine: the longest training that there is, 400 times.
SLOW = TINY | {
    "seeds": list(range(100)),
    "training": TINY["training"] | {name: TINY["training"][name] | {"epochs": 10**5} for name in TINY["methods"]},
}


def test_says_which_suites_fit_and_why_others_do_not(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.suite("big", TINY | {"hardware": "gpu"})
    project.suite("far", TINY | {"data": {"source": "folder", "path": "nowhere"}})
    project.suite("slow", SLOW)
    monkeypatch.chdir(project.folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    grids = load_grids(Path("params"))
    assert report.announce_fitting(grids) == ["tiny"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and lines[-1].startswith("in all    5 runs, about 1 minute here")
    by_suite = {name: next(line for line in lines if f" {name}:" in line) for name in ("tiny", "big", "far", "slow")}
    assert "5 runs, about 1 minute here" in by_suite["tiny"] and by_suite["tiny"].startswith("runs")
    assert "meant for a GPU, and there is none here" in by_suite["big"]
    assert "its data are not here yet" in by_suite["far"]
    assert "more than 24 hours" in by_suite["slow"] and "days here" in by_suite["slow"]
    for name in ("big", "far", "slow"):
        assert by_suite[name].endswith(f"snakemake {name} --cores all")


def test_what_lacks_its_weights_does_not_fit(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dense = TINY["training"] | {"dense": {"weights": "published", "epochs": 1, "lr": 0.1}}
    names = ["timm.tf_efficientnet_lite0", "torchvision.resnet18"]
    photos = {"source": "folder", "path": "mine", "photos": {"size": 32}}
    models = [name.replace(".", ":", 1) for name in names]
    project.suite("lent", TINY | {"data": photos, "training": dense, "models": models})
    for name in ("cat", "dog"):
        for split in ("train", "test"):
            file = project.folder / "mine" / split / name / "0.png"
            file.parent.mkdir(parents=True)
            Image.new("RGB", (40, 40)).save(file)
    monkeypatch.chdir(project.folder)
    for name in ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda hub, file: None)
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setenv("PSAP_WEIGHTS", str(weights))
    grid = load_grids(Path("params"))["lent"]
    assert report._obstacle(grid, 1.0) == f"published weights are not here yet: {', '.join(models)}"
    for name in names:
        (weights / f"{name}.pth").touch()
    assert report._obstacle(grid, 1.0) == ""


def test_the_estimate_does_not_count_what_else_the_machine_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    estimate = Estimate(load_grids(Path("params"))["tiny"])
    monkeypatch.setattr("psap.planning.estimate._START_UP", 0.0)
    built = models.build

    def waiting(name: str, classes: int, in_channels: int = 3) -> nn.Module:
        network = built(name, classes, in_channels)
        network.register_forward_pre_hook(lambda *seen: time.sleep(0.3))
        return network

    alone = estimate.hours_here()
    monkeypatch.setattr("psap.models.build", waiting)
    kept_waiting = estimate.hours_here()
    assert alone.least <= alone.middle <= alone.most
    assert 1 / 3 < kept_waiting.middle / alone.middle < 3


def test_gpus_follow_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, count in (("", 0), ("-1", 0), ("0", 1), ("0,3", 2)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert len(gpu_locks.visible_gpus()) == count


def test_a_folder_named_after_snakemake_is_no_snakemake(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "snakemake-project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    sleeper = f"{folder}/python -m psap"
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", sleeper])
    try:
        assert reproduce._snakemakes() == []
    finally:
        process.kill()
        process.wait()


def test_what_follows_the_suites_is_given_to_snakemake(project: Project) -> None:
    planned = project.psap("reproduce", "tiny", "--dry-run", "--set-resources", "dense:mem_mb=777")
    assert planned.returncode == 0, planned.stderr
    assert "This was a dry-run" in planned.stdout + planned.stderr and "report:" not in planned.stdout
    assert not (project.folder / "results").exists()
    refused = project.psap("reproduce", "tiny", "--no-such-option")
    assert refused.returncode == 2 and "unrecognized arguments: --no-such-option" in refused.stderr
    nothing = project.psap("reproduce", "--dry-run", "tiny")
    assert nothing.returncode == 2
    assert nothing.stderr == "psap: which suite? psap reproduce SUITES... [SNAKEMAKE OPTIONS]\n"


def test_a_profile_says_how_many_jobs_run_at_once_unless_the_user_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, options, told in (
        ("", [], ["--cores", "all"]),
        ("", ["--profile", "profiles/slurm"], []),
        ("", ["--profile=profiles/slurm"], []),
        ("8", ["--profile", "profiles/slurm"], ["--cores", "8"]),
    ):
        assert reproduce._cores(cores, options) == told
    monkeypatch.setenv("SNAKEMAKE_PROFILE", "profiles/slurm")
    assert reproduce._cores("", []) == []


def test_two_at_once_in_one_folder_are_refused(project: Project) -> None:
    (project.folder / ".snakemake").mkdir()
    with FileLock(project.folder / ".snakemake" / "psap.lock"):
        done = project.psap("reproduce", "tiny")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "psap: another `psap reproduce` is at work in this folder; wait for it, or stop it first"
    )


def test_killed_with_everything_the_same_command_goes_on(project: Project) -> None:
    project.suite("tiny", TINY | {"methods": {"scratch": ["random"]}})
    process = project.start("reproduce", "tiny")
    while process.poll() is None and not list(project.folder.glob("state/**/epoch-*.pt")):
        time.sleep(0.05)
    assert process.poll() is None
    left = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    second = project.psap("reproduce", "tiny")
    assert second.returncode == 2 and "Snakemake is at work in this folder" in second.stderr, "it outlives its parent"
    for found in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.kill()
    psutil.wait_procs(left)
    assert "LockException" in project.snakemake("tiny", "--cores", "1").stderr, "Snakemake's own lock is left behind"
    done = project.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "report: results/tiny/report.html" in done.stdout


def test_what_would_take_days_does_not_start_unless_it_must(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project.suite("slow", SLOW)
    done = project.psap("reproduce", "slow")
    plan_of_it, refused = done.stderr.splitlines()
    assert done.returncode == 2 and plan_of_it.startswith("slow: 500 of 500 runs to do, about ")
    assert "GB of disk" in plan_of_it and "with --anyway it starts (" in refused
    assert not (project.folder / ".snakemake").exists()
    monkeypatch.chdir(project.folder)
    grids = load_grids(Path("params"))
    affordable.tell_plan([grids["tiny"]], anyway=False)
    affordable.tell_plan([grids["slow"]], anyway=True)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_suite_that_is_wrong_or_not_there_is_one_line_and_stops_no_other(project: Project) -> None:
    project.suite("bad", TINY | {"targets": [1.5]})
    done = project.snakemake("tiny", "-n")
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert done.returncode == 0 and said.startswith("psap: params/bad.yaml: targets.0: "), done.stderr
    unknown = "unknown suite 'nosuch'; params/ has tiny"
    for command, asked, says in (
        (project.snakemake, "bad", "params/bad.yaml: targets.0"),
        (project.psap, "nosuch", unknown),
    ):
        done = command(*(["reproduce"] if command == project.psap else []), asked, "-n")
        *others, said = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
        assert done.returncode == 2 and said.startswith(f"psap: {says}"), done.stderr
        assert all("the other suites go on" in line for line in others)
    done = project.snakemake("tinny", "-n")
    assert done.returncode == 1 and "Exception" not in done.stdout + done.stderr
    assert "psap: 'tinny' is neither a suite nor a file that one makes; did you mean 'tiny'?" in done.stdout
