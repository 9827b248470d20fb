"""Read a suite's committed rows: suite.json and, below it, every run's run.json, epochs.csv and history.csv, and where
they are there, its correct.bin and the sensitivity.json of dense runs.

Nothing else is read: what is not in the results folder (checkpoints, resume state, the tracking store) cannot
reach a table or a verdict.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from psap.analysis.columns import read_columns
from psap.analysis.rules import Rules
from psap.errors import PsapError
from psap.suites.beside_rows import CORRECT, SENSITIVITY, read_correct, read_sensitivity
from psap.suites.consistency import read_record, read_row
from psap.suites.row import IDENTITY, RESULT, Record, Row

TIMING = ["seconds", "latency_ms", "latency_dense_ms", "images_per_second", "peak_memory_mb"]
EPOCH_COLUMNS = ["epoch", "lr", "train_loss", "loss", "top1", "reduction", "pruned", "restored"]
HISTORY_COLUMNS = ["step", "epoch", "group", "channels", "target", "ratio", "sparsity"]
HISTORY_COLUMNS += ["pruned", "restored", "churn", "pulse"]
LATER_COLUMNS = ["protected", "kept", "differs"]  # of history.csv, which older rows do not have


class Roles(Record):
    """The five methods that the claims compare; a suite need not run them all."""

    method: str
    protection: str
    hard: str = "psap_hard"  # suites were run before there was one
    adaptivity: str
    plain: str

    @property
    def ours(self) -> list[str]:
        """The method, then its ablations."""
        return [self.method, self.protection, self.hard, self.adaptivity, self.plain]


class Suite(Record):
    """The snapshot of a suite (suite.json)."""

    suite: str
    title: str
    note: str
    data: dict[str, Any]
    models: list[str]
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict)
    inits: list[str]
    methods: dict[str, list[str]]
    targets: list[float]
    measure: str
    seeds: list[int]
    claims: Roles
    training: dict[str, Any]
    runs: list[str]

    @field_validator("training")
    @classmethod
    def _recipes(cls, training: dict[str, Any]) -> dict[str, Any]:
        for name in ("dense", "pretrained", "scratch"):
            if not isinstance(training.get(name), dict | None):
                raise ValueError(f"{name} is no recipe")
        return training

    @property
    def all_methods(self) -> list[str]:
        """The claims' methods first, then the baselines, in the suite's order."""
        ours = self.claims.ours
        listed = dict.fromkeys(method for init in self.inits for method in self.methods.get(init, []))
        return [m for m in ours if m in listed] + [m for m in listed if m not in ours]

    @property
    def baselines(self) -> list[str]:
        """Every method of the suite that is not one of the claims' own, or a variant of one."""
        own = {*self.claims.ours, *self.own_variants}
        return [method for method in self.all_methods if method not in own]

    @property
    def own_variants(self) -> list[str]:
        """The suite's variants of the claims' methods: neither these nor other methods, so they have no part."""
        ours = self.claims.ours
        return [m for m in self.all_methods if m not in ours and self.variants.get(m, {}).get("base") in ours]


@dataclass(frozen=True)
class Results:
    """A suite and what is committed of it, sorted by run path.

    Runs that diverged are in no mean, figure or test: they are in `diverged`, and in nothing else here.
    """

    suite: Suite
    runs: list[Row]
    diverged: list[Row]
    rows: pd.DataFrame
    epochs: pd.DataFrame
    history: pd.DataFrame
    missing: list[str]  # in the suite, but without a committed row
    foreign: list[str]  # committed, but no longer in the suite: left out of everything
    rules: Rules = field(default_factory=Rules)
    correct: dict[str, NDArray[np.uint8]] = field(default_factory=dict)  # by run, of those that have it
    sensitivity: dict[str, dict[str, float]] = field(default_factory=dict)  # model -> group -> loss change
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)  # those that the suite runs

    @property
    def committed(self) -> list[Row]:
        """All runs, those that diverged at the end."""
        return [*self.runs, *self.diverged]

    @property
    def cells(self) -> pd.DataFrame:
        """Where in the grid every committed run is, and whether it `diverged`."""
        found = [(r.model, r.init or "", r.method, r.target, r.seed, r.result is None) for r in self.committed]
        return pd.DataFrame(found, columns=[*IDENTITY[2:], "diverged"])

    @property
    def divergence(self) -> str:
        """How many runs diverged, in words; "" if none did."""
        return f"{len(self.diverged)} of {len(self.committed)} runs diverged" if self.diverged else ""


def collect(folder: Path, rules: Rules | None = None, readings: Mapping[str, dict[str, Any]] | None = None) -> Results:
    """Read the suite in `folder` (results/<suite>). Raises PsapError if empty or broken.

    `rules` judge it, psap's own without any; `readings` of the method are told apart from other variants.
    """
    if not (folder / "suite.json").is_file():
        raise PsapError(f"{folder}/suite.json does not exist: run the suite before analysing it")
    suite = read_record(folder / "suite.json", Suite)
    found = {f"{suite.suite}/{file.parent.relative_to(folder).as_posix()}" for file in folder.rglob("run.json")}
    present = sorted(found & set(suite.runs))
    if not present:
        raise PsapError(
            f"{folder}: none of the suite's {len(suite.runs)} runs has a run.json; train at least one first"
        )
    committed = [_read_run(folder, suite, path) for path in present]
    runs = [run for run in committed if run.result]
    rows = pd.DataFrame([run.row() for run in runs], columns=IDENTITY + RESULT + ["hash"] + TIMING)
    rows = rows.astype(dict.fromkeys([*TIMING, "top1_best", "top5_last"], float))
    return Results(
        suite=suite,
        runs=runs,
        diverged=[run for run in committed if not run.result],
        rows=rows,
        epochs=_read_tables(folder, runs, "epochs.csv", EPOCH_COLUMNS),
        history=_read_tables(folder, runs, "history.csv", HISTORY_COLUMNS, LATER_COLUMNS),
        missing=[path for path in suite.runs if path not in found],
        foreign=sorted(found - set(suite.runs)),
        rules=rules or Rules(),
        correct={run.run: right for run in runs if (right := _correct(folder, run)) is not None},
        sensitivity=_sensitivity(folder, runs),
        readings={name: dict(values) for name, values in (readings or {}).items() if name in suite.all_methods},
    )


def listing(results: Results) -> pd.DataFrame:
    """runs.csv: a line for each committed run, sorted by path."""
    lines = sorted((run.row() for run in results.committed), key=lambda line: str(line["run"]))
    # Of objects: counts beside a run that has none would become broken numbers.
    return pd.DataFrame(lines, columns=[*IDENTITY, *RESULT, "hash", "diverged", *TIMING], dtype=object)


def _read_run(folder: Path, suite: Suite, path: str) -> Row:
    file = folder / path.removeprefix(f"{suite.suite}/") / "run.json"
    run = read_row(file, path)
    known: dict[str, Sequence[Any]] = {"model": suite.models, "seed": suite.seeds}
    if run.init is not None:  # a dense run has a place in the first two alone
        known |= {"init": suite.inits, "method": suite.methods.get(run.init, ()), "target": suite.targets}
    for name, values in known.items():
        if (value := getattr(run, name)) not in values:
            raise PsapError(f"{file}: its {name} {value!r} is none of the suite's; rerun {path}")
    return run


def _correct(folder: Path, run: Row) -> NDArray[np.uint8] | None:
    file = folder / run.run.removeprefix(f"{run.suite}/") / CORRECT
    return read_correct(file, run.result.top1_last) if run.result else None


def _sensitivity(folder: Path, runs: list[Row]) -> dict[str, dict[str, float]]:
    """By model and group, the mean over the dense runs that recorded it."""
    found: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        file = folder / run.run.removeprefix(f"{run.suite}/") / SENSITIVITY
        if measured := read_sensitivity(file):
            found.setdefault(run.model, []).append(measured)
    means = {model: pd.DataFrame(measured).mean() for model, measured in found.items()}
    return {model: {str(group): float(change) for group, change in mean.items()} for model, mean in means.items()}


def _read_tables(
    folder: Path, runs: list[Row], name: str, columns: list[str], later: Sequence[str] = ()
) -> pd.DataFrame:
    """All runs' tables `name`, one below the other, with their run's identity; `goal` is its target.

    A table may lack the columns in `later`: they are empty then.
    """
    types = {column: str if column == "group" else float for column in (*columns, *later)}
    tables = {}
    for run in runs:
        file = folder / run.run.removeprefix(f"{run.suite}/") / name
        if not file.is_file():
            continue
        try:
            tables[run.run] = read_columns(file, types, later).reindex(columns=list(types))
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise PsapError(f"{file}: not a whole {name} ({reason}); rerun {run.run}") from None
    identity = ["run", "model", "init", "method", "goal", "seed"]
    if not tables:
        return pd.DataFrame(columns=[*identity, *columns, *later])
    owners = pd.DataFrame([(r.run, r.model, r.init or "", r.method, r.target, r.seed) for r in runs], columns=identity)
    return owners.merge(pd.concat(tables, names=["run"]).reset_index("run"), on="run")
