"""Whether the mechanisms acted, from rows that record it and from rows that do not."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from fixture_types import Build

from psap.analysis import analyse
from psap.analysis.mechanism import mechanism, summary
from psap.analysis.results import Results, collect
from psap.suites.beside_rows import write_sensitivity
from psap.utils.mappings import JsonObject

GROUPS = {"a": 10, "b": 20, "c": 40}


def recorded(
    folder: Path,
    build: Build,
    ratios: Sequence[float] = (0.2, 0.4, 0.6),
    protected: int | None = 1,
    restored: int = 1,
    sensitivity: Sequence[float] = (3.0, 2.0, 1.0),
    **columns: object,
) -> Results:
    """Two steps and the last one: in each, `protected` and `restored` channels a group; ratios the same in all."""
    grid = {"methods": ["psap", "psap_soft", "sfp"], "inits": ["pretrained"], "targets": [0.5], "epochs": 2}
    root = build(folder, **grid)
    lines = []
    for step in range(3):
        for (group, channels), ratio in zip(GROUPS.items(), ratios, strict=True):
            row = {"step": step, "epoch": step, "group": group, "channels": channels, "target": 0.5, "ratio": ratio}
            row |= {"sparsity": 0.5, "pruned": int(ratio * channels), "restored": restored if step < 2 else 0}
            row |= {"churn": 0.1, "pulse": None, "protected": protected, "kept": 2, "differs": 0.25}
            lines.append(row | columns)
    for file in root.rglob("history.csv"):
        pd.DataFrame(lines).dropna(axis=1, how="all").reindex(columns=[*lines[0], "more"]).drop(
            columns=[name for name, value in columns.items() if value is None]
        ).to_csv(file, index=False)
    if sensitivity:
        # Two seeds whose mean it is.
        for seed, change in ((0, 1.0), (1, -1.0)):
            found = {group: value + change for group, value in zip(GROUPS, sensitivity, strict=True)}
            write_sensitivity(root / "resnet8" / "dense" / f"seed{seed}" / "sensitivity.json", found)
    return collect(root)


def test_measures_by_hand(tmp_path: Path, build: Build) -> None:
    results = recorded(tmp_path, build)
    rows = {row["method"]: row for row in mechanism(results)}
    assert list(rows) == ["psap", "psap_soft"], "sfp has neither part"
    row = rows["psap"]
    pruned = 2 + 8 + 24
    assert (row["n"], row["acted"], row["restored"]) == (
        3,
        pytest.approx(6 / pruned, abs=1e-6),
        pytest.approx(3 / pruned, abs=1e-6),
    )
    assert (row["kept"], row["differs"]) == (pytest.approx(6 / 70, abs=1e-6), 0.25)
    assert row["variation"] == pytest.approx((0.08 / 3) ** 0.5 / 0.4, abs=1e-6) and row["correlation"] == -1.0
    assert row["failed"] == row["unknown"] == []
    assert summary(results, list(rows.values())) == [
        "psap acts in all 1 cells of model, init and target: both mechanisms meet their bounds."
    ]


@pytest.mark.parametrize(
    ("change", "failed", "words"),
    [
        ({"protected": 0, "restored": 0}, ["acted"], "under 3 % of the pruned channels"),
        ({"ratios": (0.4, 0.4, 0.41)}, ["variation"], "nearly uniform"),
        ({"sensitivity": (1.0, 2.0, 3.0)}, ["correlation"], "do not spare sensitive groups"),
    ],
)
def test_a_bound_that_is_not_met_makes_it_inert(
    tmp_path: Path, build: Build, change: JsonObject, failed: list[str], words: str
) -> None:
    results = recorded(tmp_path, build, **change)
    rows = mechanism(results)
    assert rows[0]["failed"] == failed
    [said] = summary(results, rows)
    assert said.startswith("psap is inert in 1 of 1 cells") and words in said


def test_what_old_rows_lack_is_not_recorded(tmp_path: Path, build: Build) -> None:
    results = recorded(tmp_path, build, sensitivity=(), protected=None, kept=None, differs=None)
    row = mechanism(results)[0]
    assert row["acted"] is row["kept"] is row["differs"] is row["correlation"] is None
    assert row["variation"] > 0.1 and row["failed"] == [] and row["unknown"] == ["acted", "correlation"]
    assert summary(results, [row]) == ["Not recorded: what it protected, the sensitivity of the groups."]


def test_the_first_lines_of_the_report_say_so(tmp_path: Path, build: Build) -> None:
    recorded(tmp_path, build, protected=0, restored=0)
    analyse(tmp_path / "toy")
    report = (tmp_path / "toy" / "report.html").read_text()
    assert "psap is inert in 1 of 1 cells" in report[: report.index('<dl class="facts">')]
    assert 'id="mechanism"' in report
