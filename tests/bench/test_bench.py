"""The benchmarks run and their tables hold what they promise; how fast anything is, is not tested."""

import re

import pytest
import torch
from torch import nn

from psap.bench.latency import available, bench_latency
from psap.bench.prune import NETWORKS, bench_prune
from psap.bench.timing import Timing, interleaved, ratios
from psap.bench.tracking import bench_track
from psap.models.open import Network, open_named
from psap.pruning.cost import count_macs
from psap.pruning.one_shot import prune_at_once

CPU = torch.device("cpu")


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_training_table_has_one_conventional_way_and_ratios_that_agree(psap) -> None:
    code, out, err = psap("bench", "train", "resnet8", "--iterations", 1, "--repetitions", 1)
    assert code == 0, err
    table, counted = out.split("\n\n")
    plain, held = map(int, re.findall(r"\d+(?=;| \()", counted))
    assert 0 < held - plain <= 0.05 * plain, "weights and momentum of all groups are held together"
    header, _, *rows = cells(table)
    rows = [row for row in rows if "bfloat16" not in row[0]]  # only where the processor has it
    assert len(header) == 6 and len(rows) == 4
    assert [row[0].split(",")[0].split(":")[0] for row in rows] == ["bare", "our loop", "our loop", "conventional"]
    speeds = [float(row[1]) for row in rows]
    assert all(speed > 0 for speed in speeds) and all(float(row[2]) > 50 for row in rows)
    for row, speed in zip(rows[1:], speeds[1:], strict=True):
        assert abs(float(row[3].split()[0]) - speed / speeds[0]) < 0.02


@pytest.mark.skipif("compiled" not in available(), reason="no C++ compiler")
def test_training_table_has_a_row_for_every_option_and_for_all_of_them(psap) -> None:
    code, out, err = psap("bench", "train", "resnet8", "--iterations", 1, "--repetitions", 1, "--compile")
    assert code == 0, err
    options = [row[0].removeprefix("our loop, ") for row in cells(out)[2:] if row[0].startswith("our loop")]
    assert options in (["plain", "PSAP", "compiled", "bfloat16", "bfloat16, compiled"], ["plain", "PSAP", "compiled"])


def test_pruning_table(monkeypatch) -> None:
    for name in list(NETWORKS):
        monkeypatch.delitem(NETWORKS, name)
    monkeypatch.setitem(NETWORKS, "resnet8", 32)
    header, _, row = cells(bench_prune(1, CPU))
    assert len(header) == len(row) == 9 and row[0] == "resnet8" and header.count("over Torch-Pruning") == 2
    training, discovery, over, step, in_steps, step_over = (float(row[i]) for i in range(2, 8))
    assert min(training, discovery, over, step, step_over) > 0
    assert abs(in_steps * training - step) < 6e-4 * (1 + in_steps) + 6e-3 * training


def test_latency_table_relates_time_to_multiply_adds() -> None:
    dense = open_named("resnet8", size=16)
    compact = dense._replace(model=prune_at_once(dense.model, dense.images, 0.5, round_to=1))
    summary, table = bench_latency(dense, compact, ["eager", "onnx"], [1, 2], repetitions=1).split("\n\n")
    header, _, *rows = cells(table)
    promised = 1 - count_macs(compact.model, compact.images) / count_macs(dense.model, dense.images)
    assert 0.5 <= promised < 0.52 and f"promised saving {promised:.1%}" in summary
    assert header[3:] == ["dense, ms", "compact, ms", "saving of time", "share of the promised"]
    assert [row[:3] for row in rows] == [[way, batch, "1"] for way in ("eager", "onnx") for batch in ("1", "2")]
    for row in rows:
        before, after = (float(cell.split()[0]) for cell in row[3:5])
        saving, share = (float(cell.split("%")[0]) / 100 for cell in row[5:])
        assert before > 0 and abs(saving - (1 - after / before)) < 0.01 + 0.02 / before
        assert abs(share - saving / promised) < 0.02


@pytest.mark.skipif("compiled" not in available(), reason="no C++ compiler")
def test_latency_under_torch_compile_with_several_threads() -> None:
    images = torch.zeros(1, 3, 8, 8)
    networks = [Network(f"{c}", 2, nn.Sequential(nn.Conv2d(3, c, 3), nn.ReLU()).eval(), images) for c in (16, 8)]
    torch.set_num_threads(2)
    try:
        _, table = bench_latency(networks[0], networks[1], ["compiled"], [3], repetitions=1).split("\n\n")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert [row[:3] for row in cells(table)[2:]] == [["compiled", "3", "1"], ["compiled", "3", "2"]]


def test_tracking_table() -> None:
    header, _, *rows = cells(bench_track())
    processes = [row[0] for row in rows]
    assert header == ["process", "what", "time"] and processes == 3 * ["training process"] + 3 * ["mirror"]
    assert all(float(row[2].split()[0]) > 0 for row in rows)


def test_actions_are_measured_in_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    timings = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, 2, CPU)
    assert calls == ["a", "b"] * 3 and len(timings["a"].seconds) == 2


def test_ratios_pair_the_repetitions() -> None:
    assert ratios(Timing([1.0, 2.0, 4.0], 0), Timing([2.0, 2.0, 2.0], 0)) == (1.0, 0.5, 2.0)
