"""`psap prune` from an order to a folder: the dense network, the pruned one, their numbers; goes on where it was."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from psap.data import dataset, sources
from psap.digest import state_key
from psap.errors import PsapError
from psap.files import sha256, write_json, write_text
from psap.models import architecture
from psap.provenance import now, provenance
from psap.reading import read_json
from psap.single.order import Order
from psap.single.plan import Plan, estimated, planned
from psap.single.report import card, report
from psap.suite import Run
from psap.training.checkpoint import Checkpoints, single_writer
from psap.training.job import Job
from psap.training.outputs import progress_line, write_network, write_tables

RESULT, STATE = "result.json", "state"


def finished(order: Order) -> bool:
    """Whether the order was carried out before. Raises PsapError where its folder holds something else."""
    out = Path(order.out)
    asked, file = order.model_dump(mode="json", exclude={"out"}), out / RESULT
    if file.exists():
        done = _read(file).order
        if differing := next((key for key in asked if done.get(key) != asked[key]), None):
            raise PsapError(
                f"{out}: holds the network of another order (its {differing} differs); name another folder, or delete "
                "this one"
            )
        return True
    if out.exists() and not (out / STATE).is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise PsapError(f"{out}: is there already, and not made by psap prune; name a folder that is new or empty")
    return False


class _Result(BaseModel, extra="allow"):
    """What must be in a result.json to go on from it; the rest is for people."""

    key: str
    order: dict[str, Any]


def _read(file: Path) -> _Result:
    return read_json(file, _Result, "delete it, and the same command makes it anew")


class Pruning:
    """The carrying out of an order in its folder `out`: checked when it is made (nothing is written), begun by `run`.

    Below `out`: the compacted network, result.json, epochs.csv, history.csv, README.md and report.html; dense/, the
    network that it was pruned from, with the same files; state/, what an interrupted run goes on from.
    """

    def __init__(self, order: Order, device: torch.device, workers: int) -> None:
        self.out = Path(order.out)
        self._device, self._workers = device, workers
        self.plan: Plan = planned(order)

    def run(self, tell: Callable[[float, float], None]) -> None:
        """Train what is not trained yet and write all files. `tell` hears what it will take: seconds and MiB."""
        with single_writer(self._state):
            if finished(self.plan.order):  # by a process that this one has waited for
                return
            self._prepare()
            tell(*estimated(self.plan, self._job(self.plan.dense, self._given, None)))
            folder = self.out / "dense"
            dense = self._stage("dense", self.plan.dense, self._given, None, folder)
            write_json(folder / RESULT, dense)
            pruned = self._stage("pruned", self.plan.pruned, folder, folder, self.out)
            write_text(self.out / "README.md", card(self.plan, dense, pruned))
            write_text(self.out / "report.html", report(self.out, self.plan, dense, pruned))
            write_json(self.out / RESULT, pruned)  # last: where it is, everything is
            shutil.rmtree(self._state)  # nothing is left to go on from

    def _prepare(self) -> None:
        """Read and check every image, unless they are as they were; put the network to start from in place."""
        data, file, order = self.plan.data, self._state / "data.safetensors", self.plan.order
        mark = sources.fingerprint(data.source, data.path, file)
        if sources.prepared_with(file) != mark:
            sources.prepare(data.source, data.path, file, self._state, as_photos=order.photographs())
        root = sources.find_folder(data.source, data.path) if order.photographs() else None
        self._data = dataset.load(file, root)
        if order.weights is not None:
            images = self.plan.images
            architecture.save(
                self.plan.start.model,
                self._start,
                name=order.model,
                classes=images.classes,
                in_channels=images.shape[0],
            )

    @property
    def _state(self) -> Path:
        return self.out / STATE

    @property
    def _start(self) -> Path:
        return self._state / "start"

    @property
    def _given(self) -> Path | None:
        return None if self.plan.order.weights is None else self._start

    def _job(self, run: Run, start: Path | None, dense: Path | None) -> Job:
        return Job(run.config, self._data, self._device, start, dense, self._workers)

    def _stage(self, name: str, run: Run, start: Path | None, dense: Path | None, folder: Path) -> dict[str, Any]:
        """Train `run` (go on) and write its network and tables to `folder`; gives what its result.json tells."""
        origin = sha256(start / architecture.DESCRIPTION) if start else ""
        key = state_key(run.hash, origin, self._data.digest, self._device.type)
        done = folder / RESULT
        if done.exists() and (found := _read(done)).key == key:
            return found.model_dump()
        job, checkpoints = self._job(run, start, dense), Checkpoints(self._state / key)
        job.resume(checkpoints)
        outcome = job.run(
            checkpoints, lambda progress: print(progress_line(name, job, progress), file=sys.stderr, flush=True)
        )
        write_network(job, outcome, folder)
        write_tables(job, folder)
        return {
            "key": key,
            "order": self.plan.order.model_dump(mode="json", exclude={"out"}),
            "config": run.config,
            "data": {"label": self._data.label, "digest": self._data.digest, "classes": self._data.classes},
            "result": outcome.result,
            "cost": outcome.cost,
            "provenance": {**provenance(self._device), "finished": now()},
        }
