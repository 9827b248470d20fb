"""`psap report`: two suites, or two commits of one, by the runs that both have and the verdicts."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fixture_types import Build, Psap

from psap.analysis import analyse
from psap.analysis.versus import Versus, read_side

RUN = "resnet8/scratch/psap/0.5/seed1"


def edit(root: Path, points: float, macs: int) -> None:
    """Give RUN so many points and multiply-adds more, in a row that agrees with itself."""
    file = root / RUN / "run.json"
    row = json.loads(file.read_text())
    result = row["result"]
    result["top1_last"] += points
    result["drop"] -= points
    result["macs"] += macs
    result["macs_reduction"] = 1 - result["macs"] / result["macs_dense"]
    file.write_text(json.dumps(row))


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """A suite committed with 3 points less in one run, and its rows as they are now without one run more."""
    folder = tmp_path_factory.mktemp("repository")
    root = build(folder / "results", inits=("scratch",), targets=(0.5,), methods=("psap", "psap_soft", "l1"))
    edit(root, -3, -7)
    analyse(root, None)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for command in (("init", "-q"), ("add", "results"), ("commit", "-qm", "rows")):
        subprocess.run([*git, *command], cwd=folder, check=True)
    edit(root, 3, 7)
    shutil.rmtree(root / "resnet8/dense/seed2")
    analyse(root, None)
    return folder


def test_two_commits_of_a_suite(repository: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(repository)
    code, out, _ = psap("report", "HEAD:results/toy", "results/toy", "--html", str(tmp_path / "versus.html"))
    assert code == 0
    assert out.startswith(
        "11 runs are in both; 10 of them are equal. Only in HEAD:results/toy: 1. Only in results/toy: 0. "
        "The largest difference of top-1 is 3.00 points."
    )
    [line] = [line for line in out.splitlines() if "seed1" in line]
    assert [cell.strip() for cell in line.split("|")][1:2] == [RUN] and line.count("+3.00") == 1 and "+7 " in line
    page = (tmp_path / "versus.html").read_text()
    assert f"<code>{RUN}</code>" in page and "+3.00" in page
    assert not re.search(r"https?:|src=|<script", page)
    claims = json.loads((repository / "results/toy/claims.json").read_text())["claims"]
    for claim in claims:
        assert re.search(rf"^\| {claim['id']} +\|.*\| {claim['verdict']} +\|$", out, re.MULTILINE)


def test_a_suite_with_itself_is_equal_in_all(repository: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "results")  # paths are from here, in git too
    code, out, _ = psap("report", "toy", "toy/")
    assert code == 0 and "11 of them are equal" in out and "9 of 9 verdicts are equal" in out
    assert "11 runs are in both" in psap("report", "HEAD:toy", "toy")[1]


def test_what_shares_no_suite_name_is_compared_all_the_same(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("runs.csv", "claims.json"):
        text = (repository / "results/toy" / name).read_text()
        (other / name).write_text(text.replace("toy/", "other/"))
    versus = Versus(read_side(str(repository / "results/toy")), read_side(str(other)))
    assert len(versus.shared) == 11 and versus.changes == []


def test_a_run_that_diverged_in_one_of_them_comes_first(repository: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    for name in ("runs.csv", "claims.json"):
        shutil.copy(repository / "results/toy" / name, before)
    lines = (before / "runs.csv").read_text().splitlines()
    numbers = {name: place for place, name in enumerate(lines[0].split(","))}
    for place, value in ((2, ""), (3, "12.5")):
        cells = lines[place].split(",")
        cells[numbers["top1_last"]] = value
        lines[place] = ",".join(cells)
    (before / "runs.csv").write_text("\n".join(lines))
    versus = Versus(read_side(str(before)), read_side(str(repository / "results/toy")))
    assert [change.difference("top1_last") is None for change in versus.changes] == [True, False]


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("nowhere", "nowhere/runs.csv does not exist: name a folder with an analysed suite, or REVISION:FOLDER"),
        ("nosuch:results/toy", "nosuch:results/toy: git does not have its runs.csv (fatal: invalid object name"),
        ("HEAD:results/other", "HEAD:results/other: git does not have its runs.csv (fatal: path 'results/other/runs"),
        ("broken", "broken: its runs.csv and claims.json are not those of a suite; make them again with psap analyse"),
    ],
)
def test_a_mistake_is_one_line(
    repository: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch, first: str, says: str
) -> None:
    monkeypatch.chdir(repository)
    (repository / "broken").mkdir(exist_ok=True)
    (repository / "broken" / "runs.csv").write_text("run,suite\ntoy/a,toy\n")
    (repository / "broken" / "claims.json").write_text("[]")
    code, out, err = psap("report", first, "results/toy", "--html", "versus.html")
    assert (code, out) == (2, "") and err.startswith(f"psap: {says}") and err.count("\n") == 1
    assert not (repository / "versus.html").exists()
