"""What runs will cost: work, time, disk, and what to ask a cluster for, reckoned before anything is run.

Everything is reckoned from the dense network: an upper bound for runs that train the compacted one after their freeze.
What is assumed is said where it is written; only `hours_here` measures.
"""

import math
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from multiprocessing import get_context
from typing import NamedTuple

from psap.errors import PsapError
from psap.planning.gpus import GPUS, LAUNCH, REFERENCE, UTILISATION, Gpu
from psap.planning.workload import Images, Network, count, images_of, launches_of_a_step
from psap.suites.grid import Grid, Run
from psap.utils.globs import check_globs

_STEP = 3  # forward passes that a training step costs: one forward, and two of its size backward
_START_UP = 6.0  # seconds that a run needs beside its training: imports, evaluation, writing
_NUMBER = 4  # bytes of a weight
_KEPT = 2  # checkpoints of a run, until its workflow has ended well


_PROCESSOR = 3e9  # multiply-adds of forward passes a second and thread: the slowest rows in results/ (demo, dense)
# A cluster ends a job at the limit that was asked for. Small networks on small images keep a GPU waiting for its next
# operation, so a limit is several times what the peak promises, and never short.
_MARGIN, _LEAST_MINUTES = 3, 240
_SAMPLE = 4 * 10**9  # multiply-adds of a step that measures this machine: a second, if it is slow
_STEPS, _SECONDS, _MOST_STEPS = 5, 0.5, 100  # steps that are measured: at least so many, so long, and at most so many
_DECODED = 100  # images a second that a thread reads and decodes, at least: a quarter of what docs/scaling.md measures
_WORKERS = 12  # processor threads that decode photographs for one GPU


class Hours(NamedTuple):
    """How long, if every training step is as fast as the fastest, the median and the slowest of those measured."""

    least: float
    middle: float
    most: float


class Request(NamedTuple):
    """What a job asks a cluster for."""

    threads: int
    mem_mb: int
    minutes: int


class Estimate:
    """The cost of a suite and of each of its runs."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    @property
    def runs(self) -> int:
        """Number of runs."""
        return len(self._grid.runs)

    @cached_property
    def images(self) -> Images:
        """The images of the suite's data set. Raises PsapError as `images_of` does."""
        return images_of(self._grid.suite.data)

    @cached_property
    def _splits(self) -> tuple[int, int]:
        """How many images a run trains on in an epoch, and how many it is scored on."""
        data, batch = self._grid.suite.data, self._grid.suite.training.batch_size
        validation = round(data.validation * self.images.train)
        train = data.train_images or self.images.train - validation
        # As psap.data.batches has it: an incomplete last batch is left out unless it is the only one.
        return train // batch * batch or train, validation if data.evaluate == "validation" else self.images.test

    def network(self, run: Run) -> Network:
        """The dense network of `run`.

        Raises PsapError where there is none, it does not take the suite's images, or has not the layers that the method
        keeps.
        """
        place = "models"
        try:
            found = count(run.model, self.images.classes, self.images.shape)
            place, method = f"methods: {run.method}", run.config.method
            for key in ("ignore", "ratios"):
                check_globs(getattr(method, key, ()), found.layers, key)
        except PsapError as error:
            raise PsapError(f"params/{self._grid.name}.yaml: {place}: {error}") from None
        return found

    def trained(self, run: Run) -> int:
        """Images that `run` trains on, over all epochs; none for published weights."""
        return _epochs(run) * self._splits[0]

    def work(self, run: Run) -> int:
        """Multiply-adds that `run` costs: training steps, scorings by `score_every`, and one more at the end."""
        scorings = math.ceil(_epochs(run) / self._grid.suite.training.score_every) + 1
        step = _STEP + bool(run.config.training.recipe.distill)  # whose teacher takes a forward pass
        return self.network(run).macs * (step * self.trained(run) + scorings * self._splits[1])

    def seconds(self, run: Run, gpu: Gpu) -> float:
        """Seconds that `run` takes on `gpu`: by its multiply-adds, or by the kernels that it launches."""
        training = self._grid.suite.training
        single = training.precision == "float32"
        peak, share = (gpu.single, UTILISATION["single"]) if single else (gpu.half, UTILISATION["half"])
        steps = math.ceil(self.trained(run) / (training.micro_batch or training.batch_size))
        launching = LAUNCH * steps * launches_of_a_step(run.model, self.images.classes, self.images.shape)
        computing = 2 * self.work(run) / (1e12 * peak * share)  # a multiply-add is two operations
        return _START_UP + max(computing, launching)

    def gpu_hours(self, gpu: Gpu) -> float:
        """Hours of one `gpu` for the whole suite."""
        return sum(self.seconds(run, gpu) for run in self._grid.runs.values()) / 3600

    def data_bytes(self) -> int:
        """Size of the prepared data set: a byte for each pixel and channel; photographs stay in their own folder."""
        return 0 if self._grid.suite.data.photos else math.prod(self.images.shape) * sum(self.images[2:])

    def network_bytes(self) -> int:
        """Size of the networks of all runs: one each in checkpoints/, and its copy in MLflow's store."""
        return sum(2 * _NUMBER * self.network(run).params for run in self._grid.runs.values())

    def state_bytes(self) -> int:
        """Size of what all runs resume from, until their workflow has ended well."""
        return sum(_KEPT * self._checkpoint(run) for run in self._grid.runs.values() if self.trained(run))

    def _checkpoint(self, run: Run) -> int:
        """Bytes of weights, momentum and, for pruning, the bank."""
        return (3 if run.kind == "prune" else 2) * _NUMBER * self.network(run).params

    def request(self, run: Run, gpu: bool) -> Request:
        """What `run` asks a cluster for, on a processor or with one GPU of the reference type or a faster one."""
        network, data = self.network(run), self._grid.suite.data
        seconds = self.seconds(run, GPUS[REFERENCE]) if gpu else _START_UP + self.work(run) / _PROCESSOR
        threads = _WORKERS if gpu and data.photos else 1
        if data.photos:
            seconds = max(seconds, self.trained(run) / (threads * _DECODED))
        # Decoded batches wait in the workers; small images are copied to be padded and mirrored. Then weights with what
        # the optimiser and the pruner keep, and on a processor the layers' outputs and their gradients.
        training = self._grid.suite.training
        batch = training.micro_batch or training.batch_size
        waiting = 2 * threads * batch * math.prod(self.images.shape) * _NUMBER if data.photos else 8 * self.data_bytes()
        computing = 5 * _NUMBER * network.params + (0 if gpu else 2 * _NUMBER * batch * network.outputs)
        libraries = 3000 if gpu else 1500
        mem_mb = libraries + 300 * (threads - 1) + (waiting + computing) // 10**6
        return Request(threads, mem_mb, max(_LEAST_MINUTES, math.ceil(_MARGIN * seconds / 60)))

    def request_of_data(self) -> Request:
        """What the preparation of the data set asks for: it holds all images at once, unless they are photographs."""
        decoding = sum(self.images[2:]) / _DECODED / 60
        return Request(1, 2000 + 3 * self.data_bytes() // 10**6, math.ceil(60 + decoding))

    def hours_here(self) -> Hours:
        """Hours on this machine if it does nothing else, a run on every core or one on the GPU."""
        import torch

        cuda = torch.cuda.is_available()
        work = sum(self.work(run) for run in self._grid.runs.values())
        if cuda:  # in a process of its own: a workflow must not hold a GPU's memory, or the GPU, until it ends
            with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
                speeds = elsewhere.submit(self._speeds_here, "cuda").result()
        else:
            speeds = self._speeds_here("cpu")
        at_once = 1 if cuda else os.cpu_count() or 1
        slow, middle, fast = (
            (work / speed + _START_UP * len(self._grid.runs)) / at_once / 3600
            for speed in (min(speeds), statistics.median(speeds), max(speeds))
        )
        return Hours(fast, middle, slow)

    def _speeds_here(self, device: str) -> list[float]:
        """Multiply-adds of forward passes a second of one thread (or the GPU), training the suite's first network.

        One for each of several steps, after one that warms up. On a processor it is this process's own time that
        counts: the clock on the wall would count what else the machine does at the moment.
        """
        import torch

        from psap.models import build

        model, shape = self._grid.suite.models[0], self.images.shape
        macs = count(model, self.images.classes, shape).macs
        batch = min(32, max(2, _SAMPLE // macs))
        network = build(model, self.images.classes, shape[0]).to(device)
        example, threads = torch.zeros(batch, *shape, device=device), torch.get_num_threads()
        times: list[float] = []
        clock = time.perf_counter if device == "cuda" else time.process_time
        torch.set_num_threads(1)
        while len(times) <= _STEPS or (sum(times) < _SECONDS and len(times) < _MOST_STEPS):
            start = clock()
            network(example).square().mean().backward()
            if device == "cuda":
                torch.cuda.synchronize()
            times.append(clock() - start)
        torch.set_num_threads(threads)
        return [_STEP * macs * batch / max(seconds, 1e-9) for seconds in times[1:]]


def _epochs(run: Run) -> int:
    return run.config.training.recipe.epochs
