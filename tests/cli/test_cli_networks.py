"""`psap export`, `psap inspect` and `psap bench latency` as they are typed."""

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import onnxruntime
import pytest
import torch
from fixture_types import Psap

from psap.models import build
from psap.models.saved import save


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = build("resnet8", 10)
    save(model, tmp_path / "net", name="resnet8", classes=10, in_channels=3, extra={"image_size": [8, 8]})
    return tmp_path / "net"


def test_export_writes_into_the_folder_and_says_how_exact_it_is(psap: Psap, folder: Path) -> None:
    code, out, _ = psap("export", folder)
    first, second = out.splitlines()
    assert code == 0
    assert first == f"{folder}/model.onnx: images (batch, 3, 8, 8) -> logits (batch, 10)"
    assert "largest difference from the network" in second and "batches of 1, 2, 7" in second
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [3, 8, 8] and session.get_outputs()[0].shape[1] == 10


def test_files_for_others_say_what_goes_in_and_comes_out(psap: Psap, tmp_path: Path) -> None:
    told = {"preprocessing": {"size": [8, 8], "mean": [0.5], "std": [0.25]}, "class_names": ["ant", "bée"]}
    save(
        build("resnet8", 2, 1), tmp_path, name="resnet8", classes=2, in_channels=1, extra={"image_size": [8, 8], **told}
    )
    assert psap("export", tmp_path)[0] == psap("export", tmp_path, "--format", "torch")[0] == 0
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(found[key]) for key in told} == told
    files = {"psap.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=files)
    assert json.loads(files["psap.json"]) == told


def test_export_to_a_file_of_ones_own_choice_and_size(psap: Psap, folder: Path, tmp_path: Path) -> None:
    code, out, _ = psap("export", folder, "--format", "torch", "--out", tmp_path / "new" / "net.pt2", "--size", 16)
    assert code == 0 and "(batch, 3, 16, 16)" in out
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["net.pt2"]


def test_inspect_prints_a_table_or_writes_rows(psap: Psap, folder: Path, tmp_path: Path) -> None:
    code, out, _ = psap("inspect", folder)
    assert code == 0 and "layer1.0.conv1" in out and "linear stays whole: feeds the network's output" in out
    code, out, _ = psap("inspect", "resnet8", "--csv", tmp_path / "groups.csv")
    with (tmp_path / "groups.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert code == 0 and out == f"{tmp_path}/groups.csv: {len(rows)} groups\n"
    assert [row["group"] for row in rows][:2] == ["conv1", "layer1.0.conv1"] and rows[-1]["most"] == ""


def test_inspect_draws_the_groups(psap: Psap, tmp_path: Path) -> None:
    code, out, _ = psap("inspect", "resnet8", "--ignore", "layer1", "--svg", tmp_path / "groups.svg")
    assert code == 0 and out.startswith(f"{tmp_path / 'groups.svg'}: a picture of 7 groups\ngroup")
    said = "".join(ElementTree.parse(tmp_path / "groups.svg").getroot().itertext())
    for words in ("conv1", "layer3.0.conv2", "stays whole", "could go", "feeds the network's output", "2 layers"):
        assert words in said, words
    drawn = (tmp_path / "groups.svg").read_bytes()
    assert psap("inspect", "resnet8", "--ignore", "layer1", "--svg", tmp_path / "groups.svg")[0] == 0
    assert (tmp_path / "groups.svg").read_bytes() == drawn
    code, _, err = psap("inspect", "resnet8", "--svg", tmp_path)
    assert code == 2 and err.startswith("psap: ") and err.count("\n") == 1


def test_inspect_shows_what_is_kept(psap: Psap, folder: Path, tmp_path: Path) -> None:
    kept = ("--ignore", "conv1", "--ratio", "layer2.*=0.25:0.5", "--ratio", "layer3.*=0:0.25")
    code, out, _ = psap("inspect", folder, *kept)
    assert code == 0 and "conv1 stays whole: kept by ignore 'conv1'" in out and " 8 to 16 " in out
    assert psap("inspect", folder, *kept, "--csv", tmp_path / "groups.csv")[0] == 0
    with (tmp_path / "groups.csv").open() as file:
        rows = {row["group"]: row for row in csv.DictReader(file)}
    assert [(rows[name]["least"], rows[name]["most"]) for name in ("layer2.0.conv1", "layer3.0.conv1")] == [
        ("8", "16"),
        ("0", "16"),
    ]


def test_inspect_shows_what_passes_norms(psap: Psap) -> None:
    code, out, _ = psap("inspect", "timm:test_vit")
    assert code == 0 and "patch_embed.proj stays whole: norm: LayerNorm mixes" in out
    code, out, _ = psap("inspect", "timm:test_vit", "--through-norms")
    assert code == 0 and "patch_embed.proj passes norms, which leave its pruned channels out" in " ".join(out.split())


def test_latency_of_a_folder_beside_the_network_it_was_cut_from(psap: Psap, tmp_path: Path) -> None:
    from psap.models.open import open_named
    from psap.pruning.one_shot import prune_at_once

    dense = open_named("resnet8")
    save(prune_at_once(dense.model, dense.images, 0.5, round_to=4), tmp_path, name="resnet8", classes=10, in_channels=3)
    options = ("--size", 16, "--batch", 2, "--way", "eager", "--repetitions", 1)
    code, out, _ = psap("bench", "latency", tmp_path, *options)
    assert code == 0 and out.startswith("Multiply-adds: ") and re.match(r"\| eager +\| 2 +\| 1 ", out.splitlines()[4])
    again = psap("bench", "latency", "--model", "resnet8", "--target", 0.5, "--round-to", 4, *options)
    assert again[1].splitlines()[0] == out.splitlines()[0], "the same network, pruned in memory"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", "nowhere"], "nowhere/architecture.json: missing"),
        (["inspect", "resnet9"], "unknown model 'resnet9'"),
        (["inspect", "resnet8", "--ignore", "layer9"], "ignore: 'layer9' means no layer that makes channels; did you"),
        (["inspect", "resnet8", "--ratio", "conv1"], "--ratio conv1: not of the form GLOB=LEAST:MOST, such as"),
        (["inspect", "resnet8", "--ratio", "conv1=0:x"], "--ratio conv1=0:x: not of the form GLOB=LEAST:MOST"),
        (
            ["inspect", "resnet8", "--ratio", "conv1=0:2"],
            "options: ratios.conv1.1: Input should be less than 1, not 2.0",
        ),
        (["bench", "latency"], "give either the folder of a compacted network (and --dense) or --model"),
        (["bench", "latency", "somewhere", "--model", "resnet8"], "give either the folder"),
        (["bench", "latency", "--dense", "somewhere", "--model", "resnet8"], "give either the folder"),
        (["bench", "latency", "--model", "resnet8", "--way", "fast"], "'fast' is no way to run a network here"),
        (["bench", "latency", "--model", "resnet8", "--target", "0.999"], "target 0.999 of the multiply-adds cannot"),
    ],
)
def test_a_mistake_is_one_line(psap: Psap, arguments: list[str], says: str) -> None:
    code, out, err = psap(*arguments)
    assert code == 2 and out == "" and err.startswith("psap: ") and says in err and err.count("\n") == 1


def test_a_network_that_saves_nothing_is_no_compact_one(psap: Psap, folder: Path) -> None:
    code, _, err = psap("bench", "latency", folder)
    assert code == 2 and "nothing to measure" in err


def test_networks_of_different_images_are_not_compared(psap: Psap, folder: Path, tmp_path: Path) -> None:
    model = build("resnet8", 10, 1)
    save(model, tmp_path / "grey", name="resnet8", classes=10, in_channels=1, extra={"image_size": [8, 8]})
    code, _, err = psap("bench", "latency", folder, "--dense", tmp_path / "grey")
    assert code == 2 and "takes images of 1 x 8 x 8, the compact one of 3 x 8 x 8" in err


def test_the_version_is_told(psap: Psap) -> None:
    code, out, _ = psap("--version")
    assert code == 0 and re.fullmatch(r"psap \d+\.\d+\.\d+\n", out)
