"""Results that agree with the committed ones leave git clean, on any processor and whenever killed; others stay."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from project_helpers import TINY, Project

SUITE = TINY | {"methods": {"pretrained": ["l1"]}, "seeds": [0, 1]}
OWN, FOLDER = Path("rerun/suites/tiny"), Path("results/tiny")


def git(folder: Path, *arguments: str) -> str:
    command = ("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments)
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "all")


def reproduce(project: Project, *options: str) -> tuple[str, str]:
    """The closing paragraph, in one line, and all that was said."""
    done = project.psap("reproduce", "tiny", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    ending = done.stdout[done.stdout.index("report: ") :].split("\n", 1)[1]
    return " ".join(ending.split()), done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Files by name, without Snakemake's own marks."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"), reason="one way to calculate only")
def test_another_processor_leaves_git_clean(root: Path, project: Project) -> None:
    project.suite("tiny", SUITE)
    shutil.copy(root / ".gitignore", project.folder)
    git(project.folder, "init", "-q")
    assert reproduce(project)[0] == "", "no row is committed yet"
    commit(project.folder)
    folder, own = project.folder / FOLDER, project.folder / OWN
    before = contents(folder)
    for name in ("checkpoints", "data", "state", ".snakemake"):
        shutil.rmtree(project.folder / name)
    project.environment["ATEN_CPU_CAPABILITY"] = "avx2"
    told, _ = reproduce(project)
    assert told.startswith("tiny: 4 runs. 0 of 4 rows are bit-equal to the committed ones. Top-1 differs by at most ")
    row = json.loads((own / "resnet8/dense/seed0/run.json").read_text())["provenance"]["machine"]
    here = torch.backends.cpu.get_cpu_capability()
    machines = (
        f"made on {row['processor']} with {here}; these on {row['processor']} with AVX2. All 9 verdicts are equal."
    )
    assert row["instructions"] == "AVX2" and machines in told
    assert told.endswith("These are in rerun/suites/tiny/; `psap reproduce tiny --accept` puts them in results/tiny/.")
    unchanged(project, before)
    report = project.psap("report", str(FOLDER), str(OWN))
    assert report.stdout.startswith("4 runs are in both; "), report.stderr
    mine = contents(own)
    again, said = reproduce(project)
    assert again == told and "Nothing to be done" in said and contents(own) == mine
    assert "Nothing to be done" in project.snakemake("tiny", "--cores", "all").stderr
    unchanged(project, before)

    shutil.rmtree(project.folder / "checkpoints/tiny/resnet8/pretrained/l1/0.5/seed1")
    again, said = reproduce(project)
    assert "1 of 1 steps" not in said and again == told, "the same processor makes the same network again"
    unchanged(project, before)

    told, said = reproduce(project, "--accept")
    assert "Nothing to be done" in said and told.endswith("in results/tiny/; commit them.") and not own.exists()
    assert "results/tiny/runs.csv" in git(project.folder, "status", "--porcelain")
    commit(project.folder)
    committed = "tiny: 4 runs. 4 rows are the committed ones themselves. All 9 verdicts are equal."
    assert reproduce(project)[0] == committed
    methods = project.folder / "params/methods.yaml"
    methods.write_text(methods.read_text().replace("criterion: l1", "criterion: l2"))
    told, _ = reproduce(project)
    assert "(runs with other settings or data: 2" in told and told.endswith("They are in results/tiny/.")
    assert not own.exists()


def unchanged(project: Project, before: dict[str, bytes]) -> None:
    assert not git(project.folder, "status", "--porcelain") and contents(project.folder / FOLDER) == before


_DRIVE = """
import os, shutil, signal, sys
from pathlib import Path

steps = int(sys.argv[1])

def counted(action, half=None):
    def act(*arguments, **options):
        global steps
        steps -= 1
        if steps == 0:
            if half:
                half(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return action(*arguments, **options)
    return act

def half_removed(folder, *_):
    for file in sorted(Path(folder).rglob("*"))[:1]:
        if file.is_file():
            file.unlink()

Path.rename = counted(Path.rename)
shutil.rmtree = counted(shutil.rmtree, half_removed)
from psap.workflow.apart import bring_back, copy_of_committed, put_apart
from psap.workflow.committed import write_committed

bring_back("tiny")
if (Path("results/tiny") / "run.json").read_text() != sys.argv[2]:
    print("lost")
assert write_committed(Path("results/tiny"), copy_of_committed("tiny"))
put_apart("tiny")
"""


def drive(folder: Path, steps: int, own: str) -> "subprocess.CompletedProcess[str]":
    """Bring this machine's results back and put them apart again, killed at the step of that number (0: never)."""
    return subprocess.run(
        [sys.executable, "-c", _DRIVE, str(steps), own], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("apart", [False, True], ids=["first time", "again"])
def test_a_kill_on_the_way_loses_neither(tmp_path: Path, root: Path, apart: bool) -> None:
    shutil.copy(root / ".gitignore", tmp_path)
    committed, own = (json.dumps({"provenance": {"commit": name}}) for name in "ab")
    folder, mine = tmp_path / FOLDER, tmp_path / OWN
    folder.mkdir(parents=True)
    for name in ("report.html", "run.json"):
        (folder / name).write_text(committed)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    (folder / "run.json").write_text(own)
    if apart:
        assert drive(tmp_path, 0, own).returncode == 0
    for step in range(1, 20):
        struck = drive(tmp_path, step, own)
        assert struck.returncode in (0, -9), struck.stderr
        after = drive(tmp_path, 0, own)
        assert (after.returncode, after.stdout) == (0, ""), f"killed at step {step}: {after.stdout}{after.stderr}"
        assert (mine / "run.json").read_text() == own
        assert not git(tmp_path, "status", "--porcelain")
        if struck.returncode == 0:
            break
        if not apart:
            shutil.rmtree(mine)
            (folder / "run.json").write_text(own)
    assert step > 4 and struck.returncode == 0
    assert [file.name for file in mine.parent.iterdir()] == ["tiny"]


def test_results_of_other_networks_are_not_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed rows may be newer than what once went apart."""
    from psap.models import build
    from psap.models.saved import save
    from psap.workflow.apart import bring_back, results_of_this_machine

    monkeypatch.chdir(tmp_path)
    for folder, name in ((FOLDER, "new"), (OWN, "old")):
        (folder / "seed0").mkdir(parents=True)
        (folder / "seed0/run.json").write_text(json.dumps({"provenance": {"network": name}}))
    (tmp_path / ".gitignore").write_text("rerun\ncheckpoints\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    save(build("resnet8", 10, 1), Path("checkpoints/tiny/seed0"), name="resnet8", classes=10, in_channels=1)
    bring_back("tiny")
    assert "new" in (FOLDER / "seed0/run.json").read_text() and results_of_this_machine("tiny") == OWN
    shutil.rmtree("checkpoints")
    bring_back("tiny")
    assert "old" in (FOLDER / "seed0/run.json").read_text() and results_of_this_machine("tiny") == FOLDER
