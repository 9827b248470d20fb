"""What is committed of every suite follows from its rows: rebuilt from them alone, it is the same."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from psap.analysis.tables import number
from psap.analysis.verdicts import hardest

ROOT = Path(__file__).parents[2]
SUITES = sorted(file.parent for file in (ROOT / "results").glob("*/suite.json"))
ROWS = ("suite.json", "sensitivity.json", "run.json", "epochs.csv", "history.csv", "correct.bin")
# Nothing that trains or orchestrates can be imported.
BLOCKED = """
import sys
class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "snakemake", "mlflow", "timm"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked)
from psap.cli.main import app
app()
"""


def rows_only(source: Path, target: Path) -> None:
    for name in ROWS:
        for file in source.rglob(name):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)


def files(folder: Path) -> set[Path]:
    return {file.relative_to(folder) for file in folder.rglob("[!.]*") if file.is_file()}


@pytest.mark.parametrize("suite", SUITES, ids=lambda folder: folder.name)
def test_everything_derived_is_rebuilt_from_the_rows(suite: Path, tmp_path: Path) -> None:
    rebuilt = tmp_path / "results" / suite.name
    rows_only(suite, rebuilt)
    command = [sys.executable, "-c", BLOCKED, "analyse", str(rebuilt)]
    # Run from the repository for params/published.csv, with no program but Python to be found.
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files(rebuilt) == files(suite)
    for file in sorted(file for file in files(suite) if file.suffix != ".png"):  # whose bytes are the library's
        assert (rebuilt / file).read_bytes() == (suite / file).read_bytes(), f"{file}: run psap analyse {suite}"


@pytest.mark.parametrize("suite", SUITES, ids=lambda folder: folder.name)
def test_the_table_says_what_the_rows_give(suite: Path) -> None:
    table = pd.read_csv(suite / "table.csv", keep_default_na=False).set_index(["model", "init", "method", "target"])
    rows = pd.concat([pd.json_normalize(json.loads(file.read_text())) for file in suite.rglob("run.json")])
    cells = rows.fillna({"init": ""}).groupby(["model", "init", "method", "target"])["result.top1_last"]
    assert set(cells.groups) == set(table.index)
    told = table.to_dict("index")
    for cell, values in cells:
        assert told[cell]["n"] == len(values)
        assert float(told[cell]["top1_last_mean"]) == pytest.approx(values.mean(), abs=1e-6)


def test_the_page_of_results_quotes_the_verdicts_as_they_stand() -> None:
    page = (ROOT / "docs" / "results.md").read_text().splitlines()
    for claim in json.loads((ROOT / "results" / "cifar10-cpu-v1" / "claims.json").read_text())["claims"]:
        comparison = hardest(claim)
        assert comparison
        effect, low, high = (number(comparison[key], 1, sign=True) for key in ("effect", "low", "high"))
        cells = f"| {claim['verdict']} | {effect} ({low} to {high}) | {comparison['baseline']} | {claim['n']} |"
        assert [line for line in page if line.startswith(f"| {claim['id']} |") and line.endswith(cells)], cells


def test_the_page_of_results_quotes_the_rows_of_what_is_not_judged_yet() -> None:
    page = (ROOT / "docs" / "results.md").read_text()
    cell = ROOT / "results" / "cifar10-cpu" / "resnet20" / "pretrained"
    for method in ("psap", "psap_hard", "psap_uniform", "psap_soft"):
        rows = [json.loads((cell / method / "0.8" / f"seed{seed}" / "run.json").read_text()) for seed in range(4)]
        top1 = [row["result"]["top1_last"] for row in rows]
        (line,) = [line for line in page.splitlines() if line.startswith((f"| {method} |", f"| {method}:"))]
        assert line.endswith(" | ".join(f"{value:.2f}" for value in [*top1, statistics.fmean(top1)]) + " |")
