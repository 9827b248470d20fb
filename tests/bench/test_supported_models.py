"""The coverage table: families, single networks of different kinds, the page; and what is committed of it."""

from pathlib import Path

import pytest
import torch
from fixture_types import Psap

from psap.bench.families import families, family_of
from psap.bench.support import TARGETS, Row, attempt, column
from psap.bench.supported_models import CSV, MARKDOWN, bench_coverage, read
from psap.bench.supported_models_page import count, of_library, render
from psap.errors import PsapError
from psap.models import build, saved
from psap.pruning.channels import ChannelBackup


@pytest.fixture(scope="module")
def committed() -> list[Row]:
    return read(Path(__file__).parents[2] / "docs" / CSV)


def test_a_family_is_a_name_without_sizes() -> None:
    names = {
        "resnet50d": "resnet",
        "res2net50_26w_4s": "res2net",
        "resnetv2_50x1_bit": "resnetv2_bit",
        "vit_base_patch16_224": "vit_patch",
        "mobilenetv3_small_050": "mobilenetv3",
        "tf_efficientnet_b0": "tf_efficientnet",
        "convnext_xxlarge": "convnext",
    }
    assert {name: family_of(name) for name in names} == names
    assert sum(map(len, families().values())) > 1000


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("test_resnet", ["pruned", "pruned"]),
        ("test_efficientnet", ["pruned", "pruned"]),  # squeeze and excitation, depthwise convolutions
        ("test_convnext", ["pruned", "pruned"]),  # LayerNorm, layer scale
        ("hiera_tiny_224", ["pruned", "pruned"]),  # attention whose expansions torch-pruning divides by zero
        ("test_vit", ["pruned", "pruned"]),  # hidden layers and whole heads
        ("torchvision:lraspp_mobilenet_v3_large", ["pruned", "pruned"]),  # a mapping with a map of classes
        ("torchvision:ssdlite320_mobilenet_v3_large", ["pruned", "pruned"]),  # boxes and classes of every place
    ],
)
def test_networks_of_different_kinds(name: str, outcomes: list[str]) -> None:
    row = attempt(name)
    assert [row[column(target)] for target in TARGETS] == outcomes
    assert row["difference"] <= 1e-9 < 1e-3 < row["change"]
    assert 0 < row["prunable"] < row["groups"], "the classifier stays whole"
    assert row["restored"] > 0, "without which the backup is not tried"


def test_a_network_that_cannot_be_built_is_a_row() -> None:
    row = attempt("no_such_network")
    assert {row[column(target)] for target in TARGETS} == {"not built"} and "no_such_network" in row["reason"]


def test_a_bank_that_loses_a_group_and_a_network_that_is_not_loaded_back_are_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the backup did before it kept each group by itself, and a file of other weights."""
    restore = ChannelBackup.restore
    monkeypatch.setattr(
        ChannelBackup, "restore", lambda backup, group, mask: restore(backup, group, mask & (mask.cumsum(0) > 1))
    )
    row = attempt("test_resnet")
    assert {row[column(target)] for target in TARGETS} == {"failed"} and "the backup does not keep conv1.0" in row[
        "reason"
    ]
    monkeypatch.undo()
    monkeypatch.setattr(saved, "load", lambda folder: build("timm:test_resnet", 10))
    row = attempt("test_resnet")
    assert {row[column(target)] for target in TARGETS} == {"failed"}


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "1/0", "x/y", "-1/2"])
def test_a_part_that_is_none_is_one_line(psap: Psap, part: str) -> None:
    assert psap("bench", "coverage", "--part", part)[0::2] == (
        2,
        f"psap: --part {part}: write K/N with K from 1 to N, such as 1/4\n",
    )


def test_parts_share_the_work_and_one_table(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    names = ["test_nfnet", "test_resnet", "test_vit"]
    for part in ((2, 2), (1, 2)):
        bench_coverage(tmp_path, 300, 0, names, part)
    assert [row["family"] for row in read(tmp_path / CSV)] == ["test_resnet", "test_nfnet", "test_vit"]
    assert not (tmp_path / MARKDOWN).exists()
    bench_coverage(tmp_path, 300, 0, names)
    assert [row["family"] for row in read(tmp_path / CSV)] == names
    assert (tmp_path / MARKDOWN).exists()


def test_the_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    for names in (["test_nfnet"], ["test_nfnet", "test_resnet"]):
        bench_coverage(tmp_path, 300, 60, names)
    rows = read(tmp_path / CSV)
    assert [row["family"] for row in rows] == ["test_nfnet", "test_resnet"]
    assert (tmp_path / MARKDOWN).read_text() == render(rows)
    with pytest.raises(PsapError, match="'nonsense' is no family"):
        bench_coverage(tmp_path, 300, 60, ["nonsense"])


@pytest.mark.parametrize(("seconds", "largest", "reason"), [(0, 60, "took more than 0 s"), (300, 0, "more than 0 M")])
def test_a_network_too_large_or_too_slow_is_not_tried(tmp_path: Path, seconds: int, largest: int, reason: str) -> None:
    bench_coverage(tmp_path, seconds, largest, ["test_resnet"])
    (row,) = read(tmp_path / CSV)
    assert {row[column(target)] for target in TARGETS} == {"not tried"} and reason in row["reason"]


def test_what_is_committed_has_no_failure_and_most_families_pruned(committed: list[Row]) -> None:
    assert [row["family"] for row in committed] == list(families())
    for library in ("timm", "torchvision"):
        numbers = count(of_library(committed, library))
        assert numbers["failed"] == [0, 0]
        assert all(pruned >= 0.7 * built for pruned, built in zip(numbers["pruned"], numbers["built"], strict=True))
    assert all(row["reason"] for row in committed if {row[column(t)] for t in TARGETS} != {"pruned"})


def test_the_page_committed_is_made_of_the_table(committed: list[Row], root: Path) -> None:
    page = (root / "docs" / MARKDOWN).read_text()
    assert page == render(committed)
    assert f"]({CSV})" in page and "LayerNorm mixes or shifts channels" in page
    assert not [row for row in committed if f"| {row['network']} " in page], "families are in the table only"


def test_the_front_page_has_the_counts_of_the_table(committed: list[Row], root: Path) -> None:
    front = " ".join((root / "README.md").read_text().split())
    for library, built in (("timm", "families that build here"), ("torchvision", "networks")):
        numbers = count(of_library(committed, library))
        low, high = numbers["pruned"]
        assert f"f {library}'s {numbers['built'][0]} {built}, {low} can be pruned by 30 % and {high} by 50 %" in front
