"""A collaborator pulls and has everything; an edit retrains what depends on it, no more: git, DVC, Snakemake, real."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_helpers import TINY, Project

SUITE = TINY | {"methods": {"pretrained": ["psap", "l1"]}}


class Clone(Project):
    """A project that is a DVC repository too."""

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)


@pytest.fixture
def original(root: Path, tmp_path: Path) -> Clone:
    (tmp_path / "a").mkdir()
    clone = Clone(root, tmp_path / "a")
    # As in an activated environment.
    clone.environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    clone.environment |= {"DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    (tmp_path / "gitconfig").write_text("[user]\nname = a\nemail = a@b\n[init]\ndefaultBranch = main\n")
    clone.suite("tiny", SUITE)
    (clone.folder / "dvc.yaml").write_text((root / "dvc.yaml").read_text().replace("demo", "tiny"))
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(root / name, clone.folder / name)
    (clone.folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copy(root / ".dvc" / name, clone.folder / ".dvc" / name)
    shutil.copytree(root / "psap", clone.folder / "psap", ignore=shutil.ignore_patterns("__pycache__"))
    clone.git("init", "-q")
    clone.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    return clone


def saved(clone: Clone, message: str) -> None:
    clone.git("add", "-A")
    clone.git("commit", "-q", "-m", message)


def cloned(original: Clone, folder: Path) -> Clone:
    original.git("clone", "-q", str(original.folder), str(folder))
    clone = copy.copy(original)
    clone.folder = folder
    return clone


def test_pull_and_go_on(original: Clone, tmp_path: Path) -> None:
    original.dvc("repro", "-q")
    saved(original, "results")
    assert not original.git("status", "--porcelain"), "what DVC keeps is out of git, what it does not is in it"
    original.dvc("push", "-q")

    other = cloned(original, tmp_path / "b")
    other.dvc("pull", "-q")
    assert other.files() == original.files()
    assert "didn't change, skipping" in other.dvc("repro")
    assert "Nothing to be done" in other.run(sys.executable, "-m", "snakemake", "tiny", "--cores", "all")

    before = other.files()
    methods = other.folder / "params" / "methods.yaml"
    methods.write_text(methods.read_text().replace("criterion: l1", "criterion: l2"))
    assert "l1.criterion" in other.dvc("params", "diff")
    other.dvc("repro", "-q")
    changed = {name for name, content in other.files().items() if content != before[name]}
    runs = {name.split("/tiny/")[1] for name in changed if "/seed0/" in name}
    assert runs and all(name.startswith("resnet8/pretrained/l1/0.5/seed0/") for name in runs)
    [line] = [line for line in other.dvc("metrics", "diff").splitlines() if "l1_50.top1_last_mean" in line]
    top1 = json.loads((other.folder / "results/tiny/resnet8/pretrained/l1/0.5/seed0/run.json").read_text())
    assert f"{top1['result']['top1_last']:.3f}"[:5] in line
    assert "index.html" in other.dvc("plots", "show")
    shutil.rmtree(other.folder / "dvc_plots")

    other.git("checkout", "-q", "--", ".")
    other.git("clean", "-qfd", "results")
    other.dvc("checkout", "-q")
    assert other.files() == before, "back in history without any training"
    assert "didn't change, skipping" in other.dvc("repro")


def test_publish_and_pull_on_another_path(original: Clone, root: Path, tmp_path: Path) -> None:
    zoo = Path("results/zoo/resnet8-digits-80")
    shutil.copytree(root / zoo, original.folder / zoo)
    saved(original, "no networks yet")
    store = str(tmp_path / "published")
    assert "no networks to publish" in original.psap("publish", store).stderr
    assert original.psap("reproduce", "tiny").returncode == 0
    refused = original.psap("publish", store)
    assert refused.returncode == 2 and refused.stderr.endswith("commit first\n") and not Path(store).exists()
    saved(original, "results")
    row = original.folder / "results/tiny/resnet8/dense/seed0/run.json"
    made = row.read_text()
    row.write_text(made.replace('"network": "', '"network": "0'))
    saved(original, "a row of another network")
    assert "1 rows of tiny are committed from other networks than are here" in original.psap("publish", store).stderr
    row.write_text(made)
    saved(original, "its own row")

    done = original.psap("publish", store)
    assert done.returncode == 0, done.stderr
    assert "a clone pulled 3 networks, each as it is here" in done.stdout
    assert not original.git("status", "--porcelain")
    assert original.git("show", "--name-only", "--format=").split() == [".dvc/config", "dvc.lock"]
    assert original.psap("publish", store).returncode == 0, "again: nothing to commit"

    other = cloned(original, tmp_path / "elsewhere" / "b")
    other.dvc("pull", "-q")
    assert other.files() == original.files()
    for network in (str(zoo), "tiny/resnet8/pretrained/psap/0.5/seed0"):
        assert "the same as in its row" in other.psap("evaluate", network).stdout
    assert "didn't change, skipping" in other.dvc("repro")

    other.dvc("get", "-q", str(original.folder), str(zoo), "-o", "got")
    original.git("tag", "-a", "-m", "first", "resnet8-digits-80@v0.1.0")
    other.dvc("artifacts", "get", str(original.folder), "resnet8-digits-80", "-o", "registered")
    for folder in ("got", "registered"):
        assert "439 of 450 images right" in other.psap("evaluate", folder).stdout


def test_snakemake_then_commit_is_repro(original: Clone) -> None:
    done = original.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stderr
    original.dvc("commit", "-f", "-q")
    assert "didn't change, skipping" in original.dvc("repro")
    assert "up to date" in original.dvc("status")
    saved(original, "results")
    before = original.files()
    original.dvc("exp", "run", "-q", "--temp", "-S", "params/methods.yaml:l1.criterion=l2")
    assert original.files() == before and not original.git("status", "--porcelain"), "tried apart from the working tree"
    (tried,) = original.dvc("exp", "list", "--name-only").split()
    [line] = [line for line in original.dvc("exp", "diff", "HEAD", tried).splitlines() if "l1.criterion" in line]
    assert line.split()[1:4] == ["l1.criterion", "l1", "l2"]
