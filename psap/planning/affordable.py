"""The plan of a workflow before it starts: what is still to run here and what that takes, and a stop before what nobody
can have meant."""

import sys
from collections.abc import Sequence
from contextlib import suppress

from psap.errors import PsapError
from psap.models.architecture import DESCRIPTION
from psap.planning.estimate import Estimate
from psap.planning.report import duration
from psap.suites.grid import Grid
from psap.suites.paths import CHECKPOINTS

_LONGEST = 48.0  # hours on this machine that are begun without a second word


def tell_plan(grids: Sequence[Grid], anyway: bool) -> None:
    """Say on stderr how many runs of each suite are still to be made, for how long here, and what disk all takes.

    Raises PsapError where that is beyond reason, unless `anyway`. Data that are not here are the workflow's to tell.
    """
    total = 0.0
    for grid in grids:
        left = sum(not (CHECKPOINTS / path / DESCRIPTION).exists() for path in grid.runs)
        if left:
            with suppress(PsapError):
                total += _tell(grid, left)
    if total > _LONGEST and not anyway:
        raise PsapError(
            f"about {duration(total)} on this machine; with --anyway it starts (other GPUs: `psap plan`; "
            "clusters: docs/scaling.md)"
        )


def _tell(grid: Grid, left: int) -> float:
    estimate = Estimate(grid)
    hours = estimate.hours_here().middle * left / len(grid.runs)
    disk = (estimate.data_bytes() + estimate.network_bytes() + estimate.state_bytes()) / 1e9
    about = f"about {duration(hours)} here, at most {disk:,.1f} GB of disk"
    print(f"{grid.name}: {left:,} of {len(grid.runs):,} runs to do, {about}", file=sys.stderr, flush=True)
    return hours
