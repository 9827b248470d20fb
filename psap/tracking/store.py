"""One MLflow tracking store: a run is found or made by its key, and everything written twice is there once.

MLflow is imported only when a `Store` is made: that takes seconds and 150 MB.
"""

import os
import posixpath
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from psap.errors import PsapError
from psap.tracking import database, objects
from psap.tracking.reach import SQLITE, out_of_reach, reach, reason, without_password
from psap.tracking.records import NETWORK, DataSet, End, Head, Row, suite_head
from psap.tracking.view import VIEWS
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
        self._alone: AbstractContextManager[object] = nullcontext()
        if uri.startswith(SQLITE):
            file = Path(uri.removeprefix(SQLITE))
            self._folder = file.parent
            database.create(file, MlflowClient)
            self._alone = FileLock(f"{file}.lock")
        self.client = MlflowClient(uri)
        self.client.search_experiments(max_results=1)  # a server is not asked anything before this

    @classmethod
    def reached(cls, uri: str) -> "Store":
        """The store at `uri`; raises PsapError, with what to do, where it cannot be reached."""
        try:
            return cls(uri)
        except Exception as error:
            raise PsapError(out_of_reach(uri, reason(error))) from error

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
        own = {"psap.key": head.key, "psap.run": head.run}
        tags = {_name(name): _cut(value, _LONGEST_TAG) for name, value in (head.tags | own).items()}
        run = self.client.create_run(experiment, head.start, tags, run_name=head.name or head.run)
        return str(run.info.run_id)

    def describe(self, run_id: str, head: Head) -> None:
        """Write the parameters, tags and data set of `head`, nest the run in its suite's, and mark it as RUNNING."""
        suite = self._suite(head)
        self._log(run_id, params=head.params, tags=head.tags | _nested_in(suite))
        if head.data:
            for run in filter(None, [run_id, suite]):
                self.client.log_inputs(run, [objects.data_input(head.data)])
        self.client.update_run(run_id, status="RUNNING", name=head.name or head.run)

    def suites(self) -> dict[str, str]:
        """The ids of the suites' experiments, by name."""
        found = self.client.search_experiments(order_by=["name ASC"])
        return {each.name: str(each.experiment_id) for each in found if VIEWS.keys() <= each.tags.keys()}

    def write(self, run_id: str, rows: Iterable[Row]) -> None:
        """Add `rows` to the run, with their own steps and times."""
        self._log(run_id, rows=rows)

    def close(self, run_id: str, head: Head, end: End, step: int) -> None:
        """Add what `end` holds, its metrics at `step`, and give the run its final status.

        Its network becomes a model of the run, to which its metrics are linked, unless a file is gone or another.
        """
        linked = {name: Path(path) for name, (path, digest) in end.files.items() if _is(Path(path), digest)}
        network = [path for name, path in linked.items() if name.startswith(f"{NETWORK}/")]
        run = self.client.get_run(run_id)
        model = objects.log_network(self.client, run, network) if network else None
        row: Row = {"step": step, "time": end.time, "metrics": end.metrics}
        # The suite's run once more: two machines may have made it at once, and only one is left.
        self._log(run_id, rows=[row], tags=end.tags | _nested_in(self._suite(head)), model=model, data=head.data)
        objects.clear_artifacts(self.client, run)
        for name, text in end.artifacts.items():
            self.client.log_text(run_id, text, name)
        for name, path in linked.items():
            if path not in network:
                self.client.log_artifact(run_id, str(path), posixpath.dirname(name))
        self.client.set_terminated(run_id, end.status, end.time)

    def _suite(self, head: Head) -> str | None:
        """The id of the run that the one of `head` is nested in; None for that run itself, or if a user deleted it."""
        suite = replace(suite_head(head.experiment), start=head.start)
        if head.key == suite.key:
            return None
        with self._alone:
            return self.open(suite)

    def _log(
        self,
        run_id: str,
        rows: Iterable[Row] = (),
        params: dict[str, str] | None = None,
        tags: dict[str, str] | None = None,
        model: str | None = None,
        data: DataSet | None = None,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        scored_on = objects.data_key(data) if model and data else (None, None)
        self.client.log_batch(
            run_id,
            [
                Metric(_name(name), value, row["time"], row["step"], model, *scored_on)
                for row in rows
                for name, value in row["metrics"].items()
            ],
            [Param(_name(name), _cut(value, _LONGEST_PARAM)) for name, value in (params or {}).items()],
            [RunTag(_name(name), _cut(value, _LONGEST_TAG)) for name, value in (tags or {}).items()],
        )

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            location = None if self._folder is None else (self._folder / "mlruns" / name).as_uri()
            try:
                return str(self.client.create_experiment(name, location, VIEWS))
            except MlflowException:
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:  # and it was not another process that was faster
                    raise
        for tag in VIEWS.keys() - experiment.tags.keys():
            self.client.set_experiment_tag(experiment.experiment_id, tag, VIEWS[tag])
        return str(experiment.experiment_id)

    def _find(self, experiment: str, key: str) -> list[Any]:
        from mlflow.entities import ViewType

        return list(self.client.search_runs([experiment], f"tags.`psap.key` = '{key}'", ViewType.ALL))

    def _delete(self, runs: Iterable[Any]) -> None:
        for run in runs:
            if run.info.lifecycle_stage == "active":
                objects.delete_networks(self.client, run)
                self.client.delete_run(run.info.run_id)


def _nested_in(suite: str | None) -> dict[str, str]:
    return {"mlflow.parentRunId": suite} if suite else {}


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and files.sha256(path) == digest


def _name(text: str) -> str:
    """`text` as a name that MLflow takes: one that it refused would keep the whole run out of the store."""
    return posixpath.normpath(re.sub(r"[^\w./: -]", "_", text)[:_LONGEST_NAME]).lstrip("./") or "_"


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
