"""What a workflow finds before it removes anything: files as they were written, and made from what params/ says."""

import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from psap.data import prepared
from psap.errors import PsapError
from psap.models import architecture
from psap.suites.digest import code_digest
from psap.suites.grid import Grid, Run
from psap.suites.paths import CHECKPOINTS, RESULTS, data_command, data_file
from psap.utils.mappings import JsonObject
from psap.utils.validation import read_json
from psap.workflow.rules import fingerprint, run_inputs

_SKEW = 5.0  # seconds that a file server's clock may be ahead


def check_inputs(grid: Grid, run: Run) -> None:
    """Raise PsapError where a file that `run` reads is damaged, with the command that fixes it.

    What is not there is nobody's damage: the workflow makes it.
    """
    for name in (*run_inputs(grid, run), f"{RESULTS}/{run.path}/run.json"):
        _check_time(Path(name))
    _manifest(grid)
    for parent in grid.parents(run):
        _check_network(parent.path)


def row_is_current(grid: Grid, run: Run, recorded: bool) -> bool:
    """Whether the row of `run`, if there is one, was made from what params/ and data/ hold now.

    Snakemake compares what it has `recorded` itself, unless somebody brought another row; where it has no record, the
    row says by which code it was made.
    """
    file = RESULTS / run.path / "run.json"
    row = _json(file, f"`git checkout -- {file}` brings a committed row back; without the file, its run trains again")
    if row is None:
        return True
    made, manifest = row.get("provenance", {}), _manifest(grid)
    same_data = manifest is None or made.get("data") == manifest.digest
    return bool(row.get("hash") == run.hash and same_data and (recorded or made.get("code") == code_digest("train")))


def suite_is_current(grid: Grid) -> bool:
    """Whether results/<suite>/suite.json, if there is one, says what params/ and data/ hold now."""
    file = RESULTS / grid.name / "suite.json"
    described, manifest = _json(file, "remove it, and it is written again"), _manifest(grid)
    return None in (described, manifest) or described == grid.describe(manifest.model_dump() if manifest else {})


def data_are_current(grid: Grid, planning: bool) -> bool:
    """Whether the prepared data, if there are any, were made from the images that are in their folder now."""
    manifest = _manifest(grid)
    return manifest is None or manifest.fingerprint == fingerprint(grid, planning)


@cache
def _manifest(grid: Grid) -> prepared.Manifest | None:
    """What describes the suite's prepared data, verified with them; None where they are still to be made."""
    file = data_file(grid.suite.data)
    there = [part.exists() for part in (file, file.with_suffix(".json"))]
    # A half can be all that a killed preparation left; once networks were trained, it is all that is left of a whole.
    if not (all(there) or (any(there) and (CHECKPOINTS / grid.name).exists())):
        return None
    try:
        return _read(file)
    except PsapError as error:
        raise PsapError(f"{error}: `{data_command(grid.suite.data)}`") from None


@cache
def _check_time(file: Path) -> None:
    """Raise PsapError where `file` is newer than now: Snakemake throws away what is made from it, as out of date."""
    if file.exists() and file.stat().st_mtime > time.time() + _SKEW:
        raise PsapError(
            f"{file}: its time of change is still to come; set the clock right, or give such files the present time: "
            f"`find . -newermt now -exec touch {{}} +`"
        )


@cache
def _read(file: Path) -> prepared.Manifest:
    return prepared.read(file)[1]


@cache
def _check_network(path: str) -> None:
    folder = CHECKPOINTS / path
    if all(file.exists() for file in architecture.files(folder)):
        try:
            architecture.verify(folder)
        except PsapError as error:
            raise PsapError(f"{error}; `psap train {path}` makes it again, or `dvc checkout` restores it") from None


def _json(file: Path, fix: str) -> JsonObject | None:
    """The object in `file`; None where there is no file."""
    with suppress(FileNotFoundError):
        return read_json(file, JsonObject, fix)
    return None
