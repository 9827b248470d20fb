"""What every column of a suite's tables means, and datapackage.json, which says it in the format of Frictionless.

A column has its type, its unit ("" where it has none), and its description; `datapackage.org` describes the format.
"""

from collections.abc import Iterable
from pathlib import Path

from psap.analysis.results import Results
from psap.utils.mappings import JsonObject
from psap.utils.validation import text

_RUNS = {
    "run": ("string", "", "Path of the run, which is its identity."),
    "suite": ("string", "", "Name of the suite."),
    "model": ("string", "", "Name of the network."),
    "init": ("string", "", "Where pruning starts: pretrained or scratch. Empty for dense runs."),
    "method": ("string", "", "Name of the pruning method, or dense."),
    "target": ("number", "share", "Share of the suite's measure that is to be removed; 0 for dense runs."),
    "seed": ("integer", "", "Seed of all that is random in the run."),
    "top1_last": ("number", "%", "Top-1 accuracy on the evaluated images at the last epoch."),
    "top1_best": ("number", "%", "Highest top-1 accuracy of an epoch with the final network; no verdict reads it."),
    "top5_last": ("number", "%", "Top-5 accuracy at the last epoch."),
    "dense_top1": ("number", "%", "Top-1 accuracy of the dense network of the same model and seed."),
    "drop": ("number", "percentage points", "dense_top1 minus top1_last."),
    "macs": ("integer", "multiply-adds", "Multiply-adds of an image, counted on the compact network."),
    "macs_dense": ("integer", "multiply-adds", "Multiply-adds of an image in the dense network."),
    "macs_reduction": ("number", "share", "Share of the multiply-adds that is removed."),
    "params": ("integer", "parameters", "Parameters of the compact network."),
    "params_dense": ("integer", "parameters", "Parameters of the dense network."),
    "params_reduction": ("number", "share", "Share of the parameters that is removed."),
    "hash": ("string", "", "SHA-256 of the run's resolved configuration."),
    "diverged": ("string", "", "What was found where the training diverged; such a run has no results."),
    "seconds": ("number", "s", "Time of training and scoring."),
    "latency_ms": ("number", "ms", "Median time of a batch of 32 images in the compact network."),
    "latency_dense_ms": ("number", "ms", "The same in the dense network, timed in turns with it."),
    "images_per_second": ("number", "images/s", "Training images in a second."),
    "peak_memory_mb": ("number", "MiB", "Most memory that the process held, or on a GPU that was allocated."),
}
_EPOCHS = {
    "epoch": ("integer", "epochs", "Epochs trained, from 1."),
    "lr": ("number", "", "Learning rate of the epoch's last step."),
    "train_loss": ("number", "", "Mean loss of the training batches."),
    "loss": ("number", "", "Loss on the evaluated images; empty where the epoch was not scored."),
    "top1": ("number", "%", "Top-1 accuracy on the evaluated images; empty where the epoch was not scored."),
    "reduction": ("number", "share", "Share of the multiply-adds that the masks remove after the epoch."),
    "pruned": ("integer", "channels", "Channels that are pruned after the epoch, over all groups."),
    "restored": ("integer", "channels", "Channels that were given back in the epoch, over all groups."),
    "final": ("integer", "", "1 where the masks are final, and so the accuracy is that of the network that comes out."),
}
_HISTORY = {
    "step": ("integer", "", "Number of the pruning step, from 0."),
    "epoch": ("integer", "epochs", "Epochs trained before the step."),
    "group": ("string", "", "Name of the group: channels that can be removed only together."),
    "channels": ("integer", "channels", "Channels of the group in the dense network."),
    "target": ("number", "share", "Share of the suite's measure that the step was to remove."),
    "ratio": ("number", "share", "Share of the group's channels that the step pruned."),
    "sparsity": ("number", "share", "Weight sparsity ratio of the group, where the allocation reads it."),
    "pruned": ("integer", "channels", "Channels of the group that the step pruned."),
    "restored": ("integer", "channels", "Channels of the group that were given back after the step."),
    "churn": ("number", "share", "Share of the pruned channels that the step before had not pruned."),
    "pulse": ("number", "ratio", "Gradient norm of pruned over that of kept filters, in the first iteration after it."),
    "protected": ("integer", "channels", "Channels that would have gone by their scores alone, and were protected."),
    "kept": ("integer", "channels", "Channels protected or restored until now that are still there."),
    "differs": ("number", "share", "Share of the pruned channels that scores alone would not have pruned."),
}
TABLES = {"runs": _RUNS, "epochs": _EPOCHS, "history": _HISTORY}
_ABOUT = {
    "runs": "A line for each run.",
    "epochs": "The training of a run: a line for each epoch. The run is the file's folder.",
    "history": "The pruning steps of a run: a line for each step and group. The run is the file's folder.",
}
_STANDARD = "https://datapackage.org/profiles/2.0"


def datapackage(results: Results, folder: Path) -> JsonObject:
    """What describes the tables in `folder` (results/<suite>): runs.csv, and every run's epochs.csv and history.csv.

    Files of one table that have the same columns are one resource, for rows that are older have fewer.
    """
    runs = [run.run.partition("/")[2] for run in results.committed]
    resources = []
    for table in TABLES:
        files = [f"{table}.csv"] if table == "runs" else [f"{run}/{table}.csv" for run in sorted(runs)]
        by_columns: dict[tuple[str, ...], list[str]] = {}
        for file in files:
            if (folder / file).is_file():
                by_columns.setdefault(_columns(folder / file), []).append(file)
        for number, (columns, paths) in enumerate(by_columns.items(), 1):
            name = table if number == 1 else f"{table}-{number}"
            resources.append(_resource(name, table, columns, paths))
    suite = results.suite
    return {
        "$schema": f"{_STANDARD}/datapackage.json",
        "name": suite.suite.lower(),
        "title": suite.title,
        "resources": resources,
    }


def _resource(name: str, table: str, columns: Iterable[str], paths: list[str]) -> JsonObject:
    fields = []
    for column in columns:
        kind, unit, description = TABLES[table].get(column, ("any", "", "Not a column of psap."))
        fields.append({"name": column, "type": kind} | ({"unit": unit} if unit else {}) | {"description": description})
    return {
        "$schema": f"{_STANDARD}/dataresource.json",
        "name": name,
        "type": "table",
        "description": _ABOUT[table],
        "path": paths if len(paths) > 1 else paths[0],
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": {"$schema": f"{_STANDARD}/tableschema.json", "fields": fields, "missingValues": [""]},
    }


def _columns(file: Path) -> tuple[str, ...]:
    return tuple(text(file).partition("\n")[0].strip().split(","))
