"""`psap bench latency`: how much of the multiply-adds that pruning saves is saved in time."""

import copy
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from psap.bench.timing import Timing, interleaved, ratios
from psap.errors import PsapError
from psap.export import export, missing, onnx_session
from psap.models.open import Network
from psap.pruning.cost import count_macs
from psap.utils.text import table

Run = Callable[[], object]
# Makes a network ready for a number of threads and a batch of images: one forward pass.
Prepare = Callable[[int, Tensor], Run]

_REPETITION = 0.1  # seconds that a repetition takes at least, so that the clock and cold caches do not decide


def available() -> list[str]:
    """The ways that this machine has: torch.compile needs a C++ compiler, ONNX Runtime its packages."""
    compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    has: dict[str, bool] = {"eager": True, "compiled": compiler, "onnx": not missing("onnx")}
    return [way for way in has if has[way]]


@torch.no_grad()
def bench_latency(
    dense: Network, compact: Network, ways: Sequence[str], batches: Sequence[int], repetitions: int
) -> str:
    """Time a forward pass of both networks in turns, by every way, number of threads (1 and all) and batch.

    Returns a line about the multiply-adds and a table: median (smallest to largest) milliseconds of a batch, the time
    saved, and that as a share of the multiply-adds saved. Raises PsapError for a way that this machine lacks, and for
    networks of which one does not save anything over the other or takes other images.
    """
    if lacking := [way for way in ways if way not in available()]:
        raise PsapError(f"{lacking[0]!r} is no way to run a network here; there are {', '.join(available())}")
    if dense.images.shape != compact.images.shape:
        shapes = (" x ".join(map(str, network.images.shape[1:])) for network in (dense, compact))
        raise PsapError("the dense network takes images of {}, the compact one of {}".format(*shapes))
    macs = [count_macs(network.model, network.images) for network in (dense, compact)]
    promised = 1 - macs[1] / macs[0]
    if promised <= 0:
        raise PsapError(f"nothing to measure: {macs[0]:,} multiply-adds dense, {macs[1]:,} compact")
    header = ("way", "batch", "threads", "dense, ms", "compact, ms", "saving of time", "share of the promised")
    rows = _rows(dense, compact, ways, batches, repetitions, promised)
    counted = f"{macs[0] / 1e6:,.1f} M dense, {macs[1] / 1e6:,.1f} M compact"
    return f"Multiply-adds: {counted}; promised saving {promised:.1%}\n\n{table(header, rows)}"


def _rows(
    dense: Network, compact: Network, ways: Sequence[str], batches: Sequence[int], repetitions: int, promised: float
) -> list[list[str]]:
    rows = []
    every = torch.get_num_threads()
    try:
        for way in ways:
            prepare = [_WAYS[way](network) for network in (dense, compact)]
            for threads, batch in itertools.product(sorted({1, every}), batches):
                torch.set_num_threads(threads)
                images = torch.randn(batch, *dense.images.shape[1:])
                before, after = _measure([ready(threads, images) for ready in prepare], repetitions)
                rows.append([way, str(batch), str(threads), *_cells(before, after, promised)])
    finally:
        torch.set_num_threads(every)
    return rows


def _measure(runs: Sequence[Run], repetitions: int) -> list[Timing]:
    """Seconds of one call of each, in turns; a repetition is as many calls as the slowest needs to fill its time."""
    for run in runs:
        run()  # compiles, chooses kernels, fills caches
    seconds = max(_seconds(run) for run in runs)
    calls = max(1, round(_REPETITION / seconds))

    def repeat(run: Run) -> Callable[[], None]:
        def action() -> None:
            for _ in range(calls):
                run()

        return action

    timings = interleaved({str(i): repeat(run) for i, run in enumerate(runs)}, repetitions, torch.device("cpu"))
    return [Timing([s / calls for s in timing.seconds], timing.memory_mb) for timing in timings.values()]


def _seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _cells(dense: Timing, compact: Timing, promised: float) -> list[str]:
    times = [
        f"{1e3 * timing.median:.2f} ({1e3 * min(timing.seconds):.2f} to {1e3 * max(timing.seconds):.2f})"
        for timing in (dense, compact)
    ]
    saving, least, most = (1 - 1 / speed for speed in ratios(compact, dense))
    return [*times, f"{saving:.0%} ({least:.0%} to {most:.0%})", f"{saving / promised:.0%}"]


def _eager(network: Network) -> Prepare:
    model = _channels_last(network)

    def ready(threads: int, images: Tensor) -> Run:
        seen = images.contiguous(memory_format=torch.channels_last)
        return lambda: model(seen)

    return ready


def _compiled(network: Network) -> Prepare:
    model = _channels_last(network)

    def ready(threads: int, images: Tensor) -> Run:
        torch.compiler.reset()  # what was compiled for other threads and batches counts against a limit
        compiled = torch.compile(model, dynamic=False)
        seen = images.contiguous(memory_format=torch.channels_last)
        return lambda: compiled(seen)

    return ready


def _onnx(network: Network) -> Prepare:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export(network.model, network.images, file, "onnx")
        content = file.read_bytes()

    def ready(threads: int, images: Tensor) -> Run:
        run = onnx_session(content, threads)
        return lambda: run(images)

    return ready


def _channels_last(network: Network) -> nn.Module:
    return copy.deepcopy(network.model).to(memory_format=torch.channels_last)


_WAYS: dict[str, Callable[[Network], Prepare]] = {"eager": _eager, "compiled": _compiled, "onnx": _onnx}
