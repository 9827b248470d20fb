"""What a suite that chooses settings says: each method's settings ranked, and what each parameter did.

Such a suite scores its runs on validation images (`evaluate: validation`). The settings of one method are the variants
whose names agree up to the last underscore.
"""

from typing import Any

import pandas as pd

from psap.analysis.results import Results
from psap.suites.row import Row
from psap.utils.mappings import flat

KEYS = ["model", "init", "family", "setting"]
MEASURED = ["target", "seed", "top1"]


def chooses(results: Results) -> bool:
    """Whether the suite is one that chooses."""
    return results.suite.data.get("evaluate") == "validation"


def ranking(results: Results) -> pd.DataFrame:
    """A row for each setting, best first within its model, init and method, with what distinguishes it.

    `top1` is the mean over all n runs, whatever target and seed, `std` the sample standard deviation of the seeds'
    means, `trials` how many settings of that method the suite tried.
    """
    rows = _rows(results)
    by_seed = rows.groupby([*KEYS, "seed"], as_index=False, sort=False).agg(
        top1=("top1", "mean"), runs=("top1", "size")
    )
    table = by_seed.groupby(KEYS, as_index=False, sort=False).agg(
        n=("runs", "sum"), top1=("top1", "mean"), std=("top1", "std")
    )
    table["trials"] = table.groupby(KEYS[:-1])["setting"].transform("size")
    texts = _distinguishing(rows)
    table["parameters"] = [texts[key] for key in zip(*(table[name] for name in KEYS), strict=True)]
    orders = {"model": results.suite.models, "init": results.suite.inits}
    places = {column: {name: place for place, name in enumerate(names)} for column, names in orders.items()}
    return table.round(6).sort_values(
        [*KEYS[:-1], "top1"],
        ascending=[True, True, True, False],
        key=lambda column: column.map(places[str(column.name)]) if column.name in places else column,
        kind="stable",
        ignore_index=True,
    )


def effects(results: Results) -> pd.DataFrame:
    """The mean top-1 of a method's runs at each level of each parameter that its settings vary, and their number.

    In a design whose parameters are balanced against each other the differences are main effects.
    """
    rows = _rows(results)
    found = []
    for place, part in rows.groupby(["model", "init", "family"], sort=False):
        for parameter in _varied(part):
            levels = part.groupby(parameter)["top1"].agg(["mean", "size"])
            means = zip(levels.index, levels["mean"], levels["size"], strict=True)
            found += [[*place, parameter, level, mean, n] for level, mean, n in means]
    return pd.DataFrame(found, columns=[*KEYS[:-1], "parameter", "level", "top1", "n"]).round(6)


def _rows(results: Results) -> pd.DataFrame:
    rows = [_row(run) for run in results.runs if run.init]
    return pd.DataFrame(rows, columns=None if rows else [*KEYS, *MEASURED])


def _row(run: Row) -> dict[str, Any]:
    identity = {
        "model": run.model,
        "init": run.init,
        "family": run.method.rpartition("_")[0] or run.method,
        "setting": run.method,
    }
    measured = {"target": run.target, "seed": run.seed, "top1": run.row()["top1_last"]}
    return {**identity, **measured, **flat(run.config["method"]), "lr": f"{run.config['training']['recipe']['lr']:g}"}


def _varied(part: pd.DataFrame) -> list[str]:
    """The parameters in which the settings of one method differ."""
    parameters = [name for name in part if name not in {*KEYS, *MEASURED}]
    return [str(name) for name in parameters if part[name].nunique(dropna=False) > 1]


def _distinguishing(rows: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """For each setting the parameters in which some other of its method differs, as text."""
    texts = {}
    for _, part in rows.groupby(KEYS[:-1], sort=False):
        varied = _varied(part)
        for row in part.to_dict("records"):
            shown = [f"{name} {row[name]}" for name in varied if pd.notna(row[name])]
            texts[tuple(row[name] for name in KEYS)] = ", ".join(shown)
    return texts
