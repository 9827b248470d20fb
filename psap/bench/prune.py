"""`psap bench prune`: what discovery, a pruning step and compaction cost, beside a training step and Torch-Pruning."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.bench.timing import Timing, interleaved, ratios
from psap.models import build
from psap.pruning.graph._torch_pruning import tp
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.method_sections import Schedule
from psap.pruning.pruner import Pruner
from psap.utils.text import table

NETWORKS = {"resnet20": 32, "resnet56": 32, "resnet110": 32, "vgg16_bn": 32, "timm:resnet50": 224}
_BATCH = 32
_CLASSES = 10


def bench_prune(repetitions: int, device: torch.device) -> str:
    """Seconds of each part for the CIFAR networks and ResNet-50, batch 32; returns a table of medians.

    Torch-Pruning's discovery neither tries its groups nor counts costs; its step is the norms and the removal of half
    of the channels. Ours is over its in turns, repetition by repetition.
    """
    rows = [_row(name, size, repetitions, device) for name, size in NETWORKS.items()]
    header = (
        "network",
        "images",
        "training step, s",
        "discovery, s",
        "over Torch-Pruning",
        "pruning step, s",
        "in training steps",
        "over Torch-Pruning",
        "compaction, s",
    )
    return table(header, rows)


def _row(name: str, size: int, repetitions: int, device: torch.device) -> list[str]:
    torch.manual_seed(0)
    model = build(name, _CLASSES).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(_BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, _CLASSES, (_BATCH,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    constant = Method(schedule=Schedule(kind="constant", freeze=1.0))
    pruner = Pruner(model, x[:1], 0.5, repetitions + 2, optimizer, constant)
    epochs = iter(range(repetitions + 2))
    theirs = [_torch_pruning(copy.deepcopy(model), x[:1]) for _ in range(repetitions + 1)]  # what one removes is gone

    def train() -> None:
        """An iteration of a training without a pruner."""
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    def prune() -> None:
        """All that a pruning step adds to a training: the choice, and the window of supervised gradients."""
        pruner.step(next(epochs))
        for _ in range(pruner.method.window):
            pruner.after_backward()
            pruner.after_step()

    def find() -> None:
        find_prunable_groups(model, x[:1])

    def find_theirs() -> None:
        _torch_pruning(model, x[:1])

    def compact() -> None:
        pruner.compact()

    training = interleaved({"": train}, repetitions, device)[""]
    F.cross_entropy(model(x), y).backward()
    discovery = interleaved({"ours": find, "theirs": find_theirs}, repetitions, device)
    step = interleaved({"ours": prune, "theirs": lambda: theirs.pop().step()}, repetitions, device)
    prune()
    compaction = interleaved({"": compact}, repetitions, device)[""]
    return [
        name,
        f"{size} x {size}",
        f"{training.median:.3f}",
        *_beside(discovery),
        f"{step['ours'].median:.3f}",
        f"{step['ours'].median / training.median:.2f}",
        _beside(step)[1],
        f"{compaction.median:.3f}",
    ]


def _torch_pruning(model: nn.Module, image: Tensor) -> Any:
    """Torch-Pruning's own pruner by norms, with all of its discovery done; the classifier stays."""
    head = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == _CLASSES]
    importance = tp.importance.GroupMagnitudeImportance(p=2)
    return tp.pruner.MagnitudePruner(model, image, importance, pruning_ratio=0.5, ignored_layers=head)


def _beside(timings: dict[str, Timing]) -> tuple[str, str]:
    """Our seconds, and how many times theirs they are."""
    return f"{timings['ours'].median:.3f}", f"{ratios(timings['theirs'], timings['ours'])[0]:.2f}"
