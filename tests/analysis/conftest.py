"""A synthetic suite on disk, with numbers that a test chooses or that a seed draws."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_types import Build, Seal

from psap.utils.files import sha256
from psap.utils.mappings import JsonObject

ROLES = {
    "method": "psap",
    "protection": "psap_soft",
    "hard": "psap_hard",
    "adaptivity": "psap_uniform",
    "plain": "psap_plain",
}
METHODS = ("psap", "psap_soft", "psap_uniform", "psap_plain", "sfp", "l1")
GROUPS = {"conv1": 16, "layer1": 16, "layer2.0.conv1": 32, "layer2": 32, "layer3": 64}
DENSE = 98.0
LR = {"pretrained": 0.02, "scratch": 0.1}


def drawn(model: str, init: str, method: str, target: float, seed: int) -> float:
    """A plausible accuracy: falls with the target, differs by method, noisy by seed."""
    key = [ord(c) for c in f"{model}{init}{method}{target}{seed}"]
    offset = 0.4 * (len(METHODS) - METHODS.index(method)) if method in METHODS else -sum(map(ord, method)) % 9 * 0.3
    noise = float(np.random.default_rng(key).normal(0, 0.25))
    return round(DENSE - 2 - 9 * target**3 * (1.5 if init == "scratch" else 1) + offset + noise, 4)


def run_row(suite: dict[str, Any], path: str, top1: float, dense: float) -> dict[str, Any]:
    """A run.json as the contract has it."""
    parts = path.split("/")
    is_dense = parts[2] == "dense"
    init, method, target = (None, "dense", 0.0) if is_dense else (parts[2], parts[3], float(parts[4]))
    macs, params = 1_000_000, 50_000
    reduction = 0.0 if is_dense else round(target + 0.003, 6)
    return {
        "run": path, "suite": suite["suite"], "model": parts[1], "init": init, "method": method, "target": target,
        "seed": int(parts[-1].removeprefix("seed")), "hash": "",
        "config": {"method": composition(method), "training": {"recipe": {"lr": LR[init]}}} if init else {},
        "result": {"top1_last": top1, "top1_best": max(top1, min(100.0, round(top1 + 0.2, 4))),
                   "top5_last": max(top1, 99.9), "loss_last": 0.1,
                   "dense_top1": dense, "drop": round(dense - top1, 6),
                   "macs": round(macs * (1 - reduction)), "macs_dense": macs, "macs_reduction": reduction,
                   "params": round(params * (1 - reduction)), "params_dense": params, "params_reduction": reduction,
                   "masked_compact_difference": 1e-7, "epochs": 12, "images": 16000},
        "cost": {"seconds": 8.1, "images_per_second": 2100.0, "peak_memory_mb": 512.0,
                 "latency_ms": round(2.0 * (1 - reduction / 2), 6), "latency_dense_ms": 2.0},
        "provenance": {"code": "c0de", "data": "da7a", "versions": {"torch": "2.14.1", "timm": "1.0.31"},
                       "commit": "abc1234", "dirty": False, "hardware": "x86_64, 2 cores, 23 GiB", "device": "cpu",
                       "finished": "2026-01-01T00:00:00Z"},
    }  # fmt: skip


def sealed(row: dict[str, Any]) -> str:
    """The row as a file's content, with the hash of its configuration, as if a run had been configured so."""
    return json.dumps(row | {"hash": sha256(json.dumps(row["config"], sort_keys=True).encode())})


def composition(method: str) -> dict[str, Any]:
    """The method's part of a resolved configuration."""
    if method == "retrained":
        return {"retrain": "psap"}
    parts: dict[str, Any] = {"criterion": "l2", "allocation": "uniform", "reconstruction": "soft"}
    parts["schedule"] = {"kind": "cubic", "start": 0.0, "freeze": 0.3, "interval": 1}
    if method in ("psap", "psap_soft", "psap_hard"):
        parts |= {"allocation": "sparsity", "sparsity": {"scale": "model", "quantile": 0.5, "alpha": 0.5}}
    if method == "psap_hard":
        parts |= {"reconstruction": "hard"}
    if method in ("psap", "psap_uniform"):
        parts |= {"reconstruction": "protective", "protection": {"when": "after", "share": 0.3}}
    return parts


def epochs_csv(path: str, top1: float, epochs: int) -> str:
    """A learning curve that ends at `top1`, with a dip while pruning."""
    curve = top1 - 40 * np.exp(-np.arange(epochs) / (epochs / 5))
    curve[: epochs // 2] -= 6 * (np.arange(epochs // 2) % 3 == 1)
    lines = [f"{e + 1},0.1,0.5,0.4,{round(float(curve[e]), 4)},0.5,10,2" for e in range(epochs)]
    return "\n".join(["epoch,lr,train_loss,loss,top1,reduction,pruned,restored", *lines]) + "\n"


def history_csv(method: str, target: float, seed: int, epochs: int, groups: dict[str, int]) -> str:
    """A pruning history; only the sparsity allocation has a sparsity, and only protection restores."""
    rng = np.random.default_rng([seed, epochs, len(method)])
    lines = ["step,epoch,group,channels,target,ratio,sparsity,pruned,restored,churn,pulse"]
    for step in range(steps := 1 if method == "l1" else epochs // 2):
        now = target * (1 - (1 - (step + 1) / steps) ** 3)
        for index, (group, channels) in enumerate(groups.items()):
            ratio = min(0.95, now * (0.7 + 0.6 * index / len(groups)))
            sparsity = f"{0.3 + 0.3 * ratio + 0.02 * rng.random():.4f}" if method in ("psap", "psap_soft") else ""
            pulse = (
                ""
                if step == steps - 1
                else f"{10 ** (2.5 - 2 * index / len(groups)) * (1 + rng.random()) / len(method):.4f}"
            )
            restored = int(0.1 * channels) if method in ("psap", "psap_uniform") and step < steps - 1 else 0
            lines.append(f"{step},{step},{group},{channels},{now:.4f},{ratio:.4f},{sparsity},"
                         f"{int(ratio * channels)},{restored},0.1,{pulse}")  # fmt: skip
    return "\n".join(lines) + "\n"


def build_suite(
    folder: Path,
    *,
    models: Sequence[str] = ("resnet8",),
    inits: Sequence[str] = ("pretrained", "scratch"),
    methods: Sequence[str] = METHODS,
    targets: Sequence[float] = (0.5, 0.8),
    seeds: int = 3,
    top1: Callable[[str, str, str, float, int], float] = drawn,
    dense: Callable[[str, int], float] = lambda model, seed: DENSE + 0.1 * seed,
    absent: Callable[[str], bool] = lambda path: False,
    epochs: int = 12,
    groups: dict[str, int] = GROUPS,
    data: JsonObject | None = None,
    **changes: Any,
) -> Path:
    """Write a suite's committed rows to `folder`/<suite> and return that folder."""
    suite: dict[str, Any] = {
        "suite": "toy", "title": "A toy suite", "note": "Numbers drawn by a generator.",
        "data": data or {"source": "digits", "train_images": None, "validation": 0.0, "evaluate": "test"},
        "models": models, "inits": inits, "methods": dict.fromkeys(inits, methods), "targets": targets,
        "measure": "macs", "seeds": list(range(seeds)), "claims": ROLES,
        "training": {"batch_size": 64, "dense": {"epochs": 30}, "pretrained": {"epochs": epochs},
                     "scratch": {"epochs": 30}},
    } | changes  # fmt: skip
    paths = [f"toy/{model}/dense/seed{k}" for model in models for k in range(seeds)]
    paths += [f"toy/{model}/{init}/{method}/{target}/seed{k}" for model in models for init in inits
              for method in suite["methods"].get(init, []) for target in targets for k in range(seeds)]  # fmt: skip
    suite["runs"] = paths
    root: Path = folder / suite["suite"]
    root.mkdir(parents=True)
    (root / "suite.json").write_text(json.dumps(suite))
    for path in (p for p in paths if not absent(p)):
        model, seed = path.split("/")[1], int(path.split("seed")[-1])
        base = dense(model, seed)
        _, _, init, method, goal = path.split("/")[:5] if "/dense/" not in path else ("", "", "", "dense", "0")
        value = base if method == "dense" else top1(model, init, method, float(goal), seed)
        where = folder / path
        where.mkdir(parents=True)
        (where / "run.json").write_text(sealed(run_row(suite, path, value, base)))
        (where / "epochs.csv").write_text(epochs_csv(path, value, epochs))
        if method != "dense":
            (where / "history.csv").write_text(history_csv(method, float(goal), seed, epochs, groups))
    return root


@pytest.fixture(scope="session")
def build() -> Build:
    """build_suite, for the tests of this folder."""
    return build_suite


@pytest.fixture(scope="session")
def seal() -> Seal:
    """sealed, for the tests of this folder."""
    return sealed
