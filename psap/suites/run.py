"""Execute one run of a suite by its path: find what it needs, train it (or resume), write and track what came out."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from psap.data import dataset
from psap.data.schema import Data
from psap.data.sources import find_folder
from psap.errors import PsapError
from psap.models import architecture
from psap.suites import tracked
from psap.suites.digest import code_digest, state_key
from psap.suites.grid import Grid, Run
from psap.suites.outputs import write_diverged, write_not_run, write_run
from psap.suites.paths import PROJECT, Paths, data_command, data_file
from psap.suites.provenance import arithmetic, provenance
from psap.tracking import Tracker
from psap.tracking.records import DIVERGED
from psap.training.checkpoint import Checkpoints, single_writer
from psap.training.divergence import Diverged
from psap.training.loop import Progress
from psap.training.outputs import progress_line
from psap.training.trainer import Trainer
from psap.utils import distributed
from psap.utils.files import sha256
from psap.utils.mappings import JsonObject


def execute(grid: Grid, run: Run, device: torch.device, workers: int = 0, paths: Paths = PROJECT) -> str:
    """Train `run`, going on where an earlier attempt stopped; returns a line that sums it up.

    Reads the prepared data of the working directory; reads and writes networks, results and, to resume, state below
    `paths`. `workers`: processes that decode photographs. Where several ranks train, all call it, and rank 0 does all
    that is written. A run that diverges leaves a row that says so, and so does one whose dense network did.
    """
    data = load_data(grid.suite.data)
    for parent in grid.parents(run):
        _require(paths.checkpoints / parent.path / architecture.DESCRIPTION, f"psap train {parent.path}")
    precision = run.config.training.precision
    labels: JsonObject = {"code": code_digest("train"), "data": data.digest}
    for parent in grid.parents(run):
        described = architecture.read(paths.checkpoints / parent.path)
        if architecture.DIVERGED in described.extra:
            why = f"not run: {parent.path} diverged"
            if distributed.rank() == 0:
                write_not_run(run, why, described, {**labels, **provenance(device, precision)}, paths)
            return f"{run.path}: {why}"
    model_run = grid.architecture_run(run)
    dense = None if run.kind == "dense" else paths.checkpoints / grid.dense_run(run).path
    start = paths.checkpoints / model_run.path if model_run else dense if run.init == "pretrained" else None
    trainer = Trainer(run.config, data, device, start, dense, workers)
    origin = sha256(start / architecture.DESCRIPTION) if start else trainer.weights.get("sha256", "")
    key = state_key(run.hash, origin, data.digest, arithmetic(device, precision))
    state = paths.state / run.path
    checkpoints = Checkpoints(state / key, f"{run.path} {key}")
    if distributed.rank() > 0:
        trainer.resume(checkpoints)
        with suppress(Diverged):  # which rank 0 tells of
            trainer.run(checkpoints, lambda progress: None)
        return ""
    with single_writer(state), single_writer(state / key):
        trainer.resume(checkpoints)
        labels |= provenance(device, precision) | ({"start": architecture.read(start).sha256} if start else {})
        labels |= {"weights": trainer.weights} if trainer.weights else {}
        tracker = Tracker(state / key, tracked.head(grid, run, labels, data))
        tracker.start([tracked.row(trainer, epoch) for epoch in range(trainer.progress.epoch)])
        try:
            outcome = trainer.run(checkpoints, lambda progress: _report(run, trainer, progress, tracker))
            files = write_run(run, trainer, outcome, labels, paths)
        except Diverged as lost:
            write_diverged(run, trainer, lost, labels, paths)
            tracker.fail(f"{DIVERGED}{lost}")
            return f"{run.path}: {DIVERGED}{lost}"
        except BaseException as error:
            tracker.fail(str(error) or type(error).__name__)
            raise
        metrics = tracked.grouped({**outcome.result, **outcome.cost})
        tracker.finish(metrics, files, architecture.files(paths.checkpoints / run.path))
    result, trained = (
        outcome.result,
        f"{outcome.cost['seconds']:.0f} s, {outcome.cost['images_per_second']:.0f} images/s",
    )
    return (
        f"{run.path}: top-1 {result['top1_last']:.2f} % (dense {result['dense_top1']:.2f} %), "
        f"multiply-adds -{100 * result['macs_reduction']:.1f} %, {trained}"
    )


def load_data(data: Data) -> dataset.DataSet:
    """The prepared data set. Raises PsapError with the command that prepares it where it is missing."""
    file = data_file(data)
    _require(file, data_command(data))
    root = find_folder(data.source, data.path) if data.photos else None
    if data.photos and not (root and root.is_dir()):
        raise PsapError(f"{data.path or data.source}: the folder of its images is gone, and they are read from there")
    return dataset.load(file, root)


def _require(file: Path, command: str) -> None:
    if not file.exists():
        raise PsapError(f"{file} is missing; make it with `{command}`, or the whole suite with `psap reproduce`")


def _report(run: Run, trainer: Trainer, progress: Progress, tracker: Tracker) -> None:
    """After an epoch (its checkpoint is written): a line for people, a row for MLflow."""
    print(progress_line(run.path, trainer, progress), file=sys.stderr, flush=True)
    tracker.log(tracked.row(trainer, progress.epoch - 1))
