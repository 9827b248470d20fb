"""Score a saved network again on the held-out images of its run, and compare image by image with its row."""

from pathlib import Path

import numpy as np
import torch

from psap.errors import PsapError
from psap.models.saved import load
from psap.suites.beside_rows import CORRECT, read_correct
from psap.suites.consistency import read_record
from psap.suites.paths import CHECKPOINTS, RESULTS
from psap.suites.row import Row
from psap.suites.run import load_data
from psap.training.evaluation import accuracy
from psap.training.run_data import RunData
from psap.training.schema import RunConfig
from psap.utils.validation import validated

_SCORED = ("model", "seed", "data", "training")  # what of a configuration decides on which images a run is scored


def evaluate(run: str) -> str:
    """Score the network of `run`, its path or a folder with a network and its row; returns a line that sums it up.

    Raises PsapError where a single image is classified otherwise than in the row.
    """
    folder = Path(run)
    alone = (folder / "run.json").exists()
    row_folder, network = (folder, folder) if alone else (RESULTS / run, CHECKPOINTS / run)
    try:
        row = read_record(row_folder / "run.json", Row)
    except FileNotFoundError:
        raise PsapError(
            f"{row_folder}/run.json is missing: name a run that has results, or a folder of the zoo"
        ) from None
    if row.result is None:
        raise PsapError(f"{row_folder}/run.json: the run diverged, so it has no network")
    model = load(network)
    config = validated(RunConfig, {name: row.config.get(name) for name in _SCORED}, f"{row_folder}/run.json: config")
    data = load_data(config.data)
    if data.digest != row.provenance.data:
        raise PsapError(f"{row_folder}/run.json: its data are others than those prepared here ({data.label})")
    score = accuracy(model, RunData(config, data, torch.device("cpu"), 0).scoring.epoch(0))
    right, before = score.right.numpy(), read_correct(row_folder / CORRECT, row.result.top1_last)
    other = abs(score.top1 - row.result.top1_last) > 1e-9 if before is None else int(np.sum(right != before))
    if other:
        raise PsapError(
            f"{network}: top-1 {score.top1:.2f} %, and {row.result.top1_last:.2f} % in its row; "
            f"images classified otherwise: {'not recorded' if before is None else other} of {len(right)}"
        )
    return f"{network}: top-1 {score.top1:.2f} %, {right.sum()} of {len(right)} images right, the same as in its row"
