"""What suites cost, told before they run: as a table, and which of them fit this machine."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from psap.errors import PsapError
from psap.planning.estimate import Estimate, Hours
from psap.planning.gpus import GPUS, LAUNCH, REFERENCE, UTILISATION
from psap.suites.grid import Grid
from psap.suites.paths import CHECKPOINTS, data_file
from psap.utils import gpu_locks
from psap.utils.text import table

_LONGEST = 24.0  # hours: a suite that takes days on this machine runs only when asked for by name
_ASSUMED = (
    "GPU-hours: counted multiply-adds of the dense networks, three forward passes a training step, at "
    f"{UTILISATION['single']:.0%} (float32, as TF32) or {UTILISATION['half']:.0%} (half precision) of the GPU's peak, "
    f"which is what ResNet-50 reaches on an A100, but never faster than a kernel every {1e6 * LAUNCH:g} microseconds. "
    "Take these hours as the least."
)
_DISK = (
    "Disk: prepared data, each network twice (checkpoints/ and MLflow); while they run, also two checkpoints a run. "
    "An upper bound, as if no channel were removed."
)


def announce_fitting(grids: Mapping[str, Grid]) -> list[str]:
    """Say on stderr which suites fit this machine, how many runs and about how long, and what is left out and why."""
    fitting, total = [], Hours(0.0, 0.0, 0.0)
    for name, grid in grids.items():
        hours = Estimate(grid).hours_here()
        about = f"{len(grid.runs)} runs, {_about(hours)}"
        if reason := _obstacle(grid, hours.middle):
            print(
                f"left out  {name}: {reason} ({about}); run it anyway: snakemake {name} --cores all",
                file=sys.stderr,
            )
        else:
            print(f"runs      {name}: {about}", file=sys.stderr)
            fitting.append(name)
            total = Hours(*(so_far + more for so_far, more in zip(total, hours, strict=True)))
    if fitting:
        runs = sum(len(grids[name].runs) for name in fitting)
        print(f"in all    {runs} runs, {_about(total)}; longer where the machine does other work", file=sys.stderr)
    sys.stderr.flush()
    return fitting


def _about(hours: Hours) -> str:
    """How long, and between which bounds where these read otherwise."""
    least, middle, most = map(duration, hours)
    return f"about {middle} here" + (f", {least} to {most}" if least != most else "")


def announce_all(grids: Mapping[str, Grid]) -> None:
    """Say on stderr what all `grids` cost, and of which of them the data are not here yet."""
    print(costs(grids, [REFERENCE]), file=sys.stderr)
    for name, grid in grids.items():
        if not _data_here(grid):
            print(f"{name}: its data are not here yet", file=sys.stderr)
    sys.stderr.flush()


def costs(grids: Mapping[str, Grid], types: Sequence[str]) -> str:
    """A Markdown table: runs, hours of a GPU of each of `types` and disk, by suite and in all; then what is assumed.

    Raises PsapError where a suite's network does not take its images.
    """
    estimates = {name: Estimate(grid) for name, grid in grids.items()}
    # Suites that share a data set share its file.
    shared = {data_file(grid.suite.data): estimates[name].data_bytes() for name, grid in grids.items()}
    rows = [_row(name, types, [estimate], estimate.data_bytes()) for name, estimate in estimates.items()]
    rows.append(_row("in all", types, list(estimates.values()), sum(shared.values())))
    header = ["suite", "runs", *(f"{name}-hours" for name in types), "disk", "while they run"]
    peaks = [f"{name}: {GPUS[name].single:g} and {GPUS[name].half:g} Tflop/s ({GPUS[name].source})." for name in types]
    return "\n".join([table(header, rows), "", _ASSUMED, *peaks, _DISK])


def sight(grids: Mapping[str, Grid], params: Path) -> str:
    """What suites can see with their seeds, by the rules in `params`: a line a number of seeds, then what it takes.

    Suites that choose settings judge nothing, and are left out.
    """
    from psap.analysis.power import seeds_for_difference, seeds_for_equivalence, visible
    from psap.analysis.rules import RULES_FILE, load

    rules = load(params / RULES_FILE)
    by_seeds: dict[int, list[str]] = {}
    for name, grid in grids.items():
        if grid.suite.data.evaluate == "test":
            by_seeds.setdefault(len(grid.suite.seeds), []).append(name)
    spread, smallest = rules.spread, rules.smallest_effect.top1
    takes = [needed(smallest, spread, rules) for needed in (seeds_for_difference, seeds_for_equivalence)]
    lines = [
        f"What a comparison can see: where paired differences spread by {spread:g} points between seeds "
        f"({RULES_FILE}), {smallest:g} points take {takes[0] or 'over a million'} seeds, "
        f"and equivalence {takes[1] or 'over a million'}, "
        f"for a power of {rules.power:.0%} before correction."
    ]
    for seeds, names in sorted(by_seeds.items()):
        effect = visible(seeds, spread, rules)
        told = f"{effect:.2f} points" if effect and seeds >= rules.min_seeds else "nothing is decided"
        lines.append(f"{seeds} seed{'' if seeds == 1 else 's'}: {told} ({', '.join(names)}).")
    return "\n".join(lines)


def _row(name: str, types: Sequence[str], estimates: Sequence[Estimate], data: int) -> list[str]:
    runs = sum(estimate.runs for estimate in estimates)
    hours = [_hours(sum(estimate.gpu_hours(GPUS[name]) for estimate in estimates)) for name in types]
    kept = data + sum(estimate.network_bytes() for estimate in estimates)
    state = sum(estimate.state_bytes() for estimate in estimates)
    return [name, f"{runs:,}", *hours, _size(kept), _size(kept + state)]


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2f}"


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _obstacle(grid: Grid, hours: float) -> str:
    if grid.suite.hardware == "gpu" and not gpu_locks.visible_gpus():
        return "meant for a GPU, and there is none here"
    if not _data_here(grid):
        return "its data are not here yet"
    if lacking := _weights_not_here(grid):
        return f"published weights are not here yet: {', '.join(lacking)}"
    return f"more than {_LONGEST:.0f} hours" if hours > _LONGEST else ""


def _data_here(grid: Grid) -> bool:
    """Whether they are prepared, or can be without a download."""
    from psap.data.sources import check_source, find_folder

    data = grid.suite.data
    if data_file(data).exists():
        return True
    try:
        check_source(data.source, data.path, data.classes)
    except PsapError:
        return False
    return data.source != "cifar10" or find_folder(data.source, data.path) is not None


def _weights_not_here(grid: Grid) -> list[str]:
    """The networks that start from published weights which would have to be downloaded."""
    from psap.models import architecture, published_weights

    start = [run for run in grid.runs.values() if run.kind == "dense" and run.config.training.recipe.weights]
    missing = [run.model for run in start if not (CHECKPOINTS / run.path / architecture.DESCRIPTION).exists()]
    return [model for model in dict.fromkeys(missing) if not published_weights.here(model)]


def duration(hours: float) -> str:
    """A number of hours in words: minutes up to two hours, days from two days on."""
    if hours < 2:
        minutes = max(1, round(60 * hours))
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"
