"""One MLflow tracking store: a run is found or made by its key, and everything written twice is there once.

The only module that imports MLflow, and only when a `Store` is made: that takes seconds and 150 MB.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from psap.tracking.journal import End, Head, Row
from psap.tracking.reach import SQLITE, reach, without_password
from psap.utils import files

_LONGEST_PARAM = 500  # what servers before MLflow 2.8 take; run.json has every parameter whole
_LONGEST_TAG = 5000
_LONGEST_NAME = 250
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # errors are raised, and told once, by us
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the caller retries
}


def tracking_uri(uri: str | None) -> str:
    """`uri`, or else MLFLOW_TRACKING_URI, or else mlflow.db in the working directory; sqlite paths become absolute.

    A DVC experiment runs in a temporary copy of the project; its runs join those of the project itself.
    """
    home = Path(os.environ.get("DVC_ROOT", "."))
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{home / 'mlflow.db'}"
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}" if uri.startswith(SQLITE) else uri


class Store:
    """The store at `uri`. Any method may raise whatever MLflow raises when the store cannot be reached.

    All writing is idempotent: metrics with equal name, step, time and value are kept once by MLflow.
    """

    def __init__(self, uri: str) -> None:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)  # MLflow reads some of them while it is imported
        reach(uri)
        uri = without_password(uri)
        from mlflow import MlflowClient

        self.uri = uri
        self._folder: Path | None = None
        if uri.startswith(SQLITE):
            database = Path(uri.removeprefix(SQLITE))
            self._folder = database.parent
            _create(database, MlflowClient)
        self._client = MlflowClient(uri)
        self._client.search_experiments(max_results=1)  # a server is not asked anything before this

    def open(self, head: Head) -> str | None:
        """The id of the MLflow run of `head`, made if there is none; None if a user has deleted it there.

        Runs that `head` replaces are deleted, and so is a second run of its key: a request to make a run may have been
        carried out after it was given up as timed out.
        """
        experiment = self._experiment(head.experiment)
        for key in head.replaces:
            self._delete(self._find(experiment, key))
        runs = self._find(experiment, head.key)
        active = sorted(str(run.info.run_id) for run in runs if run.info.lifecycle_stage == "active")
        if active:
            self._delete(run for run in runs if run.info.run_id != active[0])
            return active[0]
        if runs:
            return None
        # With the key from the first moment on, or else a kill right after this would leave a run that nobody finds.
        tags = {_name(name): _cut(value, _LONGEST_TAG) for name, value in (head.tags | {"psap.key": head.key}).items()}
        return str(self._client.create_run(experiment, head.start, tags, run_name=head.run).info.run_id)

    def describe(self, run_id: str, head: Head) -> None:
        """Write the parameters and tags of `head`, and mark the run as RUNNING."""
        self._log(run_id, params=head.params, tags=head.tags)
        self._client.update_run(run_id, status="RUNNING")

    def write(self, run_id: str, rows: Iterable[Row]) -> None:
        """Add `rows` to the run, with their own steps and times."""
        self._log(run_id, rows=rows)

    def close(self, run_id: str, end: End, step: int) -> None:
        """Add what `end` holds, its metrics at `step`, and give the run its final status."""
        row: Row = {"step": step, "time": end.time, "metrics": end.metrics}
        self._log(run_id, rows=[row], tags=end.tags)
        for name, text in end.artifacts.items():
            self._client.log_text(run_id, text, name)
        for name, (path, digest) in end.files.items():
            file = Path(path)
            if file.is_file() and files.sha256(file) == digest:
                self._client.log_artifact(run_id, path, posixpath.dirname(name))
        self._client.set_terminated(run_id, end.status, end.time)

    def _log(
        self,
        run_id: str,
        rows: Iterable[Row] = (),
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run_id,
            [
                Metric(_name(name), value, row["time"], row["step"])
                for row in rows
                for name, value in row["metrics"].items()
            ],
            [Param(_name(name), _cut(value, _LONGEST_PARAM)) for name, value in (params or {}).items()],
            [RunTag(_name(name), _cut(value, _LONGEST_TAG)) for name, value in (tags or {}).items()],
        )

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = None if self._folder is None else (self._folder / "mlruns" / name).as_uri()
            try:
                return str(self._client.create_experiment(name, location))
            except MlflowException:
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:  # and it was not another process that was faster
                    raise
        return str(experiment.experiment_id)

    def _find(self, experiment: str, key: str) -> list[Any]:
        from mlflow.entities import ViewType

        return list(self._client.search_runs([experiment], f"tags.`psap.key` = '{key}'", ViewType.ALL))

    def _delete(self, runs: Iterable[Any]) -> None:
        for run in runs:
            if run.info.lifecycle_stage == "active":
                self._client.delete_run(run.info.run_id)


def _create(database: Path, client: Any) -> None:
    """Make an empty `database`, once and whole.

    MLflow builds its schema in dozens of steps without a lock: two processes at it, or one killed in the middle, leave
    a file that no MLflow can open again. So it is built under a lock and a temporary name.
    """
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if not database.exists():
            for left in database.parent.glob(f".{database.stem}.*{database.suffix}*"):
                left.unlink()  # by a process that was killed, whose number may come again
            with files.atomic(database) as temporary:
                client(f"{SQLITE}{temporary}")


def _name(text: str) -> str:
    """`text` as a name that MLflow takes: one that it refused would keep the whole run out of the store."""
    return posixpath.normpath(re.sub(r"[^\w./: -]", "_", text)[:_LONGEST_NAME]).lstrip("./") or "_"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
