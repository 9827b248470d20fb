"""What the tracking store is to hold of a run, as records: its head, a row for each step, its end."""

import getpass
import json
import posixpath
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypedDict

from psap.utils import files
from psap.utils.mappings import JsonObject

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
FAILURE = "psap.failure"  # the tag that says why a run failed
NOTE = "mlflow.note.content"  # the tag that MLflow shows as the run's description
NETWORK = "network"  # the folder of an End's files that are the run's network
DIVERGED = "diverged: "  # how that begins where the training diverged
Scalar = str | int | float | bool | None


class Row(TypedDict):
    """The metrics of one step. `time` (ms since 1970) is a part of the row's identity: a checkpoint keeps it."""

    step: int
    time: int
    metrics: dict[str, float]


class DataSet(TypedDict):
    """The data set of a run: `source` is its file, `profile` what else is known of it (counts, licence)."""

    name: str
    digest: str
    source: str
    profile: JsonObject


@dataclass(frozen=True)
class Head:
    """Which MLflow run this is. `key` names it in every store; runs named in `replaces` are to be removed there.

    `run` is its path, `name` what people read of it (the path, where there is none).
    """

    run: str
    experiment: str
    tags: dict[str, str]
    params: dict[str, str]
    name: str = ""
    data: DataSet | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    start: int = field(default_factory=lambda: now())
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class End:
    """How the run ended, and what belongs to it.

    `artifacts` holds the text of small files by name, so that a replay needs nothing else. `files` names large ones:
    artifact name -> (path from the project's folder, SHA-256); one that is gone or another by then is left out.
    """

    status: Status
    time: int
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def for_good(self) -> bool:
        """Whether nothing goes on from here: the run is complete, or diverged, as it would again."""
        return self.status == "FINISHED" or self.tags.get(FAILURE, "").startswith(DIVERGED)


def now() -> int:
    """Milliseconds since 1970, the unit of MLflow's times."""
    return time.time_ns() // 1_000_000


def new_head(
    run: str,
    experiment: str,
    tags: Mapping[str, object],
    params: Mapping[str, Scalar],
    name: str = "",
    data: DataSet | None = None,
) -> Head:
    """The head of a new MLflow run that starts now: `experiment` is its suite.

    `params` longer than the store takes are cut there.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    tags = {"mlflow.user": user, "mlflow.source.name": "psap", "mlflow.source.type": "LOCAL", **tags}
    return Head(
        run,
        experiment,
        {name: str(value) for name, value in tags.items()},
        {name: str(value) for name, value in params.items()},
        name,
        data,
    )


def suite_head(experiment: str) -> Head:
    """The head of the run that all runs of `experiment` are nested under; it is one in every store, by its key."""
    told = {NOTE: f"All runs of the suite {experiment}, and its report.", "psap.suite": experiment}
    return replace(new_head(experiment, experiment, told, {}), key=f"suite/{experiment}")


def line(record: Row | Head | End) -> str:
    """One line of a journal. NaN and infinities are kept, in Python's JSON."""
    return json.dumps(record if isinstance(record, dict) else asdict(record)) + "\n"


def normal(row: Row) -> Row:
    """`row` in plain Python numbers, whatever array library they came from."""
    metrics = {name: float(value) for name, value in row["metrics"].items()}
    return {"step": int(row["step"]), "time": int(row["time"]), "metrics": metrics}


def linked(folder: str, paths: Sequence[Path]) -> dict[str, tuple[str, str]]:
    """`paths` as the `files` of an End, in the artifact folder `folder`."""
    return {posixpath.join(folder, path.name): (path.as_posix(), files.sha256(path)) for path in paths}
