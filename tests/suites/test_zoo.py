"""The networks in results/zoo: each loads, is as large as it says, and classifies every image as its row says."""

import importlib.util
import json
import os
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

import psap
from psap.data import sources
from psap.errors import PsapError
from psap.models import architecture
from psap.pruning.cost import count_macs, count_params
from psap.suites.consistency import read_record
from psap.suites.evaluate import evaluate
from psap.suites.row import Row

ROOT = Path(__file__).parents[2]
ZOO = sorted(folder for folder in (ROOT / "results" / "zoo").iterdir() if folder.is_dir())


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo", ROOT / "scripts" / "zoo.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_and_on_the_front_page() -> None:
    size = sum(file.stat().st_size for folder in ZOO for file in folder.iterdir())
    assert len(ZOO) >= 3 and size < 3e6
    page = (ROOT / "README.md").read_text()
    artifacts = (ROOT / "dvc.yaml").read_text()
    for folder in ZOO:
        result = read_record(folder / "run.json", Row).result
        (line,) = re.findall(
            rf"^\| \[`{folder.name}`\]\(results/zoo/{folder.name}/README\.md\) .*$", page, re.MULTILINE
        )
        assert result
        numbers = [f"{result.top1_last:.2f}", f"{result.dense_top1:.2f}", f"{result.params:,}"]
        assert [number for number in (*numbers, f"{100 * result.macs_reduction:.1f}") if number not in line] == []
        assert f"path: results/zoo/{folder.name}," in artifacts


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_a_network_is_what_its_row_and_card_say(folder: Path, script: ModuleType) -> None:
    row, described = read_record(folder / "run.json", Row), architecture.read(folder)
    assert json.loads((folder / "run.json").read_text())["provenance"]["network"] == described.sha256
    network = psap.load(folder).eval()
    images = torch.zeros(1, described.in_channels, *described.extra[architecture.IMAGE_SIZE])
    assert row.result
    assert (count_macs(network, images), count_params(network)) == (row.result.macs, row.result.params)
    assert network(images).shape == (1, described.classes)
    assert (folder / "README.md").read_text() == script.card(folder.name, row, described)


@pytest.mark.parametrize("folder", ZOO, ids=lambda folder: folder.name)
def test_its_accuracy_is_reached_to_the_last_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = json.loads((folder / "run.json").read_text())["config"]["data"]["source"]
    if source != "digits" and "PSAP_DATA" not in os.environ:
        pytest.skip("PSAP_DATA is not set")
    monkeypatch.chdir(tmp_path)
    sources.prepare(source, None, Path(f"data/{source}.safetensors"))
    assert evaluate(str(folder)).endswith("images right, the same as in its row")


def test_another_network_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fifty, eighty = (ROOT / "results" / "zoo" / f"resnet8-digits-{share}" for share in (50, 80))
    with pytest.raises(PsapError, match="psap data digits"):
        evaluate(str(fifty))
    sources.prepare("digits", None, Path("data/digits.safetensors"))
    for name in ("run.json", "correct.bin"):
        (tmp_path / name).write_bytes((fifty / name).read_bytes())
    for file in architecture.files(eighty):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(
        PsapError, match=r"top-1 97\.56 %, and 98\.89 % in its row; images classified otherwise: \d+ of 450"
    ):
        evaluate(".")
    with pytest.raises(PsapError, match=r"results/nosuch/run\.json is missing"):
        evaluate("nosuch")
