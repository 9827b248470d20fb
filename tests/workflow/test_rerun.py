"""One command trains any row again, from a checkout that has the rows and none of the networks."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from project_helpers import Project

from psap.errors import PsapError
from psap.suites.compare import compare
from psap.suites.provenance import processor
from psap.utils.mappings import JsonObject

RUNS = ("tiny/resnet8/dense/seed0", "tiny/resnet8/pretrained/psap/0.5/seed0")
SCRATCH = ("tiny/resnet8/scratch/psap/0.5/seed0", "tiny/resnet8/scratch/small_dense/0.5/seed0")


def test_rows_are_reached_again_without_any_network(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    for run in (*RUNS, *SCRATCH):
        done = project.psap("train", run)
        assert done.returncode == 0, done.stderr
    before = project.files()
    for folder in ("checkpoints", "data", "state"):
        shutil.rmtree(project.folder / folder)
    for run in (RUNS[1], SCRATCH[1]):
        done = project.psap("rerun", run)
        assert done.returncode == 0, done.stderr
        top1 = json.loads(before[f"results/{run}/run.json"])["result"]["top1_last"]
        *on, verdict = done.stdout.splitlines()
        assert on == [f"row: {processor()}, cpu", f"now: {processor()}, cpu"]
        assert verdict == f"{run}: the same: top-1 {top1:.2f} %, counts, losses, start, every epoch, history, network"
    assert project.files() == {name: data for name, data in before.items() if name.startswith("results/")}
    again = project.folder / "rerun"
    for name in (f"checkpoints/{run}/model.safetensors" for run in (*RUNS, *SCRATCH)):
        assert (again / name).read_bytes() == before[name]


def test_what_stands_in_the_way_is_one_line(project: Project) -> None:
    run = RUNS[0]
    done = project.psap("rerun", run)
    assert done.returncode == 2
    assert done.stderr == (
        f"psap: results/{run}/run.json is missing: there is no result to compare with; `psap train {run}` makes it\n"
    )
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", run).returncode == 0
    file = project.folder / "results" / run / "run.json"
    row = json.loads(file.read_text())
    row["result"]["loss_last"] += 1e-15
    file.write_text(json.dumps(row))
    both = [project.start("rerun", run, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate()[1].decode() for process in both]
    assert [process.returncode for process in both] == [2, 2]
    for text in said:
        assert text.splitlines()[-1].startswith(f"psap: {run}: not the same: loss_last ")
        assert text.endswith("Nothing is other than it was: on one processor all of it must be equal\n")
        assert text.count(" epoch ") == 3, "each trained anew"
    assert sum("another process works on this run; waiting for it" in text for text in said) == 1
    params = project.folder / "params" / "tiny.yaml"
    params.write_text(params.read_text().replace("epochs: 3", "epochs: 2"))
    done = project.psap("rerun", run)
    assert done.returncode == 2
    assert "made with other settings than params/ has now" in done.stderr and done.stderr.count("\n") == 1


COLUMNS = "epoch,lr,train_loss,top1\n"
CHANGES = {
    "macs": (lambda row: row["result"].update(macs=11), "macs 10 in its row, 11 again (+1)"),
    "loss": (lambda row: row["result"].update(loss_last=0.25), "loss_last 0.5 in its row, 0.25 again (-0.25)"),
    "dense": (lambda row: row["result"].update(dense_top1=98.0), "dense_top1 98.67 in its row, 98.0 again (-0.67)"),
    "start": (lambda row: row["provenance"].update(start="x"), "the network that it starts from differ"),
    "network": (lambda row: row["provenance"].update(network="x"), "the weights of its network differ"),
    "diverged": (
        lambda row: row.update(result=None, diverged={"epoch": 1, "what": "the loss is nan"}),
        "diverged None in",
    ),
}


def kept(
    folder: Path,
    change: Callable[[JsonObject], object] = lambda row: None,
    epochs: str = "1,0.1,2.0,90.0\n2,0.1,1.5,95.0\n",
    **origin: object,
) -> Path:
    """A run's row and table as they are kept."""
    machine = {"processor": "P", "instructions": "AVX2", "threads": 1}
    made = {"code": "c", "data": "d", "versions": {"torch": "1"}, "hardware": "h", "device": "cpu", "machine": machine}
    result = {"top1_last": 98.22, "loss_last": 0.5, "dense_top1": 98.67, "macs": 10}
    row = {"run": "a/run", "result": result, "provenance": {**made, "start": "s", "network": "n", **origin}}
    change(row)
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps(row))
    (folder / "epochs.csv").write_text(COLUMNS + epochs)
    return folder


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_no_difference_is_overlooked(tmp_path: Path, change: Callable[[JsonObject], object], told: str) -> None:
    before = kept(tmp_path / "before")
    assert "the same: top-1 98.22 %" in compare(before, kept(tmp_path / "same"))
    with pytest.raises(PsapError) as error:
        compare(before, kept(tmp_path / "now", change))
    assert told in str(error.value) and str(error.value).endswith("on one processor all of it must be equal")


def test_an_epoch_on_the_way_that_differs_is_told(tmp_path: Path) -> None:
    before, now = kept(tmp_path / "a"), kept(tmp_path / "b", epochs="1,0.1,2.0,90.0\n2,0.1,1.25,95.0\n")
    with pytest.raises(
        PsapError, match=r"epochs\.csv: 1 of 2 lines, first in line 2: train_loss 1\.5 in its row, 1\.25"
    ):
        compare(before, now)
    with pytest.raises(
        PsapError, match=r"epochs\.csv: 1 of 2 lines, first in line 2: epoch 2\.0 in its row, None again"
    ):
        compare(before, kept(tmp_path / "short", epochs="1,0.1,2.0,90.0\n"))


def test_a_column_that_the_row_does_not_have_is_no_difference(tmp_path: Path) -> None:
    """Tables have got columns since rows were committed; one that is gone is a difference."""
    old, new = kept(tmp_path / "old"), kept(tmp_path / "new")
    table = new / "epochs.csv"
    table.write_text("".join(f"{line},x\n" for line in table.read_text().splitlines()))
    assert "the same: top-1 98.22 %" in compare(old, new)
    with pytest.raises(PsapError, match=r"epochs\.csv: 2 of 2 lines, first in line 1: x x in its row, None again"):
        compare(new, old)


def test_what_a_difference_may_come_from_is_told(tmp_path: Path) -> None:
    change = CHANGES["loss"][0]
    before = kept(
        tmp_path / "old", lambda row: [row["provenance"].pop(name) for name in ("machine", "start", "network")]
    )
    with pytest.raises(
        PsapError, match=r"machine\.processor \(not recorded, now P\).* only macs_dense, params_dense, epochs"
    ):
        compare(before, kept(tmp_path / "now", change))
    assert "its network's digest is not recorded" in compare(before, kept(tmp_path / "same"))
    with pytest.raises(PsapError, match="a GPU does not repeat its sums"):
        compare(kept(tmp_path / "gpu", device="H100"), kept(tmp_path / "again", change, device="H100"))


def test_show_tells_all_about_a_row(project: Project) -> None:
    run = RUNS[0]
    assert project.psap("show", run).stderr == (
        f"psap: results/{run}/run.json is missing: no such run, or it is not trained yet (`psap train {run}`)\n"
    )
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", run).returncode == 0
    told = dict(line.split(maxsplit=1) for line in project.psap("show", run).stdout.splitlines() if line[0] == " ")
    row = json.loads((project.folder / "results" / run / "run.json").read_text())
    assert told["path"] == run and told["configuration"] == row["hash"]
    assert told["training.recipe.lr"] == "0.1" and told["data.train_images"] == "400"
    assert float(told["top1_last"]) == pytest.approx(row["result"]["top1_last"], rel=1e-5)
    machine = row["provenance"]["machine"]
    assert told["processor"] == machine["processor"] == processor() and told["threads"] == "1" == str(
        machine["threads"]
    )
    assert told["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert {"torch-pruning", "numpy", "scipy", "safetensors", "pillow"} <= set(row["provenance"]["versions"])
    assert told["commit"] == "unknown" and row["provenance"]["dirty"] is None, "there is no git here"
    assert told["code"] == row["provenance"]["code"] and told["hardware"].startswith(row["provenance"]["hardware"])
    assert told["folder"] == f"checkpoints/{run}/" and told["again"] == f"psap rerun {run}"
    (project.folder / "checkpoints" / run / "model.safetensors").unlink()
    assert "(not on this machine)" in project.psap("show", run).stdout
