"""Bad input is one clear line, before any work."""

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from project_helpers import TINY, Project

SPELLING = "tiny.yaml: training.dense.epoch: unknown key; did you mean 'epochs'?"
CASES = {
    "misspelt key": (("training", "dense", "epoch"), 3, SPELLING),
    "target": (("targets",), [0.5, 1.2], "tiny.yaml: targets.1: Input should be less than 1, not 1.2"),
    "method": (("methods", "scratch"), ["psapp"], "methods.scratch: unknown method 'psapp'; did you mean 'psap'?"),
    "model": (("models",), ["resnet21"], "models: unknown model 'resnet21'; did you mean"),
    "data set": (("data", "source"), "cifar11", "unknown data source 'cifar11'; did you mean cifar10"),
    "milestones without steps": (
        ("training", "dense", "milestones"),
        [0.5],
        "schedule: step and milestones go together",
    ),
    "seed twice": (("seeds",), [1, 1], "seeds: an entry is listed twice"),
    "folder without images": (("data",), {"source": "folder", "path": "empty"}, "empty"),
    "class names": (("data",), {"source": "folder", "path": "differ"}, "differ"),
}


def folders(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / "empty" / split).mkdir(parents=True)
    for split, name in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dig")):
        place = folder / "differ" / split / name
        place.mkdir(parents=True)
        Image.new("RGB", (8, 8), (9, 9, 9)).save(place / "0.png")


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_exit_code_2_before_any_job(project: Project, case: str) -> None:
    place, value, expected = CASES[case]
    folders(project.folder)
    suite = copy.deepcopy(TINY)
    inside = suite
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    project.suite("tiny", suite)
    done = project.snakemake("tiny", "--cores", "1")
    lines = [line for line in done.stderr.splitlines() if line.startswith("psap: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1 and expected in lines[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert not (project.folder / "results").exists() and not (project.folder / "data").exists()


def test_a_method_is_checked_too(project: Project) -> None:
    methods = project.folder / "params" / "methods.yaml"
    methods.write_text(methods.read_text() + "mine: {critereon: l2}\n")
    done = project.snakemake("tiny", "-n")
    assert done.returncode == 2
    assert "methods.yaml: mine: critereon: unknown key; did you mean 'criterion'?" in done.stderr


def test_a_key_given_twice_and_a_name_that_is_a_rule(project: Project) -> None:
    suite = project.folder / "params" / "tiny.yaml"
    suite.write_text(suite.read_text() + "title: again\n")
    done = project.snakemake("tiny", "-n")
    assert done.returncode == 2 and "'title' is given twice" in done.stderr
    suite.rename(suite.with_name("prune.yaml"))
    done = project.snakemake("-n")
    assert done.returncode == 2 and "prune.yaml: a suite's name" in done.stderr and "rename the file" in done.stderr


def test_a_run_without_its_inputs_says_how_to_make_them(project: Project) -> None:
    done = project.psap("train", "tiny/resnet8/pretrained/l1/0.5/seed0")
    assert done.returncode == 2 and "make it with `psap data digits`" in done.stderr
    assert project.psap("data", "digits").returncode == 0
    done = project.psap("train", "tiny/resnet8/pretrained/l1/0.5/seed0")
    assert done.returncode == 2 and "make it with `psap train tiny/resnet8/dense/seed0`" in done.stderr


def test_a_truncated_image_is_named_by_the_data_job(project: Project) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            place = project.folder / "photos" / split / name
            place.mkdir(parents=True)
            for i in range(3):
                Image.effect_noise((16, 16), 60).convert("RGB").save(place / f"{i}.png")
    bad = project.folder / "photos" / "train" / "dog" / "1.png"
    bad.write_bytes(bad.read_bytes()[:200])
    done = project.psap("data", "folder", "--path", "photos")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("psap: ") and "train/dog/1.png" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project.folder / "data").glob("*.safetensors"))
    project.suite("tiny", TINY | {"data": {"source": "folder", "path": "photos"}})
    done = project.snakemake("tiny", "--cores", "1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said, last = (line for line in done.stderr.splitlines() if line.startswith("psap: "))
    assert "train/dog/1.png" in said, "who watches the workflow is told too"
    assert last.startswith("psap: not complete.")


def test_the_suggested_command_makes_the_file_that_is_missing(project: Project, tmp_path: Path) -> None:
    for split, name in (("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog")):
        place = tmp_path / "it's mine" / split / name
        place.mkdir(parents=True)
        Image.effect_noise((16, 16), 60).save(place / "0.png")
    project.environment["PSAP_DATA"] = str(tmp_path)
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "psap").write_text(f'#!/bin/sh\nexec {sys.executable} -m psap "$@"\n')
    (bin_folder / "psap").chmod(0o755)
    environment = project.environment | {"PATH": f"{bin_folder}:{project.environment['PATH']}"}
    for photos in ({}, {"photos": {"size": 32}}):
        project.suite("tiny", TINY | {"data": {"source": "folder", "path": "$PSAP_DATA/it's mine", **photos}})
        said = project.psap("train", "tiny/resnet8/dense/seed0").stderr
        found = re.fullmatch(r"psap: (\S+) is missing; make it with `(.*)`, or the whole .*\n", said)
        assert found and not (project.folder / found[1]).exists()
        subprocess.run(["bash", "-c", found[2]], cwd=project.folder, env=environment, check=True)
        assert (project.folder / found[1]).exists()


class Payload:
    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (Path("ran"),))


def test_the_job_refuses_foreign_and_malicious_checkpoints(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    run = "tiny/resnet8/dense/seed0"
    assert project.psap("train", run).returncode == 0
    weights = project.folder / "checkpoints" / run / "model.safetensors"
    described = weights.with_name("architecture.json")
    whole = described.read_text()
    pruned = "tiny/resnet8/pretrained/l1/0.5/seed0"

    weights.write_bytes(pickle.dumps(Payload()))
    done = project.psap("train", pruned)
    assert done.returncode == 2 and "refused unread: not a safetensors file" in done.stderr
    assert not (project.folder / "ran").exists()

    described.write_text(whole.replace('"name": "resnet8"', '"name": "resnet20"'))
    done = project.psap("train", pruned)
    assert done.returncode == 2 and "resnet20" in done.stderr and "architecture.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project.folder / "results" / pruned).exists()


def test_an_unknown_run_or_suite_is_one_line(project: Project) -> None:
    for command in (
        ("train", "tiny/resnet8/pretrained/psap/0.7/seed0"),
        ("train", "nosuch/x"),
        ("reproduce", "nosuch"),
    ):
        done = project.psap(*command)
        assert done.returncode == 2 and done.stderr.startswith("psap: ") and done.stderr.count("\n") == 1, done.stderr
