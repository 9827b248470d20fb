"""`psap prune` from a request to a folder: the dense network, the pruned one, their numbers; resumes."""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from psap.data import dataset, sources
from psap.models import architecture, saved
from psap.standalone.folder import DENSE, RESULT, STATE, claim, clear, is_finished, result
from psap.standalone.plan import Plan, estimated, make_plan
from psap.standalone.report import model_card, report
from psap.standalone.request import PruneRequest
from psap.suites.digest import state_key
from psap.suites.grid import Run
from psap.suites.provenance import arithmetic, now, provenance
from psap.training.checkpoint import Checkpoints, single_writer
from psap.training.outputs import progress_line, write_network, write_tables
from psap.training.trainer import Trainer
from psap.utils.files import sha256, write_json, write_text
from psap.utils.mappings import JsonObject


class Pruning:
    """The carrying out of a request in its folder `out`: checked when it is made (nothing is written), begun by `run`.

    Below `out`: the compacted network, result.json, epochs.csv, history.csv, README.md and report.html; dense/, the
    network that it was pruned from, with the same files; state/, what an interrupted run resumes from.
    """

    def __init__(self, request: PruneRequest, device: torch.device, workers: int) -> None:
        self.out = Path(request.out)
        self._device, self._workers = device, workers
        self.plan: Plan = make_plan(request)

    def run(self, tell: Callable[[float, float], None]) -> None:
        """Train what is not trained yet and write all files. `tell` hears what it will take: seconds and MiB."""
        claim(self.out)
        with single_writer(self._state):
            if is_finished(self.plan.request):  # by a process that this one has waited for
                return
            self._prepare()
            tell(*estimated(self.plan, self._trainer(self.plan.dense, self._given, None)))
            folder = self.out / DENSE
            dense = self._stage("dense", self.plan.dense, self._given, None, folder)
            write_json(folder / RESULT, dense)
            pruned = self._stage("pruned", self.plan.pruned, folder, folder, self.out)
            write_text(self.out / "README.md", model_card(self.plan, dense, pruned))
            write_text(self.out / "report.html", report(self.out, self.plan, dense, pruned))
            write_json(self.out / RESULT, pruned)  # last: where it is, everything is
            clear(self.out)  # nothing is left to resume from

    def read_images(self) -> None:
        """Read and check every image that is here; nothing is written. Raises PsapError for those that are bad."""
        sources.check_images(self.plan.data.source, self.plan.data.path, as_photos=self.plan.request.photographs())

    def _prepare(self) -> None:
        """Read and check every image, unless they are as they were; put the network to start from in place."""
        data, file, request = self.plan.data, self._state / "data.safetensors", self.plan.request
        mark = sources.fingerprint(data.source, data.path, file, request.photographs())
        if sources.prepared_with(file) != mark:
            sources.prepare(data.source, data.path, file, self._state / "raw", as_photos=request.photographs())
        root = sources.find_folder(data.source, data.path) if request.photographs() else None
        self._data = dataset.load(file, root)
        if request.weights is not None:
            images = self.plan.images
            saved.save(
                self.plan.start.model,
                self._start,
                name=request.model,
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
        return None if self.plan.request.weights is None else self._start

    def _trainer(self, run: Run, start: Path | None, dense: Path | None) -> Trainer:
        return Trainer(run.config, self._data, self._device, start, dense, self._workers)

    def _stage(self, name: str, run: Run, start: Path | None, dense: Path | None, folder: Path) -> JsonObject:
        """Train `run` (or resume it) and write its network and tables to `folder`; gives what its result.json tells."""
        origin = sha256(start / architecture.DESCRIPTION) if start else ""
        key = state_key(run.hash, origin, self._data.digest, arithmetic(self._device, run.config.training.precision))
        if (done := result(folder)) and done["key"] == key:
            return done
        trainer, checkpoints = self._trainer(run, start, dense), Checkpoints(self._state / key, f"{name} {key}")
        trainer.resume(checkpoints)
        outcome = trainer.run(
            checkpoints, lambda progress: print(progress_line(name, trainer, progress), file=sys.stderr, flush=True)
        )
        write_network(trainer, outcome, folder)
        write_tables(folder, trainer.progress.rows, trainer.history)
        return {
            "key": key,
            "request": self.plan.request.model_dump(mode="json", exclude={"out"}),
            "config": run.config.described(),
            "data": {"label": self._data.label, "digest": self._data.digest, "classes": self._data.classes},
            "preprocessing": trainer.data.told[architecture.PREPROCESSING],
            "result": outcome.result,
            "cost": outcome.cost,
            "provenance": {**provenance(self._device, run.config.training.precision), "finished": now()},
        }
