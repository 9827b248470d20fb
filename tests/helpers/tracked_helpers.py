"""Runs to track, real training processes, and what a sqlite store holds, read without MLflow."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from psap.models.architecture import DESCRIPTION, IMAGE_SIZE, PREPROCESSING, WEIGHTS, Architecture
from psap.tracking.records import DataSet, End, Head, Row, line, new_head
from psap.utils.files import sha256, write_json

DATA: DataSet = {"name": "digits", "digest": "0123456789" * 6, "source": "data/digits.safetensors", "profile": {}}
READY = 2  # the status of a model
# Of the models that a run made, twice: they say so, and so does the run.
MADE = (
    "from logged_models where source_run_id = ? and lifecycle_stage = 'active' and model_id in "
    "(select destination_id from inputs where source_id = ? and destination_type = 'MODEL_OUTPUT')"
)
TRAINER = Path(__file__).with_name("trainer_helpers.py")


@dataclass(frozen=True)
class Stored:
    """One MLflow run as the database has it; `points` are (metric, step, time, value), or nan as value."""

    run_id: str
    name: str
    status: str
    deleted: bool
    tags: dict[str, str]
    params: dict[str, str]
    points: list[tuple[str, int, int, float | str]]
    data: list[tuple[str, str]]  # name and digest of its data sets
    models: list[tuple[str, int]]  # name and status of the models that it made and that are not deleted
    linked: list[tuple[str, float]]  # metrics of those models

    def steps(self, metric: str) -> list[int]:
        return [step for name, step, _, _ in self.points if name == metric]


def stored(database: Path) -> list[Stored]:
    """All runs in `database` but the suites' own, the deleted ones too, in the order of their creation."""
    return [run for run in all_stored(database) if not run.tags["psap.key"].startswith("suite/")]


def suite_runs(database: Path) -> list[Stored]:
    """The runs that others are nested in."""
    return [run for run in all_stored(database) if run.tags["psap.key"].startswith("suite/")]


def all_stored(database: Path) -> list[Stored]:
    """All runs in `database`."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        ask = connection.execute
        return [
            Stored(
                run_id,
                name,
                status,
                stage == "deleted",
                dict(ask("select key, value from tags where run_uuid = ?", [run_id])),
                dict(ask("select key, value from params where run_uuid = ?", [run_id])),
                [
                    (key, step, when, "nan" if nan else value)
                    for key, step, when, value, nan in ask(
                        "select key, step, timestamp, value, is_nan from metrics where run_uuid = ? order by key, step",
                        [run_id],
                    )
                ],
                ask(
                    "select name, digest from inputs join datasets on dataset_uuid = source_id "
                    "where destination_id = ? and destination_type = 'RUN'",
                    [run_id],
                ).fetchall(),
                ask(f"select name, status {MADE}", [run_id, run_id]).fetchall(),
                ask(
                    "select metric_name, metric_value from logged_model_metrics "
                    f"where model_id in (select model_id {MADE}) order by metric_name",
                    [run_id, run_id],
                ).fetchall(),
            )
            for run_id, name, status, stage in ask(
                "select run_uuid, name, status, lifecycle_stage from runs order by rowid"
            ).fetchall()
        ]


def a_head(**changes: Any) -> Head:
    told = {"run": "demo/r", "experiment": "demo", "tags": {"who": "me"}, "params": {"seed": 0}, "data": DATA}
    return new_head(**{**told, **changes})


def a_network(folder: Path) -> list[Path]:
    """The files of a network without weights, for images of 4 x 6 pixels."""
    weights = folder / WEIGHTS
    weights.write_bytes(b"weights")
    extra = {IMAGE_SIZE: [4, 6], PREPROCESSING: {"size": [4, 6], "mean": [0.0], "std": [1.0]}}
    about = {"name": "resnet8", "classes": 10, "in_channels": 1, "sha256": sha256(weights), "extra": extra}
    kept = Architecture.model_validate(about | {"widths": {"shapes": {}, "groups": {}}})
    write_json(folder / DESCRIPTION, kept.model_dump())
    return [weights, folder / DESCRIPTION]


def a_row(step: int, value: float = 0.5) -> Row:
    return {"step": step, "time": 1_700_000_000_000 + 1000 * step, "metrics": {"loss": value, "top1": 2.0 * step}}


FINISHED = End("FINISHED", 1_700_000_900_000, {"last": 97.5}, {"result": "done"}, {"run.json": "{}\n"})
FAILED = End("FAILED", 1_700_000_900_000, tags={"psap.failure": "boom"})


def add(path: Path, *records: Row | End) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(line(record) for record in records)


def address(database: Path) -> str:
    return f"sqlite:///{database}"


def only(database: Path) -> Stored:
    """The only run that is not deleted; it is nested in its suite's, and both have the data set once."""
    (run,) = [run for run in stored(database) if not run.deleted]
    (suite,) = suite_runs(database)
    assert run.tags["mlflow.parentRunId"] == suite.run_id and suite.name == "demo" and not suite.deleted
    assert run.data == suite.data == [("digits", DATA["digest"][:8])]
    return run


def expected(steps: int) -> list[tuple[str, int, int, float]]:
    rows = [a_row(step) for step in range(steps)]
    return [(name, row["step"], row["time"], row["metrics"][name]) for name in ("loss", "top1") for row in rows]


def trainer(state: Path, uri: str, *, epochs: int = 8, seconds: float = 0.0, patience: float = 60.0) -> Popen[str]:
    """A training run in a process of its own."""
    command = [sys.executable, TRAINER, state, uri, epochs, seconds, patience]
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    environment |= {"PYTHONPATH": str(TRAINER.parents[2]), "OMP_NUM_THREADS": "1"}
    return Popen([str(part) for part in command], env=environment, stdout=PIPE, stderr=PIPE, text=True)


def assert_whole(run: Stored, state: Path, epochs: int = 8) -> None:
    """`run` is what `trainer` did in `state`: finished, each step once, with the checkpoint's own times and values."""
    rows = json.loads((state / "checkpoint.json").read_text())
    assert len(rows) == epochs
    expected = {(name, row["step"], row["time"], value) for row in rows for name, value in row["metrics"].items()}
    assert (run.data, run.models) == ([("digits", DATA["digest"][:8])], [(f"demo-{state.name}", READY)])
    assert run.linked == [("top1_last", 97.5)]
    points = [point for point in run.points if point[0] != "top1_last"]
    assert set(points) ^ expected == set() and len(points) == len(expected)
    assert [(step, value) for name, step, _, value in run.points if name == "top1_last"] == [(epochs - 1, 97.5)]
    assert (run.name, run.status, run.deleted) == (f"demo/{state.name}", "FINISHED", False)
    assert run.params == {"seed": "0", "note": "x" * 499 + "…"}
    assert run.tags.items() >= {"psap.suites.grid": "demo", "mlflow.runName": run.name}.items()


def wait_until(happens: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
