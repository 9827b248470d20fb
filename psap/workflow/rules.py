"""What the workflow looks up: the suites, what each run reads and writes."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from psap.errors import PsapError, one_line
from psap.suites.grid import Grid, Run
from psap.suites.paths import data_file

_T = TypeVar("_T")


def exit_on_error(action: Callable[..., _T], *arguments: Any) -> _T:
    """Call `action`; a user's mistake ends the process with one line and exit code 2, before any job has started."""
    try:
        return action(*arguments)
    except PsapError as error:
        print(f"psap: {one_line(error)}", file=sys.stderr, flush=True)
        # Not sys.exit: the workflow engine would catch it, add a traceback and change the code.
        os._exit(2)


def put_this_python_first() -> None:
    """Let jobs find the Python that runs the workflow, whether or not its environment is activated."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def run_path(wildcards: Any) -> str:
    """The path of the run that a rule's wildcards name."""
    parts = [getattr(wildcards, name, None) for name in ("suite", "model", "init", "method", "target")]
    if parts[2] is None:
        parts = [*parts[:2], "dense"]
    return "/".join([*(str(part) for part in parts), f"seed{wildcards.seed}"])


def run_inputs(grid: Grid, run: Run) -> list[str]:
    """What `run` reads: its data, the dense network (baseline, start), the one whose architecture it trains again."""
    paths = [prepared_data(grid), *(f"checkpoints/{parent.path}/architecture.json" for parent in grid.parents(run))]
    if run.init == "pretrained" and not grid.architecture_run(run):
        paths.append(f"checkpoints/{grid.dense_run(run).path}/model.safetensors")
    return paths


def files_of_runs(grid: Grid) -> list[str]:
    """The files of all runs of a suite that its analysis reads."""
    names = {"dense": ("run.json", "epochs.csv"), "retrain": ("run.json", "epochs.csv")}
    return [
        f"results/{path}/{name}"
        for path, run in grid.runs.items()
        for name in names.get(run.kind, ("run.json", "epochs.csv", "history.csv"))
    ]


def suite_targets(grid: Grid) -> list[str]:
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


@cache
def fingerprint(grid: Grid, planning: bool = False) -> str:
    """The fingerprint of the suite's data, checked before any work unless their folder is gone since preparation.

    While `planning` only, data that could not be prepared are told on stderr: what would be done with them can be
    planned on a machine that does not have them.
    """
    from psap.data import sources

    data, file = grid.suite.data, data_file(grid.suite.data)
    try:
        folder = sources.find_folder(data.source, data.path)
        gone = file.exists() and folder is not None and not folder.exists()
        if not gone:
            sources.check_source(data.source, data.path, data.classes)
        mark = sources.fingerprint(data.source, data.path, file, data.photos is not None)
        if not (planning or data.photos):  # photographs are too many to be read while the user waits for a plan
            sources.check_changed(data.source, data.path, file, mark)
        return mark
    except PsapError as error:
        problem = f"params/{grid.name}.yaml: data: {error}"
        if not planning:
            raise PsapError(problem) from None
        print(f"psap: {problem} (this dry run continues; a real run would not start)", file=sys.stderr, flush=True)
        return ""
