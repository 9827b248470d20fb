"""`psap bench prune`: what discovery, a pruning step and compaction cost beside a plain training step."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

from psap.models import build
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method, Schedule
from psap.pruning.pruner import Pruner
from psap.utils.text import table

NETWORKS = {"resnet20": 32, "resnet56": 32, "resnet110": 32, "vgg16_bn": 32, "timm:resnet50": 224}
_BATCH = 32


def bench_prune(repetitions: int, device: torch.device) -> str:
    """Seconds of each part for the CIFAR networks and ResNet-50, batch 32; returns a table of medians."""
    rows = [_row(name, size, repetitions, device) for name, size in NETWORKS.items()]
    header = (
        "network",
        "images",
        "training step, s",
        "discovery, s",
        "pruning step, s",
        "in training steps",
        "compaction, s",
    )
    return table(header, rows)


def _row(name: str, size: int, repetitions: int, device: torch.device) -> list[str]:
    torch.manual_seed(0)
    model = build(name, 10).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(_BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (_BATCH,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    constant = Method(schedule=Schedule(kind="constant", freeze=1.0))
    pruner = Pruner(model, x[:1], 0.5, repetitions + 2, optimizer, constant)
    epochs = iter(range(repetitions + 2))

    def train() -> None:
        """An iteration of a training without a pruner."""
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    def prune() -> None:
        """All that a pruning step adds to a training: the choice, and the window of supervised gradients."""
        pruner.step(next(epochs))
        for _ in range(pruner.method.window):
            pruner.after_backward()
            pruner.after_step()

    training = _median(train, repetitions, device)
    F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
    step = _median(prune, repetitions, device)
    discovery = _median(lambda: find_prunable_groups(model, x[:1]), repetitions, device)
    prune()
    compaction = _median(pruner.compact, repetitions, device)
    seconds = [f"{value:.3f}" for value in (training, discovery, step)]
    return [name, f"{size} x {size}", *seconds, f"{step / training:.2f}", f"{compaction:.3f}"]


def _once(action: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _median(action: Callable[[], object], repetitions: int, device: torch.device) -> float:
    action()
    return statistics.median(_once(action, device) for _ in range(repetitions))
