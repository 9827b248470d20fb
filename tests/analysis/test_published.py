from pathlib import Path

import pytest
from fixture_types import Build

from psap.analysis.published import beside, network
from psap.analysis.published_formula import formula_reduction
from psap.analysis.results import collect
from psap.analysis.tables import summarise
from psap.errors import PsapError

HEAD = "dataset,model,method,mode,baseline_top1,pruned_top1,top1_drop,top5_drop,flops_reduction_pct,source\n"
ROWS = [
    "CIFAR-10,ResNet-20,near,scratch,92.2,90.83,1.37,,54.0,a paper",
    "CIFAR-10,ResNet-20,nearer,scratch,92.2,90.83,1.37,,50.1,a paper",
    "CIFAR-10,ResNet-20,far,scratch,92.2,90.83,1.37,,55.4,a paper",
    "CIFAR-10,ResNet-20,bound,scratch,92.2,90.83,1.37,,>50,a paper",
    "CIFAR-10,ResNet-32,other network,scratch,92.2,90.83,1.37,,50.0,a paper",
    "CIFAR-100,ResNet-20,other data,scratch,92.2,90.83,1.37,,50.0,a paper",
]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    file = tmp_path / "published.csv"
    file.write_text(HEAD + "\n".join(ROWS) + "\n")
    return file


@pytest.mark.parametrize("source", ["cifar10", "CIFAR-10", "cifar10_jpeg", "CIFAR-10, 10,000 images"])
def test_rows_of_the_same_network_and_data_near_the_same_reduction(
    tmp_path: Path, build: Build, published: Path, source: str
) -> None:
    results = collect(build(tmp_path, models=["resnet20_b"], inits=["pretrained"], seeds=1, data={"source": source}))
    [section] = beside(results, summarise(results), published)
    assert (section["model"], section["target"]) == ("resnet20_b", 0.5)
    assert [row["method"] for row in section["theirs"]] == ["nearer", "near"]
    assert [row["method"] for row in section["ours"]] == ["psap", "sfp", "l1"]


def test_the_formula_stands_beside_the_count_of_uniform_methods(tmp_path: Path, build: Build, published: Path) -> None:
    options = {"inits": ["pretrained"], "seeds": 2, "data": {"source": "cifar10"}, "groups": {"a": 10, "b": 20}}
    results = collect(build(tmp_path, models=["resnet20"], **options))
    [section] = beside(results, summarise(results), published)
    by_formula = {row["method"]: row["formula"] for row in section["ours"]}
    # The history's last step has pruned int(ratio * channels) of each group.
    [last] = {tuple(rows["pruned"].tail(2)) for run, rows in results.history.groupby("run") if "/sfp/0.5/" in str(run)}
    assert by_formula["sfp"] == pytest.approx(formula_reduction(20, sum(last) / 30))
    assert by_formula["psap"] != by_formula["psap"], "its groups lose different shares: no rate, no formula"


@pytest.mark.parametrize(
    ("source", "model"), [("digits", "resnet20"), ("cifar100", "resnet32"), ("cifar10", "resnet8")]
)
def test_nothing_matches(tmp_path: Path, build: Build, published: Path, source: str, model: str) -> None:
    results = collect(build(tmp_path, models=[model], inits=["pretrained"], seeds=1, data={"source": source}))
    assert beside(results, summarise(results), published) == []


def test_network_names() -> None:
    same = [["ResNet-20", "resnet20", "resnet20_b"], ["VGG-16", "vgg16_bn"], ["ResNet-50", "timm:resnet50.a1_in1k"]]
    assert [len({network(name) for name in names}) for names in same] == [1, 1, 1]
    assert network("resnet110") != network("resnet11")


def test_a_wrong_table_is_named(tmp_path: Path, build: Build) -> None:
    results = collect(build(tmp_path, inits=["pretrained"], methods=["psap"], seeds=1))
    table, file = summarise(results), tmp_path / "published.csv"
    with pytest.raises(PsapError, match=r"published\.csv: not a table of published rows"):
        beside(results, table, file)
    file.write_text("dataset,model\n")
    with pytest.raises(PsapError, match=r"published\.csv: not a table of published rows"):
        beside(results, table, file)
