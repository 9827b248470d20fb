"""Read a suite's committed rows: suite.json and, below it, every run's run.json, epochs.csv and history.csv.

Nothing else is read: what is not in the results folder (checkpoints, resume state, the tracking store) cannot
reach a table or a verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict

from psap.errors import PsapError
from psap.reading import content, read_json

IDENTITY = ["run", "suite", "model", "init", "method", "target", "seed"]
RESULT = ["top1_last", "top1_best", "top5_last", "dense_top1", "drop"]
RESULT += ["macs", "macs_dense", "macs_reduction", "params", "params_dense", "params_reduction"]
TIMING = ["seconds", "latency_ms", "latency_dense_ms", "images_per_second", "peak_memory_mb"]
EPOCH_COLUMNS = ["epoch", "lr", "train_loss", "loss", "top1", "reduction", "pruned", "restored"]
HISTORY_COLUMNS = ["step", "epoch", "group", "channels", "target", "ratio", "sparsity"]
HISTORY_COLUMNS += ["pruned", "restored", "churn", "pulse"]


class Record(BaseModel):
    """A part of a committed file. Unknown keys are ignored; NaN is refused, since JSON has none."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


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
    inits: list[str]
    methods: dict[str, list[str]]
    targets: list[float]
    measure: str
    seeds: list[int]
    claims: Roles
    training: dict[str, Any]
    runs: list[str]

    @property
    def all_methods(self) -> list[str]:
        """The claims' methods first, then the baselines, in the suite's order."""
        ours = self.claims.ours
        listed = dict.fromkeys(method for init in self.inits for method in self.methods.get(init, []))
        return [m for m in ours if m in listed] + [m for m in listed if m not in ours]

    @property
    def baselines(self) -> list[str]:
        """Every method of the suite that is not one of the claims' own."""
        return [method for method in self.all_methods if method not in self.claims.ours]


class Result(Record):
    top1_last: float
    top1_best: float | None = None
    top5_last: float | None = None
    dense_top1: float
    drop: float
    macs: int
    macs_dense: int
    macs_reduction: float
    params: int
    params_dense: int
    params_reduction: float


class Cost(Record):
    seconds: float | None = None
    latency_ms: float | None = None
    latency_dense_ms: float | None = None
    images_per_second: float | None = None
    peak_memory_mb: float | None = None


class Provenance(Record):
    code: str
    data: str
    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    hardware: str
    device: str


class Run(Record):
    """One run.json. Accuracies are percentages, reductions shares, latencies milliseconds."""

    run: str
    suite: str
    model: str
    init: str | None
    method: str
    target: float
    seed: int
    hash: str
    config: dict[str, Any]
    result: Result
    cost: Cost
    provenance: Provenance

    def row(self) -> dict[str, Any]:
        """The run's line of runs.csv; a dense run's init is empty."""
        identity = {name: getattr(self, name) for name in IDENTITY} | {"init": self.init or ""}
        return identity | self.result.model_dump() | {"hash": self.hash} | self.cost.model_dump()


@dataclass(frozen=True)
class Results:
    """A suite and what is committed of it; `rows`, `epochs` and `history` are sorted by run path."""

    suite: Suite
    runs: list[Run]
    rows: pd.DataFrame
    epochs: pd.DataFrame
    history: pd.DataFrame
    missing: list[str]  # in the suite, but without a committed row
    foreign: list[str]  # committed, but no longer in the suite: left out of everything


def collect(folder: Path) -> Results:
    """Read the suite in `folder` (results/<suite>). Raises PsapError if empty or broken."""
    if not (folder / "suite.json").is_file():
        raise PsapError(f"{folder}/suite.json does not exist: run the suite before analysing it")
    suite = _read_json(folder / "suite.json", Suite)
    found = {f"{suite.suite}/{file.parent.relative_to(folder).as_posix()}" for file in folder.rglob("run.json")}
    present = sorted(found & set(suite.runs))
    if not present:
        raise PsapError(
            f"{folder}: none of the suite's {len(suite.runs)} runs has a run.json; train at least one first"
        )
    runs = [_read_run(folder, suite, path) for path in present]
    rows = pd.DataFrame([run.row() for run in runs], columns=IDENTITY + RESULT + ["hash"] + TIMING)
    rows = rows.astype(dict.fromkeys([*TIMING, "top1_best", "top5_last"], float))
    return Results(
        suite=suite,
        runs=runs,
        rows=rows,
        epochs=_read_tables(folder, runs, "epochs.csv", EPOCH_COLUMNS),
        history=_read_tables(folder, runs, "history.csv", HISTORY_COLUMNS),
        missing=[path for path in suite.runs if path not in found],
        foreign=sorted(found - set(suite.runs)),
    )


R = TypeVar("R", bound=Record)


def _read_json(path: Path, kind: type[R]) -> R:
    return read_json(path, kind, "write it anew by rerunning what made it")


def read_run(file: Path, path: str) -> Run:
    """Read the row of the run `path`. Raises PsapError when the file is broken or another run's."""
    run = _read_json(file, Run)
    if run.run != path:
        raise PsapError(f"{file}: it says it is run {run.run}, but it lies at {path}; put it back where it belongs")
    return run


def _read_run(folder: Path, suite: Suite, path: str) -> Run:
    file = folder / path.removeprefix(f"{suite.suite}/") / "run.json"
    run = read_run(file, path)
    known: dict[str, Sequence[Any]] = {"model": suite.models, "seed": suite.seeds}
    if run.init is not None:  # a dense run has a place in the first two alone
        known |= {"init": suite.inits, "method": suite.methods.get(run.init, ()), "target": suite.targets}
    for name, values in known.items():
        if (value := getattr(run, name)) not in values:
            raise PsapError(f"{file}: its {name} {value!r} is none of the suite's; rerun {path}")
    return run


def _read_tables(folder: Path, runs: list[Run], name: str, columns: list[str]) -> pd.DataFrame:
    """All runs' tables `name`, one below the other, with their run's identity; `goal` is its target."""
    tables = {}
    for run in runs:
        file = folder / run.run.removeprefix(f"{run.suite}/") / name
        if not file.is_file():
            continue
        try:
            types = {column: str if column == "group" else float for column in columns}
            tables[run.run] = pd.read_csv(BytesIO(content(file)), usecols=columns, dtype=types)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise PsapError(f"{file}: not a whole {name} ({reason}); rerun {run.run}") from None
    identity = ["run", "model", "init", "method", "goal", "seed"]
    if not tables:
        return pd.DataFrame(columns=identity + columns)
    owners = pd.DataFrame([(r.run, r.model, r.init or "", r.method, r.target, r.seed) for r in runs], columns=identity)
    return owners.merge(pd.concat(tables, names=["run"]).reset_index("run"), on="run")
