"""What a run leaves: its network, its tables and, last of all, its row (run.json). Where that is, everything is."""

from collections.abc import Mapping
from pathlib import Path

from psap.models import architecture, saved
from psap.suites.beside_rows import CORRECT, SENSITIVITY, write_correct, write_sensitivity
from psap.suites.grid import Run
from psap.suites.paths import Paths
from psap.suites.provenance import now
from psap.training.divergence import Diverged
from psap.training.outputs import write_network, write_tables
from psap.training.result import TrainResult
from psap.training.trainer import Trainer
from psap.utils.files import write_json
from psap.utils.mappings import JsonObject

_IDENTITY = ("suite", "model", "init", "method", "target", "seed", "hash")


def write_run(run: Run, trainer: Trainer, outcome: TrainResult, labels: JsonObject, paths: Paths) -> list[Path]:
    """Write all that a finished run leaves; returns the files in its folder of results."""
    folder, results = paths.checkpoints / run.path, paths.results / run.path
    write_network(trainer, outcome, folder)
    tables = write_tables(results, trainer.progress.rows, trainer.history)
    write_correct(results / CORRECT, outcome.right.numpy())
    if outcome.sensitivity is not None:
        write_sensitivity(results / SENSITIVITY, outcome.sensitivity)
    made = {**labels, "network": architecture.read(folder).sha256}
    return [_write(run, {"result": outcome.result, "cost": outcome.cost}, made, paths), *tables]


def write_diverged(run: Run, trainer: Trainer, lost: Diverged, labels: JsonObject, paths: Paths) -> list[Path]:
    """Write what is left of a run that diverged: the epochs that it had, no network, and a row without a result."""
    saved.save_none(
        paths.checkpoints / run.path,
        trainer.config.model,
        trainer.data.classes,
        trainer.data.channels,
        f"{run.path} diverged: {lost}",
    )
    tables = write_tables(paths.results / run.path, trainer.progress.rows, trainer.history)
    _forget_results(paths.results / run.path)
    diverged = {"epoch": lost.epoch, "what": lost.what}
    return [_write(run, _lost(diverged, trainer.progress.seconds), labels, paths), *tables]


def write_not_run(run: Run, why: str, parent: architecture.Architecture, labels: JsonObject, paths: Paths) -> None:
    """Write the row of a run that cannot begin, since its `parent` has no network."""
    saved.save_none(paths.checkpoints / run.path, run.model, parent.classes, parent.in_channels, why)
    history: list[JsonObject] | None = [] if run.kind == "prune" else None
    write_tables(paths.results / run.path, [], history)
    _forget_results(paths.results / run.path)
    _write(run, _lost({"epoch": 0, "what": why}, 0.0), labels, paths)


def _forget_results(folder: Path) -> None:
    """Delete what an earlier row had next to it."""
    for name in (CORRECT, SENSITIVITY):
        (folder / name).unlink(missing_ok=True)


def _lost(diverged: Mapping[str, object], seconds: float) -> JsonObject:
    return {"diverged": diverged, "result": None, "cost": {"seconds": seconds}}


def _write(run: Run, parts: Mapping[str, object], labels: JsonObject, paths: Paths) -> Path:
    file = paths.results / run.path / "run.json"
    identity = {name: getattr(run, name) for name in _IDENTITY} | {"config": run.config.described()}
    write_json(file, {"run": run.path, **identity, **parts, "provenance": {**labels, "finished": now()}})
    return file
