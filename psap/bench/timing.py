"""Interleaved timing of alternatives, and peak memory."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Timing:
    """Seconds of each repetition, and the largest memory while it ran, in MiB."""

    seconds: list[float]
    memory_mb: float

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleaved(actions: Mapping[str, Callable[[], None]], repetitions: int, device: torch.device) -> dict[str, Timing]:
    """Time every action `repetitions` times in turns, so that all see the same load; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    memory: dict[str, float] = dict.fromkeys(actions, 0.0)
    for repetition in range(repetitions + 1):
        for name, action in actions.items():
            _reset_peak(device)
            start = time.perf_counter()
            action()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repetition:
                seconds[name].append(time.perf_counter() - start)
            memory[name] = max(memory[name], _peak(device))
    return {name: Timing(seconds[name], memory[name]) for name in actions}


def ratios(timing: Timing, reference: Timing) -> tuple[float, float, float]:
    """Speed of `timing` over that of `reference`, repetition by repetition: median, smallest, largest."""
    each = [r / t for t, r in zip(timing.seconds, reference.seconds, strict=True)]
    return statistics.median(each), min(each), max(each)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # Linux: forget the peak of the resident set


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if not _STATUS.exists():
        return float("nan")
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
