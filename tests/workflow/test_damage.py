"""Damage is told before Snakemake removes anything, with a command that fixes it and costs no other training."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from fixture_types import Flip
from project_helpers import Project

from psap.errors import PsapError
from psap.suites.grid import load_grid
from psap.workflow import intact

DENSE = "checkpoints/tiny/resnet8/dense/seed0"
# What is changed, by which byte (None: the file is cut, "": it is taken away), and what the message says of it.
DAMAGES = {
    "a pixel": ("data/digits.safetensors", b"", "not the data that its .json describes"),
    "the description cut": ("data/digits.json", None, "damaged, or of another kind"),
    "the description gone": ("data/digits.json", "", "missing"),
    "the pixels gone": ("data/digits.safetensors", "", "missing"),
    "a digit of the mean": ("data/digits.json", b'"mean": [\n  0.', "damaged (its digest differs)"),
    "a weight": (f"{DENSE}/model.safetensors", b"", "damaged, or of another save than architecture.json"),
    "a digit of the accuracy": (f"{DENSE}/architecture.json", b'"top1_last": ', "damaged (its digest differs)"),
    "the architecture cut": (f"{DENSE}/architecture.json", None, "damaged, or of another kind"),
    "a row": ("results/tiny/resnet8/dense/seed0/run.json", None, "damaged, or of another kind"),
}


def damage(flip: Flip, file: Path, how: bytes | str | None) -> None:
    if how is None:
        file.write_bytes(file.read_bytes()[:100])
    elif isinstance(how, str):
        file.unlink()
    else:
        flip(file, how)


def problem(folder: Path) -> str:
    """What is said while the suite is planned; nothing where all is well."""
    for cached in (intact._manifest, intact._read, intact._check_network):
        cached.cache_clear()
    grid = load_grid(folder / "params", "tiny")
    try:
        for run in grid.runs.values():
            intact.check_inputs(grid, run)
            assert intact.row_is_current(grid, run, recorded=False)
        assert intact.suite_is_current(grid) and intact.data_are_current(grid, planning=False)
    except PsapError as error:
        return str(error)
    return ""


def test_whatever_is_damaged_is_named(finished: Project, monkeypatch: pytest.MonkeyPatch, flip: Flip) -> None:
    monkeypatch.chdir(finished.folder)
    assert problem(finished.folder) == ""
    for case, (name, how, says) in DAMAGES.items():
        file = finished.folder / name
        whole = file.read_bytes()
        damage(flip, file, how)
        said = problem(finished.folder)
        assert said.startswith(f"{name}: {says}") and "\n" not in said, (case, said)
        assert ("`git checkout -- results/tiny/" in said) == name.startswith("results/"), said
        file.write_bytes(whole)
    assert problem(finished.folder) == ""


@pytest.mark.parametrize("case", ["a pixel", "the description cut", "a weight"])
def test_nothing_is_removed_and_the_command_that_is_named_mends_it(finished: Project, case: str, flip: Flip) -> None:
    before = finished.files()
    name, how, _ = DAMAGES[case]
    damage(flip, finished.folder / name, how)
    damaged = finished.files()
    done = finished.psap("reproduce", "tiny") if case == "a weight" else finished.snakemake("tiny", "--cores", "1")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert said.startswith(f"psap: {name}: ")
    assert finished.files() == damaged, "nothing was removed"
    command = re.search("`psap ([^`]*)`", said)
    assert command and finished.psap(*shlex.split(command[1])).returncode == 0
    assert finished.files() == before
    if case != "a weight":
        done = finished.snakemake("tiny", "-n")
        assert "Nothing to be done" in done.stdout + done.stderr, "nothing is trained again"
    else:  # its row tells another time: the analysis reads it again
        done = finished.snakemake("tiny", "-n")
        assert not {"prune", "retrain"} & set((done.stdout + done.stderr).split()), done.stderr


def test_the_command_prepares_the_same_folder_when_it_is_pasted() -> None:
    from psap.data.schema import Data
    from psap.suites.paths import data_command

    data = Data.model_validate({"source": "folder", "path": "$PSAP_DATA/my 'own' #1", "photos": {"size": 32}})
    words = shlex.split(data_command(data))
    assert words == ["psap", "data", "folder", f"--path={data.path}", "--photos"]


def test_without_snakemakes_records_files_speak_for_themselves(finished: Project) -> None:
    shutil.rmtree(finished.folder / ".snakemake")
    done = finished.snakemake("tiny", "-n")
    assert "Nothing to be done" in done.stdout + done.stderr
    methods = finished.folder / "params" / "methods.yaml"
    methods.write_text(methods.read_text().replace("criterion: l1", "criterion: l2"))
    suite = finished.folder / "params" / "tiny.yaml"
    suite.write_text(suite.read_text().replace("title: Tiny", "title: Other"))
    before = {path: data for path, data in finished.files().items() if "/l1/" not in path and "/seed0/" in path}
    done = finished.snakemake("tiny", "--cores", "1")
    assert done.returncode == 0, done.stderr
    after = finished.files()
    assert [path for path, data in before.items() if after[path] != data] == [], "what was good stays"
    row = after["results/tiny/resnet8/pretrained/l1/0.5/seed0/run.json"]
    assert b'"criterion": "l2"' in row
    assert b'"title": "Other"' in after["results/tiny/suite.json"]
    done = finished.snakemake("tiny", "-n")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_row_of_other_code_data_or_settings_is_not_current(
    finished: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.folder)
    grid = load_grid(finished.folder / "params", "tiny")
    run = next(iter(grid.runs.values()))
    row = finished.folder / "results" / run.path / "run.json"
    whole = row.read_text()
    for name, recorded, current in (("hash", True, False), ("data", True, False), ("code", False, False),
                                    ("code", True, True)):  # fmt: skip
        row.write_text(re.sub(rf'"{name}": "[0-9a-f]', f'"{name}": "x', whole))
        assert intact.row_is_current(grid, run, recorded) == current, name
    row.unlink()
    assert intact.row_is_current(grid, run, recorded=False), "what is missing is Snakemake's to see"
