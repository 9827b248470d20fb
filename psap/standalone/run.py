"""`psap prune` from an order to a folder: the dense network, the pruned one, their numbers; goes on where it was."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from psap.data import dataset, sources
from psap.models import saved
from psap.standalone.folder import DENSE, RESULT, STATE, claim, clear, finished, result
from psap.standalone.plan import Plan, estimated, planned
from psap.standalone.report import card, report
from psap.standalone.request import Order
from psap.suites.digest import state_key
from psap.suites.grid import Run
from psap.suites.provenance import arithmetic, now, provenance
from psap.training.checkpoint import Checkpoints, single_writer
from psap.training.outputs import progress_line, write_network, write_tables
from psap.training.trainer import Job
from psap.utils.files import sha256, write_json, write_text


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
        claim(self.out)
        with single_writer(self._state):
            if finished(self.plan.order):  # by a process that this one has waited for
                return
            self._prepare()
            tell(*estimated(self.plan, self._job(self.plan.dense, self._given, None)))
            folder = self.out / DENSE
            dense = self._stage("dense", self.plan.dense, self._given, None, folder)
            write_json(folder / RESULT, dense)
            pruned = self._stage("pruned", self.plan.pruned, folder, folder, self.out)
            write_text(self.out / "README.md", card(self.plan, dense, pruned))
            write_text(self.out / "report.html", report(self.out, self.plan, dense, pruned))
            write_json(self.out / RESULT, pruned)  # last: where it is, everything is
            clear(self.out)  # nothing is left to go on from

    def read_images(self) -> None:
        """Read and check every image that is here; nothing is written. Raises PsapError for those that are bad."""
        sources.check_images(self.plan.data.source, self.plan.data.path, as_photos=self.plan.order.photographs())

    def _prepare(self) -> None:
        """Read and check every image, unless they are as they were; put the network to start from in place."""
        data, file, order = self.plan.data, self._state / "data.safetensors", self.plan.order
        mark = sources.fingerprint(data.source, data.path, file, order.photographs())
        if sources.prepared_with(file) != mark:
            sources.prepare(data.source, data.path, file, self._state / "raw", as_photos=order.photographs())
        root = sources.find_folder(data.source, data.path) if order.photographs() else None
        self._data = dataset.load(file, root)
        if order.weights is not None:
            images = self.plan.images
            saved.save(
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
        origin = sha256(start / saved.DESCRIPTION) if start else ""
        key = state_key(run.hash, origin, self._data.digest, arithmetic(self._device))
        if (done := result(folder)) and done["key"] == key:
            return done
        job, checkpoints = self._job(run, start, dense), Checkpoints(self._state / key, f"{name} {key}")
        job.resume(checkpoints)
        outcome = job.run(
            checkpoints, lambda progress: print(progress_line(name, job, progress), file=sys.stderr, flush=True)
        )
        write_network(job, outcome, folder)
        write_tables(folder, job.progress.rows, job.history)
        return {
            "key": key,
            "order": self.plan.order.model_dump(mode="json", exclude={"out"}),
            "config": run.config,
            "data": {"label": self._data.label, "digest": self._data.digest, "classes": self._data.classes},
            "preprocessing": job.told[saved.PREPROCESSING],
            "result": outcome.result,
            "cost": outcome.cost,
            "provenance": {**provenance(self._device), "finished": now()},
        }
