"""What suites cost, as the workflow and the command tell it, and what jobs ask for."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT

from PIL import Image
from project_helpers import TINY, Project

from psap.suites.grid import suite_files

FAR = TINY | {"data": {"source": "folder", "path": "nowhere"}}


def test_full_plans_without_the_data_but_does_not_start(project: Project) -> None:
    project.suite("zfar", FAR)
    command = [sys.executable, "-m", "snakemake", "full", "-n"]
    told = subprocess.run(
        command, cwd=project.folder, env=project.environment, check=True, stdout=PIPE, stderr=STDOUT, text=True
    ).stdout
    before, after = told.split("Job stats:", 1)
    runs = dict(re.findall(r"^\| ([\w ]+?) +\| (\d+) ", before, flags=re.M))
    assert runs == {"tiny": "5", "zfar": "5", "in all": "10"}
    assert "A100-hours" in before and "zfar: its data are not here yet" in before
    assert "tiny: its data" not in told
    assert dict(re.findall(r"^(\w+) +(\d+)$", after, flags=re.M))["prune"] == "6"
    alone = project.snakemake("zfar", "-n")
    assert alone.returncode == 0 and "nowhere: no such folder" in alone.stderr

    done = project.snakemake("full", "--cores", "1")
    assert done.returncode == 2
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert said.startswith("psap: params/zfar.yaml: data: nowhere: no such folder")
    assert not (project.folder / "results").exists() and not (project.folder / "data").exists()


def test_the_page_shows_what_the_command_prints(project: Project, root: Path) -> None:
    shutil.copytree(root / "params", project.folder / "params", dirs_exist_ok=True)
    (project.folder / "params" / "tiny.yaml").unlink()
    done = project.psap("plan")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 1 + 1 + len(suite_files(root / "params"))
    assert done.stdout in (root / "docs" / "scaling.md").read_text()
    assert "0.5 points take 10 seeds, and equivalence 11" in done.stdout
    some = project.psap("plan", "imagenet", "demo")
    assert "2 seeds: nothing is decided (demo)." in some.stdout
    assert [line for line in some.stdout.splitlines() if line.startswith("| imagenet ")] != []
    assert "cifar10" not in some.stdout
    assert project.psap("plan", "nosuch").returncode == 2


def jobs(project: Project, *arguments: str) -> list[str]:
    """What a dry run tells of each of the five training jobs."""
    done = project.snakemake("tiny", "-n", "--quiet", "progress", "--cores", "16", *arguments)
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^rule (?:dense|prune|retrain):\n(?:    .*\n)+", done.stdout, flags=re.M)
    assert len(found) == 5
    return found


def number(name: str, text: str) -> int:
    found = re.search(rf"\b{name}[=:] ?(\d+)", text)
    assert found, text
    return int(found[1])


def test_jobs_ask_for_what_they_need(project: Project) -> None:
    project.environment["CUDA_VISIBLE_DEVICES"] = ""
    found = jobs(project)
    for job in found:
        assert (number("gpu", job), number("runtime", job)) == (0, 240)
        assert 1500 < number("mem_mb", job) < 2000 and "threads" not in job
    again = jobs(project, "--attempt", "2")
    assert [number("mem_mb", job) for job in again] == [2 * number("mem_mb", job) for job in found]
    assert {number("runtime", job) for job in again} == {480}


def test_photographs_on_a_gpu_get_decoding_threads(project: Project) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = project.folder / "mine" / split / name
            place.mkdir(parents=True)
            Image.new("RGB", (80, 60)).save(place / "0.png")
    data = {"source": "folder", "path": "mine", "photos": {"size": 64}}
    project.suite("tiny", TINY | {"data": data, "models": ["torchvision:resnet18"]})
    project.environment["CUDA_VISIBLE_DEVICES"] = "0"
    for job in jobs(project):
        assert (number("gpu", job), number("threads", job)) == (1, min(12, os.cpu_count() or 1))
    project.environment["CUDA_VISIBLE_DEVICES"] = ""
    assert not any("threads" in job for job in jobs(project))


def test_the_planning_benchmark_plans_every_run(project: Project) -> None:
    done = project.psap("bench", "plan", "--runs", "1")
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["101", "105"]] * 2, "the runs; and data, grid, analyse, the suite"
    assert all(float(cell) > 0 for row in rows[2:] for cell in row[2:])
    (project.folder / "Snakefile").unlink()
    done = project.psap("bench", "plan", "--runs", "1")
    assert done.returncode == 2 and done.stderr == "psap: Snakefile is missing; run this in the project's folder\n"
