"""A suite that chooses: its settings are ranked by what its rows say, and its effects are means by level."""

import json
from pathlib import Path

import pandas as pd
import pytest
from fixture_types import Build, Seal

from psap.analysis import analyse
from psap.analysis.results import collect
from psap.analysis.settings import chooses, effects, ranking

SETTINGS = {
    "psap_1": ("soft", 0.1),
    "psap_2": ("protective", 0.1),
    "psap_3": ("protective", 0.05),
    "l1_1": ("hard", 0.1),
}
TOP1 = {"psap_1": 60.0, "psap_2": 70.0, "psap_3": 65.0, "l1_1": 66.0}


@pytest.fixture
def root(tmp_path: Path, build: Build, seal: Seal) -> Path:
    """Four settings of two methods; the target takes ten points, the second seed one."""
    root = build(
        tmp_path,
        inits=("pretrained",),
        methods=tuple(SETTINGS),
        seeds=2,
        top1=lambda model, init, method, target, seed: TOP1[method] - (10 if target == 0.8 else 0) - seed,
        data={"source": "digits", "validation": 0.2, "evaluate": "validation"},
    )
    for file in root.rglob("run.json"):
        row = json.loads(file.read_text())
        if row["method"] in SETTINGS:
            reconstruction, lr = SETTINGS[row["method"]]
            row["config"] = {"method": {"reconstruction": reconstruction, "schedule": {"kind": "cubic"}}}
            row["config"]["training"] = {"recipe": {"lr": lr}}
            file.write_text(seal(row))
    return root


def test_settings_are_ranked_within_their_method(root: Path) -> None:
    table = ranking(collect(root))
    assert table["setting"].tolist() == ["l1_1", "psap_2", "psap_3", "psap_1"]
    assert table["top1"].tolist() == [60.5, 64.5, 59.5, 54.5]
    assert table["n"].tolist() == [4] * 4 and table["trials"].tolist() == [1, 3, 3, 3]
    assert table["std"].tolist() == pytest.approx([0.5**0.5] * 4, abs=1e-6)
    assert table["parameters"].tolist() == [
        "",
        "reconstruction protective, lr 0.1",
        "reconstruction protective, lr 0.05",
        "reconstruction soft, lr 0.1",
    ]


def test_effects_are_the_means_at_each_level(root: Path) -> None:
    found = effects(collect(root))
    expected = [("reconstruction", "protective", 62.0, 8), ("reconstruction", "soft", 54.5, 4)]
    expected += [("lr", "0.05", 59.5, 4), ("lr", "0.1", 59.5, 8)]
    assert found["family"].unique().tolist() == ["psap"]
    assert list(found[["parameter", "level", "top1", "n"]].itertuples(index=False, name=None)) == expected


def test_its_report_shows_settings_and_no_verdicts(root: Path, tmp_path: Path) -> None:
    assert chooses(collect(root))
    analyse(root, None)
    report = (root / "report.html").read_text()
    assert 'id="settings"' in report and 'id="claims"' not in report and "psap_3" in report
    assert pd.read_csv(root / "settings.csv")["setting"].tolist()[1] == "psap_2"
    assert sorted(file.name for file in (root / "figures").iterdir()) == ["settings.png", "settings.svg"]
