"""One set of pins: pyproject.toml, requirements.lock and environment.yml agree."""

import re
import tomllib
from pathlib import Path

import yaml


def pins(lines: list[str]) -> dict[str, str]:
    """Name -> version of the lines `name==version`, with or without a marker behind."""
    found = (re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line.strip()) for line in lines)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def test_conda_and_pip_users_get_the_same(root: Path) -> None:
    environment = yaml.safe_load((root / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == ["-r requirements.lock"], "conda gives Python and pip, the lock gives the rest"
    assert any(str(entry).startswith("python=3.11") for entry in environment["dependencies"])


def test_the_lock_holds_what_the_project_asks_for(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + [line for lines in extras.values() for line in lines]
    locked = pins((root / "requirements.lock").read_text().splitlines())
    for name, version in pins(wanted).items():
        assert locked[name] == version
    for line in wanted:
        if line.startswith("psap-pruning["):  # an extra that holds another
            continue
        assert re.split(r"[=<>\[]", line)[0].lower() in locked, line
    assert locked["torch"] == "2.14.1" and locked["torchvision"] == "0.29.1"


def test_every_pin_of_the_lock_has_hashes_and_set_up_asks_for_them(root: Path) -> None:
    text = (root / "requirements.lock").read_text()
    requirements = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    for line in requirements:
        pin, *hashes = line.split(" --hash=sha256:")
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z0-9, -]+\])?==\S+( ;[^#]+)?", pin), pin
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", digest.strip()) for digest in hashes), pin
    assert "://" not in text, "names no registry"
    installs = [
        line for line in (root / "Makefile").read_text().splitlines() if "requirement requirements.lock" in line
    ]
    assert any("pip install" in line and "--require-hashes" in line for line in installs)
