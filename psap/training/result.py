"""What a finished training is worth: its network measured beside the dense one."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from psap.models import architecture
from psap.pruning.cost import count_macs, count_params
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.mechanism import sensitivity
from psap.training.evaluation import LATENCY_BATCH, Score, accuracy, compared_latencies, peak_memory_mb
from psap.training.loop import Progress
from psap.training.run_data import RunData
from psap.utils.mappings import JsonObject


@dataclass(frozen=True)
class TrainResult:
    """What a finished run found out: the `result` and `cost` of its row, its network, and what lies next to its row.

    `right`: whether each held-out image (N,) was classified rightly. `sensitivity`: how much the loss on validation
    images grows when a group alone is pruned, by the group's name (None: no dense run, or no validation split).
    """

    result: JsonObject
    cost: dict[str, float]
    network: nn.Module
    right: Tensor
    sensitivity: dict[str, float] | None


def accuracies(score: Score, dense: Path | None, progress: Progress) -> JsonObject:
    """Accuracies and loss in a row: the last epoch's, the best of the final network's, the dense network's."""
    dense_top1 = architecture.read(dense).extra["top1_last"] if dense else score.top1
    final = [row["top1"] for row in progress.rows if row["final"] and row["top1"] is not None]
    return {
        "top1_last": score.top1,
        "top1_best": max(final, default=score.top1),
        "top5_last": score.top5,
        "loss_last": score.loss,
        "dense_top1": dense_top1,
        "drop": dense_top1 - score.top1,
    }


def sizes(network: nn.Module, reference: nn.Module, example: Tensor) -> JsonObject:
    """Multiply-adds and parameters of a network and of the dense one, counted."""
    macs, macs_dense = count_macs(network, example), count_macs(reference, example)
    params, params_dense = count_params(network), count_params(reference)
    return {
        "macs": macs,
        "macs_dense": macs_dense,
        "macs_reduction": 1 - macs / macs_dense,
        "params": params,
        "params_dense": params_dense,
        "params_reduction": 1 - params / params_dense,
    }


def cost(network: nn.Module, reference: nn.Module, data: RunData, progress: Progress) -> dict[str, float]:
    """Time and memory of the training; milliseconds of both networks where nothing else used the machine."""
    for compared in (network, reference):  # compaction leaves the other layout
        compared.to(memory_format=torch.channels_last)
    example = data.example(LATENCY_BATCH)
    latency = compared_latencies(network, reference, example)
    return {
        "seconds": progress.seconds,
        "images_per_second": images_per_second(data, progress),
        "peak_memory_mb": peak_memory_mb(example.device),
    } | dict(zip(("latency_ms", "latency_dense_ms"), latency or (), strict=False))


def images_per_second(data: RunData, progress: Progress) -> float:
    """How fast it has trained so far; no clock measures less than a microsecond."""
    return len(progress.rows) * data.images_per_epoch / max(progress.seconds, 1e-6)


def sensitivity_by_group(network: nn.Module, data: RunData) -> dict[str, float] | None:
    """By the name of each group, how much the loss on validation images grows when it alone is pruned."""
    if (batches := data.validation) is None:
        return None
    groups = [group for group in find_prunable_groups(network, data.example(1)) if not group.reason]
    found = sensitivity(network, groups, lambda model: accuracy(model, batches.epoch(0)).loss)
    return {group.name: change for group, change in zip(groups, found, strict=True)}
