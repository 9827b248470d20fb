"""A small project with one of everything that psap reads, made once by psap itself."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from arena_helpers import DENSE, PRUNED, Case, fault
from PIL import Image

SUITE = {
    "title": "Tiny",
    "data": {"source": "digits", "train_images": 100},
    "models": ["resnet8"],
    "methods": {"pretrained": ["psap"]},
    "targets": [0.5],
    "seeds": [0],
    "training": {
        "batch_size": 50,
        "dense": {"epochs": 1, "lr": 0.1},
        "pretrained": {"epochs": 1, "lr": 0.02},
        "scratch": {"epochs": 1, "lr": 0.1},
    },
}
REQUEST = {
    "model": "resnet8",
    "data": "digits",
    "target": 0.5,
    "out": "pruned",
    "epochs": 1,
    "method": {"criterion": "l1"},
}


# Imported once, for all cases to find: that is what takes a command's time.
_USED = [
    "timm",
    "torchvision",
    "sklearn.datasets",
    "matplotlib.figure",
    "scipy.stats",
    "statsmodels.stats.multitest",
    "onnx",
    "mlflow",
    "psap.cli.main",
]
_USED += ["psap.analysis", "psap.bench.supported_models", "psap.bench.latency", "psap.bench.train", "psap.data.sources"]
_USED += [
    "psap.suites.run",
    "psap.export",
    "psap.pruning.inspect",
    "psap.suites.cleanup",
    "psap.pruning.graph.masked",
    "psap.workflow.reproduce",
]
_USED += ["psap.suites.rerun", "psap.standalone.plan", "psap.standalone.run", "psap.tracking.store"]


@pytest.fixture(scope="session")
def project(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    for module in _USED:
        importlib.import_module(module)
    made = tmp_path_factory.mktemp("fuzz") / "made"
    (made / "params").mkdir(parents=True)
    for name in ("methods.yaml", "published.csv", "readings.yaml", "verdicts.yaml"):
        shutil.copy(root / "params" / name, made / "params" / name)
    (made / "params" / "tiny.yaml").write_text(yaml.safe_dump(SUITE))
    (made / "request.yaml").write_text(yaml.safe_dump(REQUEST))
    (made / "coded.yaml").write_text(yaml.safe_dump(REQUEST | {"method": {"criterion": "l1", "code": "mine.py"}}))
    (made / "mine.py").write_text("")
    for split, label in ((split, label) for split in ("train", "test") for label in ("ant", "bee")):
        (made / "photos" / split / label).mkdir(parents=True)
        for i in range(2):
            Image.effect_noise((16, 16), 60).convert("RGB").save(made / "photos" / split / label / f"{i}.png")
    place = made.with_name("grown")
    for words in (["data", "digits"], ["train", DENSE], ["train", PRUNED], ["grid", "tiny"]):
        shutil.rmtree(place, ignore_errors=True)
        assert fault(Case("make", tuple(words), check=lambda grown, _: _keep(grown, made)), made, place, 120) == ""
    network = made / "checkpoints" / DENSE / "model.safetensors"
    shutil.copy(network, made / "weights.safetensors")
    return made


def _keep(grown: Path, made: Path) -> None:
    shutil.copytree(grown, made, dirs_exist_ok=True, symlinks=True)


@pytest.fixture
def problem(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], str]:
    """Try a case; returns what was wrong about its end, in a line, or nothing."""
    place = tmp_path_factory.mktemp("cases") / "case"

    def tried(case: Case) -> str:
        found = fault(case, project, place)
        return f"{found} <- {case.name}: psap {case.arguments}"[:500] if found else ""

    return tried
