"""`psap prune` from nothing to a report, and what becomes of it when it is struck."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
import torch

import psap
from psap.data.batches import Batches
from psap.data.dataset import load
from psap.data.sources import prepare
from psap.training.evaluation import accuracy

REQUEST = {"--model": "resnet8", "--data": "digits", "--target": "0.5", "--epochs": "2", "--batch-size": "128"}


def command(folder: Path, *more: str) -> subprocess.Popen[str]:
    words = [word for pair in REQUEST.items() for word in pair]
    words = [sys.executable, "-m", "psap", "prune", *words, *more]
    return subprocess.Popen(words, cwd=folder, stdout=PIPE, stderr=PIPE, text=True, preexec_fn=hear_interrupts)


def hear_interrupts() -> None:
    """As at a terminal: what a shell starts in the background is deaf to them, and so would be what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("whole")
    code, out, err = finish(command(folder, "--out", "pruned"))
    assert code == 0, err
    return folder / "pruned", out


def test_the_folder_holds_all_that_was_promised(whole: tuple[Path, str], tmp_path: Path) -> None:
    out, said = whole
    assert "-50 % multiply-adds: 0.75 M to 0.37 M" in said and said.splitlines()[-1] == "pruned/report.html"
    assert {file.name for file in out.iterdir()} == {
        *("architecture.json", "model.safetensors", "epochs.csv", "history.csv", "result.json", "dense"),
        *("README.md", "report.html", ".psap-prune"),
    }
    result = json.loads((out / "result.json").read_text())["result"]
    assert abs(result["macs_reduction"] - 0.5) < 0.05
    prepare("digits", None, tmp_path / "d.safetensors")
    data = load(tmp_path / "d.safetensors")
    for folder, key in ((out, "top1_last"), (out / "dense", "dense_top1")):
        batches = Batches(data.test, 500, data.mean, data.std, train=False)
        assert accuracy(psap.load(folder), batches.epoch(0)).top1 == pytest.approx(result[key], abs=1e-9)
        assert f"{result[key]:.2f}" in (out / "README.md").read_text()
        assert f"{result[key]:.2f}" in (out / "report.html").read_text()


def test_again_there_is_nothing_to_do_and_another_order_is_refused(whole: tuple[Path, str]) -> None:
    out, _ = whole
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*")}
    code, said, _ = finish(command(out.parent, "--out", "pruned"))
    assert code == 0 and said == "pruned/report.html: made before; there is nothing left to do\n"
    code, _, err = finish(command(out.parent, "--out", "pruned", "--seed", "1"))
    assert code == 2 and "holds the network of another request (its seed differs)" in err
    code, _, err = finish(command(out.parent, "--out", "."))
    assert code == 2 and "the folder in which psap runs" in err
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("blow", "code", "after"), [(signal.SIGKILL, -9, "dense  epoch 1/2"), (signal.SIGINT, 130, "pruned  epoch 1/2")]
)
def test_struck_it_goes_on_and_ends_with_the_same_bits(
    blow: signal.Signals, code: int, after: str, whole: tuple[Path, str], tmp_path: Path
) -> None:
    process = command(tmp_path, "--out", "pruned")
    assert process.stderr
    for line in process.stderr:
        if line.startswith(after):
            os.kill(process.pid, blow)
            break
    returned, _, err = finish(process)
    assert returned == code and "Traceback" not in err
    assert not (tmp_path / "pruned" / "result.json").exists() and (tmp_path / "pruned" / ".psap-prune").exists()
    returned, _, err = finish(command(tmp_path, "--out", "pruned"))
    assert returned == 0 and after not in err, "goes on after the last whole epoch"
    for name in ("model.safetensors", "history.csv", "dense/model.safetensors"):
        assert (tmp_path / "pruned" / name).read_bytes() == (whole[0] / name).read_bytes(), name


def test_a_file_says_the_same_as_options(whole: tuple[Path, str], tmp_path: Path) -> None:
    out, said = whole
    text = (out / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "request.yaml").write_text(text)
    process = subprocess.run(
        [sys.executable, "-m", "psap", "prune", "request.yaml", "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0 and process.stdout == said.partition("\ncost ")[0] + "\n"
    assert [file.name for file in tmp_path.iterdir()] == ["request.yaml"], "a dry run writes nothing"
    (tmp_path / "pruned").symlink_to(out)
    again = [sys.executable, "-m", "psap", "prune", "request.yaml"]
    told = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told == "pruned/report.html: made before; there is nothing left to do\n"


def test_the_networks_shape_is_reproducible_without_its_weights(whole: tuple[Path, str]) -> None:
    small, dense = psap.load(whole[0]), psap.load(whole[0] / "dense")
    assert small(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert sum(p.numel() for p in small.parameters()) < 0.7 * sum(p.numel() for p in dense.parameters())
