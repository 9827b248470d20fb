import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fixture_types import Build

from psap.analysis.results import TIMING, collect
from psap.errors import PsapError
from psap.suites.row import IDENTITY, RESULT
from psap.utils.mappings import JsonObject

SMALL = {"inits": ["pretrained"], "methods": ["psap", "sfp"], "targets": [0.5], "seeds": 2}


@pytest.fixture
def root(tmp_path: Path, build: Build) -> Path:
    return build(tmp_path, **SMALL)


def test_rows_are_the_suite_s_runs_by_path_and_end_with_the_timings(root: Path) -> None:
    results = collect(root)
    assert results.rows["run"].tolist() == sorted(results.suite.runs)
    assert results.rows.columns.tolist() == [*IDENTITY, *RESULT, "hash", *TIMING]
    dense = results.rows[results.rows["method"] == "dense"].iloc[0]
    assert (dense["init"], dense["target"], dense["drop"]) == ("", 0.0, 0.0)
    assert results.missing == results.foreign == []


def test_histories_know_their_run(root: Path) -> None:
    history = collect(root).history
    assert sorted(set(history["run"])) == [
        f"toy/resnet8/pretrained/{m}/0.5/seed{k}" for m in ("psap", "sfp") for k in (0, 1)
    ]
    assert set(history["goal"]) == {0.5}
    assert history.loc[history["method"] == "sfp", "sparsity"].isna().all()
    assert history.loc[history["method"] == "psap", "sparsity"].notna().all()


def test_only_the_suite_s_committed_rows_count(root: Path) -> None:
    before = collect(root).rows
    run = root / "resnet8/pretrained/sfp/0.5/seed0"
    (root / "resnet8/pretrained/sfp/0.9/seed0").mkdir(parents=True)
    (root / "resnet8/pretrained/sfp/0.9/seed0/run.json").write_text("{not even JSON")  # of an older grid
    (run / "run.json.orig").write_text("{}")
    (root.parent / "other").mkdir()
    (root.parent / "other/run.json").write_bytes((run / "run.json").read_bytes())
    after = collect(root)
    assert after.rows.equals(before)
    assert after.foreign == ["toy/resnet8/pretrained/sfp/0.9/seed0"]


def test_runs_without_a_row_are_named(tmp_path: Path, build: Build) -> None:
    root = build(tmp_path, **SMALL, absent=lambda path: "sfp" in path and "seed1" in path)
    assert collect(root).missing == ["toy/resnet8/pretrained/sfp/0.5/seed1"]


def test_nothing_to_analyse_is_an_error(tmp_path: Path, build: Build) -> None:
    with pytest.raises(PsapError, match=r"suite\.json does not exist"):
        collect(tmp_path)
    with pytest.raises(PsapError, match="none of the suite's 6 runs"):
        collect(build(tmp_path, **SMALL, absent=lambda path: True))


RUN = "resnet8/pretrained/psap/0.5/seed0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row["result"].pop("top1_last"), r"result\.top1_last: Field required"),
        (lambda row: row["result"].update(top1_last=float("nan")), r"result\.top1_last: .*finite"),
        (lambda row: row["cost"].update(seconds="long"), r"cost\.seconds: .*number"),
        (lambda row: row.update(run="toy/resnet8/pretrained/psap/0.5/seed1"), "it says it is run .*seed1"),
        (lambda row: row.update(model="resnet20"), "its model 'resnet20' is none of the suite's"),
        (lambda row: row["result"].update(top1_last=99.0), r"result\.(top1_best: \S+ is below top1_last, 99|drop: )"),
        (lambda row: row["result"].update(top1_best=0.0), r"result\.top1_best: 0 is below top1_last"),
        (lambda row: row["result"].update(top5_last=1.0), r"result\.top5_last: 1 is below top1_last"),
        (lambda row: row["result"].update(top1_best=101.0), r"result\.top1_best: 101 is no percentage"),
        (lambda row: row["result"].update(drop=0.5), r"result\.drop: 0\.5, and dense_top1 minus top1_last is"),
        (lambda row: row["result"].update(dense_top1=97.0), r"result\.drop: .*, and dense_top1 minus top1_last is"),
        (
            lambda row: row["result"].update(macs_reduction=0.9),
            r"result\.macs_reduction: 0\.9, and 1 - macs",
        ),
        (lambda row: row["result"].update(params=1), r"result\.params_reduction: .*, and 1 - params / params_dense is"),
        (lambda row: row["result"].update(params=10**400), r"result\.params: .*less than"),
        (lambda row: row["result"].update(macs_dense=0), r"result\.macs_dense: a network has at least one"),
        (lambda row: row["config"].update(seed=7), "seed: 0 here, and 7 in its config"),
        (lambda row: row["config"]["training"]["recipe"].update(lr=9), "hash: it is not that of its config"),
        (lambda row: row.update(hash="0"), "hash: it is not that of its config"),
    ],
)
def test_a_wrong_run_json_is_named(root: Path, change: Callable[[JsonObject], object], message: str) -> None:
    file = root / RUN / "run.json"
    row = json.loads(file.read_text())
    change(row)
    file.write_text(json.dumps(row))
    with pytest.raises(PsapError, match=message) as error:
        collect(root)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["run.json", "history.csv", "epochs.csv"])
@pytest.mark.parametrize("content", ["", "{", "step,epoch\n1,x\n", "1," * 200_000])
def test_a_file_that_is_not_whole_is_named(root: Path, name: str, content: str) -> None:
    file = root / RUN / name
    file.write_text(content)
    with pytest.raises(PsapError) as error:
        collect(root)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_a_word_where_a_number_belongs_is_named(root: Path) -> None:
    file = root / RUN / "epochs.csv"
    file.write_text(file.read_text().replace("0.5,0.4", "0.5,much", 1))
    with pytest.raises(PsapError, match=r"epochs\.csv: not a whole epochs\.csv .*much"):
        collect(root)
