"""Execute one run of a suite by its path: find what it needs, train it (or go on), write and track what came out."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from psap import ranks
from psap.data import dataset
from psap.data.sources import find_folder
from psap.digest import code_digest, state_key
from psap.errors import PsapError
from psap.files import sha256, write_json
from psap.models import architecture
from psap.nested import flat
from psap.provenance import now, provenance
from psap.schema import Data
from psap.suite import CHECKPOINTS, RESULTS, STATE, Grid, Run, data_file
from psap.tracking import Row, Tracker
from psap.training.checkpoint import Checkpoints, single_writer
from psap.training.job import Job, Outcome
from psap.training.loop import Progress
from psap.training.outputs import progress_line, write_network, write_tables


def execute(grid: Grid, run: Run, device: torch.device, workers: int = 0) -> str:
    """Train `run` in the working directory, going on where an earlier attempt stopped; returns a line that sums it up.

    Reads data/ and checkpoints/; writes checkpoints/<run>/, results/<run>/ and, to go on from, state/<run>/. `workers`:
    processes that decode photographs. Where several ranks train, all call it, and rank 0 does all that is written.
    """
    data = _data(grid.suite.data)
    for parent in grid.parents(run):
        _require(CHECKPOINTS / parent.path / architecture.DESCRIPTION, f"psap train {parent.path}")
    model_run = grid.architecture(run)
    dense = None if run.kind == "dense" else CHECKPOINTS / grid.dense(run).path
    start = CHECKPOINTS / model_run.path if model_run else dense if run.init == "pretrained" else None
    job = Job(run.config, data, device, start, dense, workers)
    origin = sha256(start / architecture.DESCRIPTION) if start else job.weights.get("sha256", "")
    key = state_key(run.hash, origin, data.digest, device.type)
    state = STATE / run.path
    checkpoints = Checkpoints(state / key)
    if ranks.rank() > 0:
        job.resume(checkpoints)
        job.run(checkpoints, lambda progress: None)
        return ""
    with single_writer(state), single_writer(state / key):
        job.resume(checkpoints)
        labels = {"code": code_digest("train"), "data": data.digest, **provenance(device)}
        labels |= {"weights": job.weights} if job.weights else {}
        tracker = Tracker(state / key, run=run.path, experiment=run.suite, tags=_tags(run, labels), params=_params(run))
        tracker.start([_tracked(job, epoch) for epoch in range(job.progress.epoch)])
        try:
            outcome = job.run(checkpoints, lambda progress: _report(run, job, progress, tracker))
            files = _write(run, job, outcome, labels)
        except BaseException as error:
            tracker.fail(str(error) or type(error).__name__)
            raise
        tracker.finish({**outcome.result, **outcome.cost}, files, architecture.files(CHECKPOINTS / run.path))
    result, trained = (
        outcome.result,
        f"{outcome.cost['seconds']:.0f} s, {outcome.cost['images_per_second']:.0f} images/s",
    )
    return (
        f"{run.path}: top-1 {result['top1_last']:.2f} % (dense {result['dense_top1']:.2f} %), "
        f"multiply-adds -{100 * result['macs_reduction']:.1f} %, {trained}"
    )


def _data(data: Data) -> dataset.DataSet:
    file = data_file(data)
    # Quoted, so that a shell does not put in a variable of the path: the file's name is that of the path as it stands.
    options = (f" --path={shlex.quote(data.path)}" if data.path else "") + (" --photos" if data.photos else "")
    _require(file, f"psap data {data.source}{options}")
    root = find_folder(data.source, data.path) if data.photos else None
    if data.photos and not (root and root.is_dir()):
        raise PsapError(f"{data.path or data.source}: the folder of its images is gone, and they are read from there")
    return dataset.load(file, root)


def _require(file: Path, command: str) -> None:
    if not file.exists():
        raise PsapError(f"{file} is missing; make it with `{command}`, or the whole suite with `psap reproduce`")


def _report(run: Run, job: Job, progress: Progress, tracker: Tracker) -> None:
    """After an epoch (its checkpoint is written): a line for people, a row for MLflow."""
    print(progress_line(run.path, job, progress), file=sys.stderr, flush=True)
    tracker.log(_tracked(job, progress.epoch - 1))


def _tracked(job: Job, index: int) -> Row:
    """The MLflow row of an epoch: its metrics, and what its pruning step did to each group."""
    row = job.progress.rows[index]
    skipped = {"epoch", "time", "final"}
    metrics = {name: float(value) for name, value in row.items() if name not in skipped and value is not None}
    for step in job.pruner.history.rows if job.pruner else ():
        if step["epoch"] == index:
            values = {name: step[name] for name in ("ratio", "sparsity", "restored", "pulse")}
            metrics |= {f"{name}/{step['group']}": value for name, value in values.items() if value is not None}
    return Row(step=row["epoch"], time=row["time"], metrics=metrics)


def _write(run: Run, job: Job, outcome: Outcome, labels: Mapping[str, Any]) -> list[Path]:
    """Write the network, then the run's own files, run.json last: where it is, everything is."""
    write_network(job, outcome, CHECKPOINTS / run.path)
    folder = RESULTS / run.path
    tables = write_tables(job, folder)
    row = {
        name: getattr(run, name) for name in ("suite", "model", "init", "method", "target", "seed", "hash", "config")
    }
    parts = {"result": outcome.result, "cost": outcome.cost, "provenance": {**labels, "finished": now()}}
    write_json(folder / "run.json", {"run": run.path, **row, **parts})
    return [folder / "run.json", *tables]


def _params(run: Run) -> dict[str, str]:
    """What runs are told apart by, first of all by their place in the grid."""
    place = {name: getattr(run, name) for name in ("model", "init", "method", "target", "seed")}
    return flat(run.config) | {name: str(value) for name, value in place.items() if value is not None}


def _tags(run: Run, labels: Mapping[str, Any]) -> dict[str, str]:
    named = {name: getattr(run, name) for name in ("suite", "model", "init", "method", "target", "seed", "hash")}
    kept = {name: labels[name] for name in ("code", "data", "commit", "dirty", "hardware", "device")}
    tags = {f"psap.{name}": str(value) for name, value in {**named, **kept}.items()}
    return tags | {"mlflow.source.git.commit": labels["commit"]}
