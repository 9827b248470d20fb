"""One command trains any row again, from a checkout that has the rows and none of the networks."""

import json
import shutil

import pytest
from project import Project

RUNS = ("tiny/resnet8/dense/seed0", "tiny/resnet8/pretrained/psap/0.5/seed0")
SCRATCH = ("tiny/resnet8/scratch/psap/0.5/seed0", "tiny/resnet8/scratch/small_dense/0.5/seed0")


def test_rows_are_reached_again_without_any_network(project: Project) -> None:
    assert project.psap("data", "digits").returncode == 0
    for run in (*RUNS, *SCRATCH):
        done = project.psap("train", run)
        assert done.returncode == 0, done.stderr
    before = project.files()
    shutil.rmtree(project.folder / "checkpoints")
    for run in (RUNS[1], SCRATCH[1]):
        done = project.psap("rerun", run)
        assert done.returncode == 0, done.stderr
        top1 = json.loads(before[f"results/{run}/run.json"])["result"]["top1_last"]
        assert done.stdout == (
            f"{run}: top-1 of the last epoch {top1:.2f} % in its row, {top1:.2f} % again: the same\n"
        )
    assert project.files() == {name: data for name, data in before.items() if name.startswith("results/")}
    again = project.folder / "rerun"
    for name in (f"checkpoints/{run}/model.safetensors" for run in (*RUNS, *SCRATCH)):
        assert (again / name).read_bytes() == before[name]


def test_what_stands_in_the_way_is_one_line(project: Project) -> None:
    run = RUNS[0]
    done = project.psap("rerun", run)
    assert done.returncode == 2
    assert done.stderr == (
        f"psap: results/{run}/run.json is missing: there is no row to compare with; `psap train {run}` makes it\n"
    )
    assert project.psap("data", "digits").returncode == 0
    assert project.psap("train", run).returncode == 0
    file = project.folder / "results" / run / "run.json"
    row = json.loads(file.read_text())
    row["result"]["top1_last"] += 1
    file.write_text(json.dumps(row))
    done = project.psap("rerun", run)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith("1.00 points apart; other than then: nothing")
    params = project.folder / "params" / "tiny.yaml"
    params.write_text(params.read_text().replace("epochs: 3", "epochs: 2"))
    done = project.psap("rerun", run)
    assert done.returncode == 2
    assert "made with other settings than params/ has now" in done.stderr and done.stderr.count("\n") == 1


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
    assert told["code"] == row["provenance"]["code"] and told["hardware"].startswith(row["provenance"]["hardware"])
    assert told["folder"] == f"checkpoints/{run}/" and told["again"] == f"psap rerun {run}"
    (project.folder / "checkpoints" / run / "model.safetensors").unlink()
    assert "(not on this machine)" in project.psap("show", run).stdout
