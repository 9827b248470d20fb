import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pandas as pd
import pytest
from fixture_types import Build

from psap.analysis.report import compositions
from psap.analysis.results import Results, collect
from psap.analysis.tables import TIMING, best, latex, markdown, metrics, number, spread, summarise

TOP1 = {"psap": [90.0, 91.0, 92.0], "sfp": [90.0, 90.5, 91.0]}


@pytest.fixture
def table(tmp_path: Path, build: Build) -> pd.DataFrame:
    root = build(
        tmp_path,
        inits=["pretrained"],
        methods=["sfp", "psap"],
        targets=[0.8, 0.5],
        top1=lambda model, init, method, target, seed: TOP1[method][seed] - (target == 0.8),
        dense=lambda model, seed: 93.0,
        absent=lambda path: path.endswith("sfp/0.8/seed2") or path.endswith("sfp/0.8/seed1"),
    )
    return summarise(collect(root))


def test_order_is_dense_then_target_then_the_method_before_its_baselines(table: pd.DataFrame) -> None:
    cells = table[["init", "target", "method"]].itertuples(index=False, name=None)
    assert list(cells) == [
        ("", 0.0, "dense"),
        ("pretrained", 0.5, "psap"),
        ("pretrained", 0.5, "sfp"),
        ("pretrained", 0.8, "psap"),
        ("pretrained", 0.8, "sfp"),
    ]
    assert table.columns[-2:].tolist() == TIMING


def test_means_by_hand(table: pd.DataFrame) -> None:
    row = table.iloc[1]
    assert (row["n"], row["top1_last_mean"], row["top1_last_std"]) == (3, 91.0, 1.0)
    assert (row["drop_mean"], row["dense_top1_mean"], row["top1_best_mean"]) == (2.0, 93.0, 91.2)
    assert row["macs_reduction_mean"] == row["params_reduction_mean"] == 0.503
    assert row["latency_ratio_mean"] == pytest.approx(1 - 0.503 / 2)
    one_seed = table.iloc[4]
    assert (one_seed["n"], one_seed["top1_last_mean"]) == (1, 89.0)
    assert math.isnan(one_seed["top1_last_std"])


def test_best_is_the_highest_of_a_cell_and_a_lone_row_is_not(table: pd.DataFrame) -> None:
    assert best(table).tolist() == [False, True, False, True, False]


def test_metrics_have_no_dot_in_a_key_and_no_nan(table: pd.DataFrame) -> None:
    found = metrics(table.assign(model="timm:resnet50.a1", target=table["target"].replace(0.5, 0.125)))
    assert list(found)[:2] == ["timm_resnet50_a1_dense", "timm_resnet50_a1_pretrained_psap_12_5"]
    assert metrics(table)["resnet8_pretrained_psap_80"]["top1_last_mean"] == 90.0
    without = table.assign(top1_best_mean=float("nan"))
    assert "top1_best_mean" not in metrics(without)["resnet8_dense"]


def test_markdown(table: pd.DataFrame) -> None:
    lines = markdown(table).splitlines()
    assert lines[2] == "| resnet8 | – | – | dense | 3 | 93.00 ± 0.00 | – | 93.20 | – | – | 1.00 × |"
    assert lines[3].startswith("| resnet8 | pretrained | 50 % | psap | 3 | **91.00 ± 1.00** | 2.00 | 91.20 | −50.3 % |")
    assert lines[6].startswith("| resnet8 | pretrained | 80 % | sfp | 1 | 89.00 | 4.00 |")
    assert {line.count("|") for line in lines[:7]} == {12}


def test_latex_escapes_and_is_balanced(table: pd.DataFrame) -> None:
    text = latex(table.assign(model="vgg16_bn&"))
    assert r"vgg16\_bn\& & pretrained & 50 \% & psap & 3 & \textbf{91.00 $\pm$ 1.00} & 2.00" in text
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in body} == {10}
    assert text.isascii()


def test_numbers_for_people() -> None:
    assert [number(-0.5), number(1.255, 1), number(0.4, 1, sign=True), number(None)] == ["−0.50", "1.3", "+0.4", "–"]
    assert [number(-0.001), number(0.001, 2, sign=True), number(float("nan"))] == ["0.00", "0.00", "–"]
    assert [spread(1.0, 0.25), spread(1.0, float("nan"))] == ["1.00 ± 0.25", "1.00"]


def test_a_method_that_differs_by_init_is_told_for_each() -> None:
    def run(method: str, init: str, freeze: float) -> SimpleNamespace:
        return SimpleNamespace(method=method, init=init, config={"method": {"schedule": {"freeze": freeze}}})

    runs = [run("l1", "pretrained", 0.0), run("l1", "scratch", 0.3), run("l1", "scratch", 0.3)]
    runs += [run("sfp", "pretrained", 0.5), run("sfp", "scratch", 0.5), SimpleNamespace(method="dense", config={})]
    results = cast(Results, SimpleNamespace(suite=SimpleNamespace(all_methods=["sfp", "l1", "absent"]), committed=runs))
    told = [(method, init, parts["schedule"]["freeze"]) for method, init, parts in compositions(results)]
    assert told == [("sfp", "", 0.5), ("l1", "pretrained", 0.0), ("l1", "scratch", 0.3)]


@pytest.mark.parametrize(("dense", "told"), [(2.0, True), (2.1, True), (1.91, True), (2.11, False), (1.89, False)])
def test_no_latency_where_the_dense_network_is_off_itself(
    tmp_path: Path, build: Build, dense: float, told: bool
) -> None:
    root = build(tmp_path, methods=["psap", "l1"], targets=[0.5], models=["resnet8", "vgg"])
    file = root / "resnet8" / "dense" / "seed1" / "run.json"
    row = json.loads(file.read_text())
    row["cost"]["latency_ms"] = dense
    file.write_text(json.dumps(row))
    found = summarise(collect(root)).groupby("model")["latency_ratio_mean"].count()
    assert found["vgg"] == 5 and found["resnet8"] == (5 if told else 0)
    assert "measured against itself" in markdown(summarise(collect(root)))
