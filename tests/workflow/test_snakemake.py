"""The real Snakemake on a small suite: everything is made, nothing is made twice, an edit reruns what it must."""

import json
import re
import shutil
from pathlib import Path

import yaml
from project_helpers import TINY, Project

from psap.suites import digest
from psap.suites.schema import MethodPair


def planned(project: Project, *arguments: str) -> dict[str, int]:
    """Jobs that a dry run of the suite would run, by rule."""
    done = project.snakemake("tiny", "-n", *arguments)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    if "Nothing to be done" in text:
        return {}
    table = text.split("Job stats:")[1].split("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, flags=re.M)}


def test_a_suite_from_nothing_through_edits(project: Project) -> None:
    done = project.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    ends_in_a_report_and_a_second_time_in_nothing(project)
    editing_a_method_reruns_its_runs_and_what_is_made_from_them(project)
    a_comment_or_an_ineffective_parameter_reruns_nothing(project)
    project.suite("aaa", TINY)
    assert planned(project) == {}, "another suite on the same data is none of this one's business"
    for name in (".snakemake", "checkpoints", "data"):
        shutil.rmtree(project.folder / name)
    everything = planned(project)
    assert (everything["dense"], everything["prune"], everything["retrain"]) == (1, 3, 1), "rows of others are not ours"


def ends_in_a_report_and_a_second_time_in_nothing(finished: Project) -> None:
    folder = finished.folder / "results" / "tiny"
    rows = [json.loads(file.read_text()) for file in sorted(folder.glob("**/run.json"))]
    assert [row["run"] for row in rows] == [
        "tiny/resnet8/dense/seed0",
        "tiny/resnet8/pretrained/l1/0.5/seed0",
        "tiny/resnet8/pretrained/psap/0.5/seed0",
        "tiny/resnet8/scratch/psap/0.5/seed0",
        "tiny/resnet8/scratch/small_dense/0.5/seed0",
    ]
    dense, *others = rows
    for row in others:
        assert row["result"]["dense_top1"] == dense["result"]["top1_last"]
        assert 0.5 <= row["result"]["macs_reduction"] < 0.53
        assert row["result"]["masked_compact_difference"] < 1e-4
    by_method = {(row["init"], row["method"]): row["result"] for row in rows}
    psap, retrained = by_method["scratch", "psap"], by_method["scratch", "small_dense"]
    assert (retrained["macs"], retrained["params"]) == (psap["macs"], psap["params"]), "the same architecture"
    assert (folder / "report.html").stat().st_size > 10_000
    again = finished.psap("reproduce", "tiny")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
    assert planned(finished) == {}


def editing_a_method_reruns_its_runs_and_what_is_made_from_them(finished: Project) -> None:
    methods = finished.folder / "params" / "methods.yaml"
    original = methods.read_text()
    values = yaml.safe_load(original)

    values["l1"]["reconstruction"] = "soft"
    methods.write_text(yaml.safe_dump(values))
    assert planned(finished) == {"prune": 1, "analyse": 1, "tiny": 1}

    values["l1"]["reconstruction"] = "hard"
    values["psap"]["reconstruction"] = "soft"
    methods.write_text(yaml.safe_dump(values))
    assert planned(finished) == {"prune": 2, "retrain": 1, "analyse": 1, "tiny": 1}

    before = {path: data for path, data in finished.files().items() if "l1" in path or "/dense/" in path}
    done = finished.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stdout + done.stderr
    after = finished.files()
    assert [path for path, data in before.items() if after[path] != data] == []
    row = json.loads(after["results/tiny/resnet8/pretrained/psap/0.5/seed0/run.json"])
    assert row["config"]["method"]["reconstruction"] == "soft"
    assert planned(finished) == {}


def a_comment_or_an_ineffective_parameter_reruns_nothing(finished: Project) -> None:
    methods = finished.folder / "params" / "methods.yaml"
    values = yaml.safe_load(methods.read_text())
    values["l1"]["protection"] = {"quantile": 0.1}  # l1 protects nothing
    methods.write_text("# a comment\n" + yaml.safe_dump(values))
    assert planned(finished) == {}


def test_a_job_depends_on_what_it_imports_and_on_no_plot_or_suite_where_it_trains(root: Path) -> None:
    package = root / "psap"
    covered = {kind: set(digest.modules(kind)) for kind in digest.ROOTS}
    for folder in ("pruning", "models", "training"):  # all but what only commands call
        left = set((package / folder).rglob("*.py")) - covered["train"] - {package / folder / "__init__.py"}
        names = {file.stem for file in left}
        assert names <= {
            "inspect",
            "one_shot",
            "masked",
            "mechanism",
            "picture",
            "adaptivity",
            "open",
            "own",
            "preprocessing",
            "pyfunc",
            "launch",
            "__init__",
        }, names
    assert set((package / "analysis").rglob("*")) - covered["analyse"] <= set(package.rglob("__pycache__/**"))
    for kind in ("data", "train", "grid"):
        assert not any("analysis" in file.parts for file in covered[kind])
    assert not any(file.parent.name in {"suites", "tracking", "workflow", "cli"} for file in covered["train"])


def test_the_standard_grid_plans(root: Path) -> None:
    from psap.suites.grid import load_grid

    grid = load_grid(root / "params", "cifar10")
    dense = [run for run in grid.runs.values() if run.kind == "dense"]
    assert len(dense) == 5 * 3
    assert {run.target for run in grid.runs.values()} == {0.0, 0.3, 0.5, 0.7, 0.8, 0.9}
    assert {run.model for run in dense} == {"resnet20", "resnet32", "resnet56", "resnet110", "vgg16_bn"}
    assert "not known" in grid.suite.note


def test_the_ablation_differs_from_psap_in_one_word_each(root: Path) -> None:
    from psap.suites.load import load_methods

    methods = load_methods(root / "params" / "methods.yaml")
    pairs = {name: pair for name, pair in methods.items() if isinstance(pair, MethodPair)}
    for i in (0, 1):
        psap = pairs["psap"][i]
        changes = {
            "psap_soft": {"reconstruction": "soft"},
            "psap_hard": {"reconstruction": "hard"},
            "psap_uniform": {"allocation": "uniform"},
            "psap_plain": {"reconstruction": "soft", "allocation": "uniform"},
        }
        for name, change in changes.items():
            assert pairs[name][i].identity() == psap.model_copy(update=change).identity()


def test_the_library_default_is_the_preset(root: Path) -> None:
    from psap.pruning.method import Method
    from psap.suites.load import load_methods

    preset = load_methods(root / "params" / "methods.yaml")["psap"]
    assert isinstance(preset, MethodPair)
    assert preset.pretrained.model_dump(exclude={"lr_scale", "code", "distill", "ema"}) == Method().model_dump()
