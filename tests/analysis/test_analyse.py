"""The whole analysis: what it writes, that it writes it the same way twice, and what the report says."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fixture_types import Build

from psap.analysis import analyse
from psap.analysis.facts import facts
from psap.analysis.figures import FIGURES
from psap.analysis.results import TIMING, collect
from psap.analysis.rules import Rules
from psap.errors import PsapError

FILES = {"runs.csv", "table.csv", "table.md", "table.tex", "metrics.json", "claims.json", "report.html"}
FILES |= {"datapackage.json"}
FILES |= {f"figures/{name}.{kind}" for name in FIGURES for kind in ("svg", "png")}
PUBLISHED = """dataset,model,method,mode,baseline_top1,pruned_top1,top1_drop,top5_drop,flops_reduction_pct,source
CIFAR-10,ResNet-8,A & B,scratch,92.20,90.83,1.37,,52.0,a <paper>
"""
ABSENT = ["toy/resnet8/scratch/l1/0.8/seed2"]


def written(root: Path) -> dict[str, bytes]:
    """What the analysis wrote: every file that is no run's."""
    files = [file for file in root.rglob("*") if file.is_file() and "seed" not in file.parent.name]
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files if file.name != "suite.json"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Path:
    """A suite before its analysis, with one run missing."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "published.csv").write_text(PUBLISHED)
    return build(folder, data={"source": "cifar10", "train_images": 10000}, absent=lambda path: path in ABSENT)


@pytest.fixture(scope="module")
def root(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, analysed."""
    root = tmp_path_factory.mktemp("analysed") / "toy"
    shutil.copytree(bare, root)
    analyse(root, bare.parent / "published.csv")
    return root


@pytest.fixture(scope="module")
def report(root: Path) -> str:
    return (root / "report.html").read_text()


def test_it_writes_these_files_and_leaves_nothing_else(root: Path) -> None:
    assert set(written(root)) == FILES


def test_again_elsewhere_with_other_hashes_and_settings_the_same_bytes_and_no_torch(
    bare: Path, root: Path, tmp_path: Path
) -> None:
    again = tmp_path / "toy"
    shutil.copytree(bare, again)
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nlines.antialiased: False\n")
    code = (
        "import sys; from pathlib import Path; from psap.analysis import analyse;"
        f"analyse(Path({str(again)!r}), Path({str(bare.parent / 'published.csv')!r}));"
        "loaded = {'torch', 'torchvision', 'timm', 'mlflow', 'snakemake', 'matplotlib.pyplot'} & set(sys.modules);"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "MPLCONFIGDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[2])
    first, second = written(root), written(again)
    assert [name for name in first if first[name] != second[name]] == []


def test_timings_change_nothing_but_timings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psap.analysis.figures.FIGURES", {})
    other = tmp_path / "toy"
    shutil.copytree(root, other)
    for file in other.rglob("run.json"):
        row = json.loads(file.read_text())
        row["cost"] = {key: 3.7 * value for key, value in row["cost"].items()} | {"peak_memory_mb": None}
        file.write_text(json.dumps(row))
    analyse(other, None)
    for name in ("claims.json", "metrics.json"):
        assert (other / name).read_bytes() == (root / name).read_bytes()
    ours, theirs = (pd.read_csv(folder / "runs.csv") for folder in (root, other))
    assert ours.columns[-len(TIMING) :].tolist() == TIMING
    assert ours.drop(columns=TIMING).equals(theirs.drop(columns=TIMING))
    assert theirs["peak_memory_mb"].isna().all()


def test_json_is_strict_and_claims_are_complete(root: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((root / "metrics.json").read_text(), parse_constant=refuse)
    claims = json.loads((root / "claims.json").read_text(), parse_constant=refuse)
    assert [c["id"] for c in claims["claims"]] == ["S2", "S3", "S3b", "S5a", "S5b", "S5c", "S5d", "S5e", "S5f"]
    keys = {"id", "statement", "source", "verdict", "reason", "p", "p_equal", "scope", "n", "comparisons"}
    keys |= {"visible", "seeds_needed"}
    assert all(set(claim) == keys and claim["reason"].endswith(".") for claim in claims["claims"])


def test_figures_hold_no_date_and_one_colour_a_method(root: Path) -> None:
    for name in FIGURES:
        svg = (root / f"figures/{name}.svg").read_text()
        assert "dc:date" not in svg
        assert ("#d55e00" in svg) == (name != "ablation")
        assert (root / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")


class Page(HTMLParser):
    """What a page refers to, and whether its elements close in order."""

    VOID = ("meta", "br", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for key, value in attributes if key in ("src", "href")]
        self.anchors |= {f"#{value}" for key, value in attributes if key == "id"}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_stands_alone_and_is_well_formed(report: str) -> None:
    page = Page(report)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "link", "iframe", "object"})
    assert [link for link in page.links if link not in page.anchors] == []
    assert {f"#{name}" for name in FIGURES} <= page.anchors
    assert not re.search(r"url\((?!#)", report) and "@import" not in report and 'src="' not in report


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_report_says_what_was_run_and_what_is_missing(report: str) -> None:
    text = plain(report.replace("<wbr>", ""))
    assert "1 of the suite's 75 runs have no row yet" in text
    assert f"have no committed row. {ABSENT[0]}" in text
    for fact in ("cifar10; train images 10000", "Runs 74 of 75", "Time of all runs 10 min", "torch 2.14.1", "abc1234"):
        assert fact in text
    assert ".venv/bin/psap rerun toy/resnet8/scratch/sfp/0.8/seed2" in text


def test_the_report_shows_every_verdict_with_its_reason(root: Path, report: str) -> None:
    claims = json.loads((root / "claims.json").read_text())
    text = plain(report)
    for claim in claims["claims"]:
        assert claim["reason"] in text.replace("&#39;", "'")
        assert f'class="badge {claim["verdict"].replace(" ", "-")}"' in report
    assert claims["rules"] == Rules().model_dump(mode="json")
    for rule in claims["told"]:
        assert rule in text.replace("&#39;", "'").replace("&#34;", '"')


def test_the_report_sets_published_rows_beside_ours_and_escapes_them(report: str) -> None:
    assert "A &amp; B" in report and "a &lt;paper&gt;" in report
    assert "not comparable" in plain(report)


def test_the_composition_of_each_method_is_told(report: str) -> None:
    text = plain(report)
    parts = "l2 uniform protective when after, share 0.3 cubic start 0.0, freeze 0.3, interval 1"
    assert f"psap_uniform {parts} pretrained 0.02, from scratch 0.1 adaptivity off" in text


def test_suites_that_have_hardly_begun(tmp_path: Path, build: Build) -> None:
    """A dense run alone, and a retrained run without a history or a dense run, are no reason to fail."""
    dense = build(tmp_path / "dense", seeds=1, absent=lambda path: "/dense/" not in path)
    lone = build(
        tmp_path / "lone", seeds=1, methods=["retrained"], inits=["scratch"], absent=lambda p: "/0.5/" not in p
    )
    for file in [*lone.rglob("history.csv"), *lone.rglob("epochs.csv")]:
        file.unlink()
    for root in (dense, lone):
        analyse(root, None)
        drawn = {"accuracy"} if root == lone else set()  # nothing is drawn, or told in the page, of what is not there
        files = {f"figures/{name}.{kind}" for name in drawn for kind in ("svg", "png")}
        assert set(written(root)) == {name for name in FILES if "figures/" not in name} | files
        assert (root / "report.html").read_text().count("<figcaption>") == len(drawn)
        assert {c["verdict"] for c in json.loads((root / "claims.json").read_text())["claims"]} == {"not tested"}
    text = plain((lone / "report.html").read_text())
    assert "the compact architecture of psap , trained again from new weights from scratch 0.1 baseline" in text
    assert "Beside published rows" not in text


def test_a_broken_run_stops_the_analysis_before_it_writes(bare: Path, tmp_path: Path) -> None:
    root = tmp_path / "toy"
    shutil.copytree(bare, root)
    (root / "resnet8/dense/seed0/run.json").write_text('{"run": ')
    with pytest.raises(PsapError, match=r"resnet8/dense/seed0/run\.json: "):
        analyse(root, None)
    assert written(root) == {}


def test_where_no_channel_has_a_pulse_the_dynamics_are_drawn_all_the_same(bare: Path, tmp_path: Path) -> None:
    root = tmp_path / "toy"
    shutil.copytree(bare, root)
    for file in root.rglob("history.csv"):
        pd.read_csv(file).assign(pulse=0.0).to_csv(file, index=False)
    analyse(root, None)
    assert (root / "figures" / "dynamics.svg").stat().st_size > 0


@pytest.mark.parametrize(("source", "told"), [("imagenet", True), ("folder", False)])
def test_only_imagenet_is_said_to_have_the_classes_that_are_expected(
    tmp_path: Path, build: Build, source: str, told: bool
) -> None:
    data = {
        "source": source,
        "label": "pets (image folder, 8 images, 2 classes)",
        "photos": {"size": 32, "classes": 1000},
    }
    shown = facts(collect(build(tmp_path, data=data, seeds=1)))["Data"]
    assert ("classes 1000" in shown) == told and "photos size 32" in shown
