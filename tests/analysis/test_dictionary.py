"""The data dictionary: every committed table has the columns that it describes, with values of their type."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from psap.analysis.dictionary import TABLES
from psap.analysis.results import EPOCH_COLUMNS, HISTORY_COLUMNS, LATER_COLUMNS, TIMING
from psap.pruning.history import COLUMNS
from psap.suites.row import IDENTITY, RESULT

ROOT = Path(__file__).parents[2]
SUITES = sorted(file.parent for file in (ROOT / "results").glob("*/suite.json"))
READ: dict[str, Callable[[str], object]] = {
    "string": str,
    "integer": lambda text: int(text.removesuffix(".0")),
    "number": float,
}


def test_it_describes_what_is_written_and_what_is_read() -> None:
    assert list(TABLES["runs"]) == [*IDENTITY, *RESULT, "hash", "diverged", *TIMING]
    assert list(TABLES["history"]) == list(COLUMNS) == [*HISTORY_COLUMNS, *LATER_COLUMNS]
    assert list(TABLES["epochs"]) == [*EPOCH_COLUMNS, "final"]
    for columns in TABLES.values():
        assert all(description.endswith(".") for _, _, description in columns.values())


@pytest.mark.parametrize("suite", SUITES, ids=lambda folder: folder.name)
def test_every_table_of_a_committed_suite_is_described(suite: Path) -> None:
    package = json.loads((suite / "datapackage.json").read_text())
    described = set()
    for resource in package["resources"]:
        fields = {field["name"]: field for field in resource["schema"]["fields"]}
        assert {field["type"] for field in fields.values()} <= set(READ)
        paths = resource["path"] if isinstance(resource["path"], list) else [resource["path"]]
        described |= {suite / path for path in paths}
        for path in paths:
            with (suite / path).open(newline="") as file:
                lines = csv.reader(file)
                assert next(lines) == list(fields), path
                for line in lines:
                    for field, text in zip(fields.values(), line, strict=True):
                        if text:
                            READ[field["type"]](text)
    tables = {file for name in ("epochs", "history") for file in suite.rglob(f"{name}.csv")}
    assert described == tables | {suite / "runs.csv"}
