"""Train one run again, apart from the committed results, and hold what comes out against its row."""

import contextlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from psap.errors import PsapError
from psap.execute import execute
from psap.models import architecture
from psap.suite import CHECKPOINTS, RESULTS, STATE, Grid, Run, load_run

HOME = Path("rerun")
_COMPARED = ("code", "data", "versions", "hardware", "device")


def rerun(params: Path, path: str, device: torch.device) -> str:
    """Train the run `path` again below rerun/, and what it starts from where its network is not at hand.

    Interrupted, it goes on. Returns a line that says both accuracies are the same; raises PsapError when they are not,
    naming what differs between then and now, when there is no row, or when params/ has changed since.
    """
    grid, run = load_run(params, path)
    file = RESULTS / path / "run.json"
    if not file.exists():
        raise PsapError(f"{file} is missing: there is no row to compare with; `psap train {path}` makes it")
    row = json.loads(file.read_bytes())
    if row["hash"] != run.hash:
        raise PsapError(f"{file}: made with other settings than {params}/ has now; go back to those of its commit")
    os.environ["PSAP_TRACKING"] = "off"  # a check is no run of the suite
    root = Path.cwd()
    HOME.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(HOME):
        if not Path("data").exists():
            Path("data").symlink_to(root / "data")
        for parent in grid.parents(run):
            _provide(grid, parent, root, device)
        print(execute(grid, run, device), file=sys.stderr, flush=True)
        again = json.loads(file.read_bytes())
        shutil.rmtree(STATE / path)  # or else the next time would go on from its end
    return _verdict(row, again)


def _provide(grid: Grid, parent: Run, root: Path, device: torch.device) -> None:
    """Have the network of `parent` here: from before, from the project's checkpoints/, or trained anew."""
    network = CHECKPOINTS / parent.path
    if (network / architecture.DESCRIPTION).exists():
        return
    if (root / network / architecture.DESCRIPTION).exists():
        shutil.copytree(root / network, network, dirs_exist_ok=True)
    else:
        print(execute(grid, parent, device), file=sys.stderr, flush=True)


def _verdict(row: dict[str, Any], again: dict[str, Any]) -> str:
    before, now = row["result"]["top1_last"], again["result"]["top1_last"]
    line = f"{row['run']}: top-1 of the last epoch {before:.2f} % in its row, {now:.2f} % again"
    if before == now:
        return f"{line}: the same"
    changed = [name for name in _COMPARED if row["provenance"][name] != again["provenance"][name]]
    raise PsapError(f"{line}: {abs(before - now):.2f} points apart; other than then: {', '.join(changed) or 'nothing'}")
