"""What `psap reproduce` ends with: where the report is, and how the results compare with the committed ones."""

import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from psap.suites.grid import Grid
from psap.suites.paths import RESULTS
from psap.workflow.agreement import Agreement, compare_suite
from psap.workflow.apart import copy_of_committed, put_apart
from psap.workflow.committed import write_committed

_WIDTH = 100


def conclude(grid: Grid, accept: bool) -> Iterator[str]:
    """Lines about the results of a suite; those that agree with the committed ones go apart, unless `accept`.

    Nothing is said of a suite that is not complete, as after a dry run.
    """
    folder, copy = RESULTS / grid.name, copy_of_committed(grid.name)
    files = [folder / "report.html", *(RESULTS / run / "run.json" for run in grid.runs)]
    if not all(file.exists() for file in files):
        return
    if not write_committed(folder, copy):
        yield f"report: {folder}/report.html"
        return
    found = compare_suite(copy, folder, grid.runs)
    where = put_apart(grid.name) if found.anew and not found.against and not accept else folder
    shutil.rmtree(copy, ignore_errors=True)
    yield f"report: {where}/report.html"
    yield textwrap.fill(found.told() + _outcome(found, accept, where), _WIDTH, break_on_hyphens=False)


def _outcome(found: Agreement, accept: bool, where: Path) -> str:
    folder = RESULTS / found.suite
    if not found.anew:
        return ""
    if found.against:
        return f" They do not agree with the committed ones ({'; '.join(found.against)}). They are in {folder}/."
    if accept:
        return f" They agree, and take the place of the committed ones in {folder}/; commit them."
    return (
        f" They agree, so the committed ones stay in {folder}/. These are in {where}/; "
        f"`psap reproduce {found.suite} --accept` puts them in {folder}/."
    )
