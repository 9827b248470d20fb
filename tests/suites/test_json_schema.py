"""The schemas of params/ for editors: fresh, true of every file there, and sharp enough to see a misspelt key."""

import json
import runpy
from pathlib import Path

import jsonschema
import pytest
import yaml

from psap.suites.grid import NO_SUITES

METHODS = ("methods.yaml", "readings.yaml")


def test_they_are_those_of_the_models(root: Path) -> None:
    made = runpy.run_path(str(root / "scripts" / "schema.py"))["schemas"]()
    assert len(made) == 2
    for name, text in made.items():
        assert (root / "params" / name).read_text() == text, "run: python scripts/schema.py"


def test_every_file_names_the_one_that_holds_for_it(root: Path) -> None:
    files = [file for file in sorted((root / "params").glob("*.yaml")) if file.name != "verdicts.yaml"]
    assert len([file for file in files if file.name not in NO_SUITES]) >= 5
    for file in files:
        name = "methods.schema.json" if file.name in METHODS else "schema.json"
        assert file.read_text().startswith(f"# yaml-language-server: $schema={name}\n"), file
        jsonschema.validate(yaml.safe_load(file.read_text()), json.loads((root / "params" / name).read_text()))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("schema.json", {"modles": ["resnet8"]}),
        ("schema.json", {"training": {"batch": 3}}),
        ("schema.json", {"training": {"dense": "publishd"}}),
        ("schema.json", {"targets": [1.5]}),
        ("methods.schema.json", {"mine": {"criterium": "l1"}}),
        ("methods.schema.json", {"mine": {"schedule": {"kind": "weekly"}}}),
    ],
)
def test_a_mistake_is_seen(root: Path, name: str, values: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json.loads((root / "params" / name).read_text()))
