"""Train one run again, apart from the committed results, and hold what comes out against its row."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from psap.data import prepared, sources
from psap.errors import PsapError
from psap.models import architecture
from psap.suites.compare import compare
from psap.suites.consistency import read_row
from psap.suites.digest import code_digest
from psap.suites.grid import Grid, Run, load_run
from psap.suites.paths import PROJECT, Paths, data_file
from psap.suites.provenance import machine
from psap.suites.run import execute
from psap.training.checkpoint import single_writer
from psap.utils.bounds import MOST_THREADS

AGAIN = Paths(Path("rerun"))


def rerun(params: Path, path: str, find_device: Callable[[bool], torch.device]) -> Iterator[str]:
    """Train the run `path` again below rerun/, and what it starts from where its network is not at hand.

    It computes where its row was made, on a processor or a GPU (`find_device`), with as many threads. Interrupted, it
    goes on; a second one waits. Yields lines: on what both were made, then that they are the same. Raises PsapError
    that says what differs, by how much, and what differs between then and now; also when there is no row, or when
    params/ has changed since.
    """
    grid, run = load_run(params, path)
    file = PROJECT.results / path / "run.json"
    if not file.exists():
        raise PsapError(f"{file} is missing: there is no result to compare with; `psap train {path}` makes it")
    row = read_row(file, path)
    if row.hash != run.hash:
        raise PsapError(f"{file}: made with other settings than {params}/ has now; go back to those of its commit")
    made = row.provenance
    threads = made.machine.get("threads", 1)
    if not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise PsapError(f"{file}: provenance.machine.threads is {threads!r}; restore the file")
    device = find_device(made.device != "cpu")
    torch.set_num_threads(threads)  # which decide in what order sums are taken
    yield f"row: {made.machine.get('processor', 'processor not recorded')}, {made.device}"
    yield f"now: {machine(device)['processor']}, {device.type}"
    os.environ["PSAP_TRACKING"] = "off"  # a check is no run of the suite
    with single_writer(AGAIN.root):
        _prepare(grid)
        for parent in grid.parents(run):
            _provide(grid, parent, device)
        print(execute(grid, run, device, paths=AGAIN), file=sys.stderr, flush=True)
        shutil.rmtree(AGAIN.state / path)  # or else the next time would go on from its end
        yield compare(PROJECT.results / path, AGAIN.results / path)


def _prepare(grid: Grid) -> None:
    """Have the data of the suite, which all of its runs share."""
    data, file = grid.suite.data, data_file(grid.suite.data)
    if not file.exists():
        print(f"{file}: is prepared first", file=sys.stderr, flush=True)
        sources.prepare(data.source, data.path, file, as_photos=data.photos is not None)


def _provide(grid: Grid, parent: Run, device: torch.device) -> None:
    """Have the network of `parent` below rerun/: that of the project's checkpoints/, or one that is trained again."""
    ours, theirs = AGAIN.checkpoints / parent.path, PROJECT.checkpoints / parent.path
    if (theirs / architecture.DESCRIPTION).exists():
        ours.mkdir(parents=True, exist_ok=True)
        for file in architecture.files(theirs):
            shutil.copy(file, ours)
    elif not _trained_before(grid, parent, device):
        print(execute(grid, parent, device, paths=AGAIN), file=sys.stderr, flush=True)
        shutil.rmtree(AGAIN.state / parent.path)


def _trained_before(grid: Grid, run: Run, device: torch.device) -> bool:
    """Whether an earlier rerun left the network of `run`, made of what it would be made of now."""
    file = AGAIN.results / run.path / "run.json"
    if not file.exists() or not (AGAIN.checkpoints / run.path / architecture.DESCRIPTION).exists():
        return False
    row = read_row(file, run.path)
    made, data = row.provenance, prepared.read(data_file(grid.suite.data))[1].digest
    then = (row.hash, made.code, made.data, made.machine)
    return bool(then == (run.hash, code_digest("train"), data, machine(device)))
