"""One set of pins: pyproject.toml, requirements.lock and environment.yml agree."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement


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


# Leaves in the way of imports only what pip installs.
ONLY = """
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else super().find_spec(name, path, target)

sys.meta_path[:] = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
"""
# A network, data and names for the README's loop; then all else that the library offers without an extra.
LIBRARY = """
import torch
from torch import nn
import psap
from psap.export import export

for name in psap.__all__:
    getattr(psap, name)

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(576, 4))

model = Net()
example_inputs, epochs, loss_fn = torch.randn(1, 1, 8, 8), 3, nn.CrossEntropyLoss()
loader = [(torch.randn(4, 1, 8, 8), torch.arange(4))] * 3
optimizer = torch.optim.SGD(model.parameters(), 0.1)
{loop}
psap.save(small, "small")
again = psap.load("small", into=Net())
assert torch.equal(again.eval()(example_inputs), small.eval()(example_inputs))
assert psap.compact_masked(model, example_inputs)[1] > 0
"""
COMMAND = """
from psap.cli.main import main

for line in [
    "prune --model resnet8 --data digits --target 0.5 --epochs 1 --out pruned",
    "inspect pruned",
    "bench latency pruned --way eager --batch 1 --repetitions 1",
    "export pruned --format torch",
]:
    sys.argv = ["psap", *line.split()]
    try:
        main()
    except SystemExit as end:
        assert not end.code, line
"""


def brought(names: list[str]) -> set[str]:
    """The packages that pip installs for `names`: them, what they need, and so on."""
    found: set[str] = set()
    while names:
        name = normal(Requirement(names.pop()).name)
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or [])
            names += [str(need) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return found


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def run_with(names: list[str], program: str, folder: Path) -> None:
    """Run `program` in `folder` with psap, what pip installs for `names`, and nothing else to import."""
    there = brought(names)
    owners = importlib.metadata.packages_distributions().items()
    absent = {module for module, owned in owners if not set(map(normal, owned)) & there} - {"psap"}
    assert "mlflow" in absent and "snakemake" in absent
    program = ONLY.replace("{absent}", repr(absent)) + program
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr


def test_the_library_runs_with_what_it_asks_for_alone(root: Path, tmp_path: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    loop = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.S)[0]
    run_with(project["dependencies"], LIBRARY.replace("{loop}", loop), tmp_path)


def test_commands_for_single_networks_run_with_their_extra_alone(root: Path, tmp_path: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    run_with(project["dependencies"] + project["optional-dependencies"]["cli"], COMMAND, tmp_path)
