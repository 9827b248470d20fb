"""Odd surroundings: each is no obstacle, or one line that says what to do."""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project_helpers import TINY, Project

from psap.errors import PsapError
from psap.workflow.surroundings import check_surroundings, keep_cache_writable


@pytest.mark.parametrize("name", ["it's {mine}", "}"])
def test_a_folder_with_braces_is_refused(name: str, tmp_path: Path) -> None:
    check_surroundings(tmp_path)
    with pytest.raises(PsapError, match="braces in its path"):
        check_surroundings(tmp_path / name)


@pytest.mark.parametrize("name", ["logs", "data", "state", ".snakemake"])
def test_a_folder_that_is_not_ours_to_write_in_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: path != name)  # root may write anywhere
    check_surroundings(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(PsapError, match=rf"{name}/: nothing can be written in it \(Permission denied\)"):
        check_surroundings(tmp_path)


def test_a_cache_that_can_be_written_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    keep_cache_writable()
    assert (tmp_path / "new" / "cache").is_dir()


def within(gib: float, *words: str, project: Project) -> tuple[int, str]:
    """The exit code of a command that gets so much memory, and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (int(gib * 2**30),) * 2),
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", ["psap plan", "psap analyse tiny", "psap inspect resnet8", "snakemake tiny -n"])
def test_a_limit_too_low_for_torch_is_one_line(words: str, project: Project) -> None:
    """Its libraries would abort or wait for ever, each at a limit of its own."""
    for gib in (0.4, 3):
        code, told = within(gib, *words.split(), project=project)
        (line,) = (line for line in told.splitlines() if not line.startswith("Using workflow specific"))
        assert code == 2 and line.startswith(f"psap: `ulimit -v` leaves {gib:.1f} GiB"), told


def test_memory_that_runs_out_is_one_line(project: Project) -> None:
    code, told = within(4.2, "psap", "inspect", "resnet8", "--size", "4096", project=project)
    assert code == 2 and told.startswith("psap: not enough memory; ") and told.count("\n") == 1, told


def test_odd_surroundings_change_nothing(project: Project, tmp_path: Path) -> None:
    """No home to write in, an ASCII locale, no docstrings, a path that wants quoting, and a clock that was set back."""
    odd = project.copied(tmp_path / """it's #1 ü %s [x] "q" $x""")
    home = odd.folder / "home"
    home.write_text("")  # a file: nothing can be written below it, not even by root
    odd.suite("tiny", TINY | {"methods": {"pretrained": ["l1"]}, "title": "Größe"})
    odd.environment |= {"HOME": str(home), "LC_ALL": "POSIX", "PYTHONOPTIMIZE": "2"}
    odd.environment.pop("XDG_CACHE_HOME", None)
    assert odd.psap("data", "digits").returncode == 0
    targets = ("results/tiny/suite.json", "results/tiny/resnet8/dense/seed0/run.json")
    future = time.time() + 3 * 24 * 3600
    os.utime(odd.folder / "data/digits.safetensors", (future, future))
    done = odd.snakemake(*targets, "--cores", "2")
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert done.returncode == 2 and "its time of change is still to come" in said
    command = said.split("`")[1]
    subprocess.run(["bash", "-c", command], cwd=odd.folder, env=odd.environment, check=True)
    done = odd.snakemake(*targets, "--cores", "2")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "Größe" in json.loads((odd.folder / targets[0]).read_text(encoding="utf-8"))["title"]
    again = odd.snakemake(*targets, "-n")
    assert "Nothing to be done" in again.stdout + again.stderr, again.stdout
