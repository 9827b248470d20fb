"""What the workflow looks up: the suites, what each run reads and writes, and which suites fit this machine."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from psap import devices
from psap.errors import PsapError
from psap.suite import METHODS_FILE, Grid, Run, data_file, load_grid, suite_files

_T = TypeVar("_T")
_LONGEST = 24.0  # hours: a suite that takes days on this machine runs only when asked for by name
_START_UP = 6.0  # seconds that a run needs beside its training: imports, evaluation, writing


def or_exit(action: Callable[..., _T], *arguments: Any) -> _T:
    """Call `action`; a user's mistake ends the process with one line and exit code 2, before any job has started."""
    try:
        return action(*arguments)
    except PsapError as error:
        print(f"psap: {error}", file=sys.stderr, flush=True)
        # Not sys.exit: the workflow engine would catch it, add a traceback and change the code.
        os._exit(2)


def load_grids(params: Path) -> dict[str, Grid]:
    """All suites of `params`, checked."""
    if not (params / METHODS_FILE).exists():
        raise PsapError(f"{params / METHODS_FILE} is missing; run this in the project's folder")
    return {name: load_grid(params, name) for name in suite_files(params)}


def put_this_python_first() -> None:
    """Let jobs find the Python that runs the workflow, whether or not its environment is activated."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def path_of(wildcards: Any) -> str:
    """The path of the run that a rule's wildcards name."""
    parts = [getattr(wildcards, name, None) for name in ("suite", "model", "init", "method", "target")]
    if parts[2] is None:
        parts = [*parts[:2], "dense"]
    return "/".join([*(str(part) for part in parts), f"seed{wildcards.seed}"])


def parents(grid: Grid, run: Run) -> list[str]:
    """The networks that `run` reads: the dense one (baseline, start) and the one whose architecture it trains anew."""
    paths = [f"checkpoints/{parent.path}/architecture.json" for parent in grid.parents(run)]
    if run.init == "pretrained" and not grid.architecture(run):
        paths.append(f"checkpoints/{grid.dense(run).path}/model.safetensors")
    return paths


def files_of_runs(grid: Grid) -> list[str]:
    """The files of all runs of a suite that its analysis reads."""
    names = {"dense": ("run.json", "epochs.csv"), "retrain": ("run.json", "epochs.csv")}
    return [
        f"results/{path}/{name}"
        for path, run in grid.runs.items()
        for name in names.get(run.kind, ("run.json", "epochs.csv", "history.csv"))
    ]


def targets(grid: Grid) -> list[str]:
    """What makes a suite complete: its report, and the networks of all its runs.

    Rows are in git and networks are not: a fresh clone has rows that it did not make, which must not pass for its own.
    """
    return [f"results/{grid.name}/report.html", *(f"checkpoints/{path}/architecture.json" for path in grid.runs)]


def method_patterns(runs: Iterable[Run]) -> tuple[str, str]:
    """Regular expressions of the names of pruning methods and of retrainings (a pattern without a match for none)."""
    kinds: dict[str, set[str]] = {"prune": set(), "retrain": set(), "dense": set()}
    for run in runs:
        kinds[run.kind].add(re.escape(run.method))
    never = "(?!)"
    return "|".join(sorted(kinds["prune"])) or never, "|".join(sorted(kinds["retrain"])) or never


def prepared_data(grid: Grid) -> str:
    """The file of the suite's prepared data set."""
    return data_file(grid.suite.data).as_posix()


def suite_with_data(grids: Mapping[str, Grid], dataset: str) -> Grid:
    """The first suite that reads `data/<dataset>.safetensors`."""
    return next(grid for grid in grids.values() if data_file(grid.suite.data).stem == dataset)


def fingerprint(grid: Grid) -> str:
    """The fingerprint of the suite's data, checked before any work unless their folder is gone since preparation."""
    from psap.data import sources

    data, file = grid.suite.data, data_file(grid.suite.data)
    try:
        folder = sources.find_folder(data.source, data.path)
        gone = file.exists() and folder is not None and not folder.exists()
        if not gone:
            sources.check_source(data.source, data.path, data.classes)
        mark = sources.fingerprint(data.source, data.path, file)
        sources.check_changed(data.source, data.path, file, mark, bool(data.photos))
        return mark
    except PsapError as error:
        raise PsapError(f"params/{grid.name}.yaml: data: {error}") from None


def announce(grids: Mapping[str, Grid]) -> list[str]:
    """Say on stderr which suites fit this machine, how many runs and about how long, and what is left out and why."""
    fitting = []
    for name, grid in grids.items():
        hours = _hours(grid)
        about = f"{len(grid.runs)} runs, about {_duration(hours)} here"
        if reason := _obstacle(grid, hours):
            print(
                f"left out  {name}: {reason} ({about}); run it all the same: snakemake {name} --cores all",
                file=sys.stderr,
            )
        else:
            print(f"runs      {name}: {about}", file=sys.stderr)
            fitting.append(name)
    sys.stderr.flush()
    return fitting


def _obstacle(grid: Grid, hours: float) -> str:
    if grid.suite.hardware == "gpu" and not devices.visible():
        return "meant for a GPU, and there is none here"
    if not data_file(grid.suite.data).exists() and not _data_found(grid):
        return "its data are not here yet"
    return f"more than {_LONGEST:.0f} hours" if hours > _LONGEST else ""


def _data_found(grid: Grid) -> bool:
    from psap.data.sources import check_source, find_folder

    data = grid.suite.data
    try:
        check_source(data.source, data.path, data.classes)
    except PsapError:
        return False
    return data.source != "cifar10" or find_folder(data.source, data.path) is not None


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{max(1, round(60 * hours))} minutes"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


# Shape and number of the training images, as far as they are known before the data are prepared.
_KNOWN = {"digits": ((1, 8, 8), 1347), "cifar10": ((3, 32, 32), 50_000)}


def _hours(grid: Grid) -> float:
    """Estimate of a suite's time on this machine: multiply-adds to do over the measured speed of a training step."""
    import torch

    from psap.models import build
    from psap.pruning.cost import count_macs

    shape, images = _KNOWN.get(grid.suite.data.source, ((3, 32, 32), 50_000))
    images = grid.suite.data.train_images or images
    example = torch.zeros(1, *shape)
    macs = {name: count_macs(build(name, 10, shape[0]), example) for name in grid.suite.models}
    work = sum(macs[run.model] * run.config["training"]["recipe"]["epochs"] * images for run in grid.runs.values())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    side_by_side = 1 if device == "cuda" else os.cpu_count() or 1
    speed = _macs_per_second(build(grid.suite.models[0], 10, shape[0]).to(device), example.to(device), macs)
    seconds: float = work / speed + _START_UP * len(grid.runs)
    return seconds / side_by_side / 3600


def _macs_per_second(model: Any, example: Any, macs: Mapping[str, int]) -> float:
    """Multiply-adds of the forward pass that training steps get through in a second, on one thread."""
    import torch

    threads, batch = torch.get_num_threads(), example.expand(32, *example.shape[1:])
    torch.set_num_threads(1)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        model(batch).square().mean().backward()
        if example.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    speed: float = next(iter(macs.values())) * len(batch) / min(times)
    return speed
