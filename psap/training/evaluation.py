"""What a network is worth: accuracy, latency and memory."""

import itertools
import resource
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.utils import distributed

LATENCY_BATCH = 32
LATENCY_ERROR = 0.05


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy, top-1 and top-5 accuracy in percent, and whether each image (N,) was classified rightly."""

    loss: float
    top1: float
    top5: float
    right: Tensor = field(compare=False, repr=False)


@torch.no_grad()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Score:
    """Score `model` in eval mode over `batches` of (images (B, C, H, W), labels (B,)); its mode is kept.

    Where several ranks score, each its share, all get the score of the whole.
    """
    training = model.training
    model.eval()
    first: list[Tensor] = []
    totals = torch.zeros(4, dtype=torch.float64, device=next(model.parameters()).device)
    for images, labels in batches:
        logits = model(images).float()
        ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        right = torch.stack([ranked[:, 0].sum(), ranked.sum(), torch.full_like(labels[0], len(labels))])
        totals += torch.cat([loss.double()[None], right.double()])
        first.append(ranked[:, 0])
    model.train(training)
    loss_sum, one, five, count = distributed.all_reduce_sum(totals).tolist()
    assert count, "nothing to evaluate"
    return Score(loss_sum / count, 100 * one / count, 100 * five / count, _in_order(first))


def _in_order(batches: list[Tensor]) -> Tensor:
    """One tensor of the batches of all ranks, which took them in turns."""
    rounds = itertools.zip_longest(*distributed.gather([batch.cpu() for batch in batches]))
    return torch.cat([batch for turn in rounds for batch in turn if batch is not None])


@torch.no_grad()
def latencies(models: Sequence[nn.Module], images: Tensor, repetitions: int = 15) -> list[float]:
    """Median milliseconds of one forward pass on `images` for each model, measured in turns under one load."""
    times: list[list[float]] = [[] for _ in models]
    for model in models:
        model.eval()
    for repetition in range(repetitions + 2):
        for model, seen in zip(models, times, strict=True):
            start = time.perf_counter()
            model(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            if repetition >= 2:  # the first passes choose kernels and fill caches
                seen.append(1000 * (time.perf_counter() - start))
    return [statistics.median(seen) for seen in times]


def compared_latencies(model: nn.Module, reference: nn.Module, images: Tensor) -> tuple[float, float] | None:
    """Milliseconds of a forward pass of both; None where `reference` timed twice is more than 5 % off itself.

    Then something else used the machine meanwhile, and the times say nothing about the networks.
    """
    first, before, again = latencies([model, reference, reference], images)
    return (first, before) if abs(again / before - 1) <= LATENCY_ERROR else None


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far, in MiB: the device's where there is one, else the process's resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
