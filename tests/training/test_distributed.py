"""Several processes that train one network do what a single one does which takes their images in turns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import together_helpers
import torch

from psap.utils.mappings import JsonObject

SCRIPT = Path(together_helpers.__file__)
# Not with folded weights: these read running statistics, which one process gathers in another order than two.
RAW = {"weights": "raw"}
METHODS = {
    "before": {
        "schedule": {"freeze": 0.5},
        "window": 2,
        "sparsity": RAW,
        "protection": {"signal": "weight_gradient", "scope": "group", "pulse": 0.0, "rest": "hold"},
    },
    "gates": {
        "schedule": {"freeze": 0.5},
        "window": 2,
        "sparsity": RAW,
        "protection": {"when": "after", "signal": "gate_gradient", "rest": "free"},
    },
    "across": {
        "schedule": {"freeze": 0.5},
        "window": 2,
        "sparsity": RAW,
        "protection": {"signal": "gate_gradient", "scope": "network", "pulse": 0.2, "share": 0.7, "rest": "fix"},
    },
    "taylor": {"criterion": "taylor", "allocation": "global", "reconstruction": "hard", "schedule": {"freeze": 0.5}},
    "random": {"criterion": "random", "allocation": "global", "reconstruction": "hard", "schedule": {"freeze": 0.5}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, JsonObject]:
    """What every rank has written, alone and as one of two: `<method>-<rank>-of-<ranks>`."""
    folder = tmp_path_factory.mktemp("ranks")
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]):
        command = [sys.executable, *launcher, str(SCRIPT), json.dumps(METHODS), str(folder)]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return {file.stem: torch.load(file, weights_only=True) for file in sorted(folder.glob("*.pt"))}


@pytest.mark.parametrize("name", METHODS)
def test_two_ranks_are_one_that_accumulates(name: str, trained: dict[str, JsonObject]) -> None:
    alone, first, second = (trained[f"{name}-{rank}"] for rank in ("0-of-1", "0-of-2", "1-of-2"))
    steps = len(alone["masks"])
    assert steps >= 15
    pruned = [int(sum(mask.sum() for mask in masks)) for masks in alone["masks"]]
    assert pruned[-1] > 0 and (len(set(pruned)) > 2 or name in {"taylor", "random"})
    for other in (first, second):
        assert len(other["masks"]) == steps
        for ours, theirs in zip(alone["masks"], other["masks"], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert alone["parameters"].keys() == other["parameters"].keys()
        for parameter, value in alone["parameters"].items():
            torch.testing.assert_close(other["parameters"][parameter], value, rtol=0, atol=1e-8)
        assert other["losses"] == pytest.approx(alone["losses"], abs=1e-10)
    assert all(torch.equal(first["parameters"][p], second["parameters"][p]) for p in first["parameters"])
    assert name != "before" or any(banked for banked in first["banks"])
    for ours, theirs in zip(first["banks"], second["banks"], strict=True):
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[slot], theirs[slot]) for slot in ours)
