"""A suite of photographs through the real workflow: published weights, ImageNet's layout, and what can be wrong."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from project_helpers import Project

from psap.models import build
from psap.utils.mappings import JsonObject

CLASSES = ("n01440764", "n02102040")
MODEL = "timm:resnet10t"
SUITE: JsonObject = {
    "title": "Photographs",
    "data": {
        "source": "imagenet",
        "path": "$PHOTOS",
        "flip": True,
        "photos": {"size": 40, "classes": 2, "min_area": 0.5},
    },
    "models": [MODEL],
    "methods": {"pretrained": ["psap"], "scratch": ["psap", "small_dense"]},
    "targets": [0.3],
    "seeds": [0],
    "training": {
        "batch_size": 8,
        "micro_batch": 4,
        "clip_norm": 5.0,
        "dense": "published",
        "pretrained": {"epochs": 3, "lr": 0.01},
        "scratch": {"epochs": 3, "lr": 0.05},
    },
}
SHORT = {
    "base": "photos",
    "title": "Shorter",
    "methods": {"scratch": None},
    "training": {"dense": {"epochs": 2, "lr": 0.05}},
}


@pytest.fixture
def project(tmp_path: Path, pytestconfig: pytest.Config) -> Project:
    made = Project(pytestconfig.rootpath, tmp_path / "project")
    made.suite("photos", SUITE)
    made.suite("short", SHORT)
    numbers = np.random.default_rng(0)
    for place, name in enumerate(CLASSES):
        for split, images in (("train", 12), ("val", 6)):
            for i in range(images):
                file = tmp_path / "imagenet" / split / name / f"{name}_{i}.JPEG"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = numbers.integers(0, 128, (50 + i, 60, 3), dtype=np.uint8)
                pixels[..., place] += 100  # the classes differ in colour
                Image.fromarray(pixels).save(file, quality=90)
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.manual_seed(0)
    safetensors.torch.save_file(build(MODEL, 1000).state_dict(), weights / "timm.resnet10t.safetensors")
    made.environment |= {"PHOTOS": str(tmp_path / "imagenet"), "PSAP_WEIGHTS": str(weights)}
    return made


def rows(project: Project, suite: str) -> dict[str, JsonObject]:
    with (project.folder / "results" / suite / "runs.csv").open() as file:
        return {row["run"].split("/", 2)[2]: row for row in csv.DictReader(file)}


def test_from_photographs_to_a_report(project: Project) -> None:
    done = project.snakemake("photos", "short", "--cores", "2")
    assert done.returncode == 0, done.stderr
    found = rows(project, "photos")
    pruned = {f"{name}/0.3/seed0" for name in ("pretrained/psap", "scratch/psap", "scratch/small_dense")}
    assert set(found) == {"dense/seed0"} | pruned
    published = json.loads((project.folder / "results/photos/timm.resnet10t/dense/seed0/run.json").read_text())
    assert published["result"]["epochs"] == 0 and published["config"]["training"]["recipe"]["weights"] == "published"
    folder = project.folder / "checkpoints/photos/timm.resnet10t/dense/seed0/model.safetensors"
    kept = safetensors.torch.load_file(folder)
    original = safetensors.torch.load_file(Path(project.environment["PSAP_WEIGHTS"], "timm.resnet10t.safetensors"))
    assert all(torch.equal(kept[name], tensor) for name, tensor in original.items())
    for name in pruned:
        assert 0.3 <= float(found[name]["macs_reduction"]) < 0.36
    report = (project.folder / "results/photos/report.html").read_text()
    assert "dense: published weights as they are" in report and "ImageNet (ILSVRC2012, 2 classes, 36 images)" in report

    short = rows(project, "short")
    assert set(short) == {"dense/seed0", "pretrained/psap/0.3/seed0"}
    dense = json.loads((project.folder / "results/short/timm.resnet10t/dense/seed0/run.json").read_text())
    assert dense["result"]["epochs"] == 2

    again = project.snakemake("photos", "short", "--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stderr + again.stdout


def wrong_count(project: Project, root: Path) -> str:
    project.suite("photos", SUITE | {"data": SUITE["data"] | {"photos": {"size": 40}}})
    return "params/photos.yaml: data: {root}/train: 2 classes, not 1,000; complete the folder, or say " + (
        "photos: {{classes: 2}}"
    )


def no_val(project: Project, root: Path) -> str:
    (root / "val").rename(root / "test")
    return "params/photos.yaml: data: {root}/val: no such folder; ImageNet is expected as train/<synset>/* and val/"


def no_folder(project: Project, root: Path) -> str:
    del project.environment["PHOTOS"]
    return "params/photos.yaml: data: path $PHOTOS: the environment variable in it is not set"


@pytest.mark.parametrize("spoil", [wrong_count, no_val, no_folder])
def test_a_wrong_folder_is_one_line_before_any_work(
    spoil: Callable[[Project, Path], str], project: Project, tmp_path: Path
) -> None:
    root = tmp_path / "imagenet"
    says = spoil(project, root).format(root=root)
    done = project.snakemake("photos", "--cores", "2")
    assert done.returncode == 2
    assert f"psap: {says}" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert not (project.folder / "data").exists()


def test_a_corrupt_photograph_is_one_line(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "imagenet" / "train" / CLASSES[0] / f"{CLASSES[0]}_3.JPEG"
    file.write_bytes(file.read_bytes()[:500])
    done = project.snakemake("photos", "--cores", "2")
    assert done.returncode != 0
    assert f"psap: {file}: damaged, truncated or not an image" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((project.folder / "data").glob("imagenet*"))


def test_weights_of_another_network_are_one_line(project: Project) -> None:
    file = Path(project.environment["PSAP_WEIGHTS"], "timm.resnet10t.safetensors")
    safetensors.torch.save_file(build("timm:resnet14t", 1000).state_dict(), file)
    done = project.snakemake("photos", "--cores", "2")
    assert done.returncode != 0
    assert f"psap: {file}: not the weights of {MODEL}" in done.stderr
    assert "Traceback" not in done.stderr
