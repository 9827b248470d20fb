"""What MLflow is told of a run: its name, what it is, parameters, tags, data set and the metrics of an epoch."""

from collections.abc import Mapping

from psap.data.dataset import DataSet as Images
from psap.suites.grid import Grid, Run
from psap.suites.paths import data_file
from psap.tracking import Row, new_head
from psap.tracking.records import NOTE, DataSet, Head
from psap.training.trainer import Trainer
from psap.utils.mappings import JsonObject, flat

_ACCURACY = "accuracy"  # MLflow sorts charts by the part before the slash, so that these come first
_LAYERS = "layers"


def head(grid: Grid, run: Run, labels: JsonObject, data: Images) -> Head:
    """All that is known of the run when it starts; `labels` are its provenance."""
    told = _tags(grid, run, labels), _params(run), _name(grid, run), _data_set(grid, data)
    return new_head(run.path, run.suite, *told)


def _name(grid: Grid, run: Run) -> str:
    """What tells the run apart in its suite: "psap -80 % pretrained s0"."""
    parts = [run.model] if len(grid.suite.models) > 1 else []
    parts += ["dense"] if run.kind == "dense" else [run.method, f"-{100 * run.target:g} %", str(run.init)]
    return " ".join([*parts, f"s{run.seed}"])


def _params(run: Run) -> dict[str, str]:
    """What runs are told apart by, first of all by their place in the grid."""
    place = {name: getattr(run, name) for name in ("model", "init", "method", "target", "seed")}
    return flat(run.config.described()) | {name: str(value) for name, value in place.items() if value is not None}


def _tags(grid: Grid, run: Run, labels: JsonObject) -> dict[str, str]:
    """Where the run stands in its suite, what it is in a line, and what made it."""
    named = {name: getattr(run, name) for name in ("suite", "model", "init", "method", "target", "seed", "hash")}
    kept = {name: labels[name] for name in ("code", "data", "commit", "dirty", "hardware", "device")}
    kept |= {"dirty": "unknown"} if labels["dirty"] is None else {}
    kept |= {name: labels["machine"][name] for name in ("processor", "instructions", "threads")}
    tags = {f"psap.{name}": str(value) for name, value in {**named, **kept}.items()}
    return tags | {"mlflow.source.git.commit": labels["commit"], NOTE: _description(grid, run)}


def _data_set(grid: Grid, data: Images) -> DataSet:
    """The data set as an input of the run."""
    counts = {"train": len(data.train), "test": len(data.test)}
    profile = {"label": data.label, "images": counts, "classes": len(data.classes)}
    return {
        "name": grid.suite.data.source,
        "digest": data.digest,
        "source": data_file(grid.suite.data).as_posix(),
        "profile": profile,
    }


def row(trainer: Trainer, index: int) -> Row:
    """The metrics of an epoch, and what its pruning step did to each group."""
    told = trainer.progress.rows[index]
    skipped = {"epoch", "time", "final"}
    values = {name: float(value) for name, value in told.items() if name not in skipped and value is not None}
    metrics = grouped(values)
    for step in trainer.pruner.history.rows if trainer.pruner else ():
        if step["epoch"] == index:
            values = {name: step[name] for name in ("ratio", "sparsity", "restored", "pulse")}
            metrics |= {f"{_LAYERS}/{name}/{step['group']}": v for name, v in values.items() if v is not None}
    return Row(step=told["epoch"], time=told["time"], metrics=metrics)


def grouped(metrics: Mapping[str, float]) -> dict[str, float]:
    """`metrics` with the accuracies of this network under one heading of their own."""
    return {f"{_ACCURACY}/{name}" if name.startswith("top") else name: value for name, value in metrics.items()}


def _description(grid: Grid, run: Run) -> str:
    what = f"{run.model} on {grid.suite.data.source}"
    less = f"{100 * run.target:g} % fewer {'parameters' if grid.suite.measure == 'params' else 'multiply-adds'}"
    begun = "starting from its dense network" if run.init == "pretrained" else "starting from random weights"
    how = {
        "dense": "the dense network, which the pruned ones are compared with",
        "prune": f"pruned by {run.method} to {less}, {begun}",
        "retrain": f"trained anew with {less} ({run.method}), as long as the {run.init} run that it is compared with",
    }
    return f"{what}: {how[run.kind]}; seed {run.seed}."
