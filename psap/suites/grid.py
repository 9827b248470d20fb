"""From a suite to its runs: the grid, each run's path (its identity), its resolved configuration and its hash."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from psap.errors import PsapError
from psap.pruning.method import Method
from psap.suites.load import load_suite
from psap.suites.schema import Init, Methods, Retrain, Suite
from psap.training.schema import PUBLISHED, Code, Optimisation, Recipe, Retraining, RunConfig, TrainConfig
from psap.utils.files import sha256
from psap.utils.mappings import JsonObject

METHODS_FILE, READINGS_FILE = "methods.yaml", "readings.yaml"
NO_SUITES = (METHODS_FILE, READINGS_FILE, "verdicts.yaml")  # what else lies in params/
_OF_THE_DATA = ("label", "origin", "licence", "digest")
_RULES = ("all", "analyse", "data", "dense", "full", "grid", "prune", "retrain")  # of the workflow


@dataclass(frozen=True)
class Run:
    """One cell of a suite's grid. `kind`: dense, prune or retrain."""

    suite: str
    model: str
    seed: int
    config: RunConfig = field(repr=False)
    kind: str = "dense"
    init: str | None = None
    method: str = "dense"
    target: float = 0.0

    @property
    def path(self) -> str:
        """The run's identity: where its files lie below results/ and checkpoints/."""
        model = self.model.replace(":", ".")
        if self.kind == "dense":
            return f"{self.suite}/{model}/dense/seed{self.seed}"
        return f"{self.suite}/{model}/{self.init}/{self.method}/{self.target:g}/seed{self.seed}"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the resolved configuration."""
        return sha256(json.dumps(self.config.described(), sort_keys=True).encode())


class Grid:
    """All runs of a suite, by path, and the parents that each one needs."""

    def __init__(self, name: str, suite: Suite, methods: Methods) -> None:
        self.name, self.suite, self._methods = name, suite, methods
        self.runs: dict[str, Run] = {run.path: run for run in self._runs()}

    @property
    def digest(self) -> str:
        """SHA-256 of the suite's description."""
        return sha256(json.dumps(self.describe({})).encode())

    def dense_run(self, run: Run) -> Run:
        """The dense run of the same model and seed: baseline of every other run, start of the pretrained ones."""
        return self.runs[replace(run, kind="dense").path]

    def architecture_run(self, run: Run) -> Run | None:
        """The run whose compacted architecture `run` trains again; None unless it is a retraining."""
        method = self._methods.get(run.method)
        if not isinstance(method, Retrain):
            return None
        return self.runs[replace(run, method=method.retrain, kind="prune").path]

    def parents(self, run: Run) -> list[Run]:
        """The runs whose networks `run` needs, in the order in which they can be trained."""
        needed = (self.dense_run(run), self.architecture_run(run))
        return [parent for parent in needed if parent and parent is not run]

    def _runs(self) -> Iterator[Run]:
        suite = self.suite
        for model in suite.models:
            for seed in suite.seeds:
                training = self._training(suite.training.dense or PUBLISHED)
                config = RunConfig(model=model, seed=seed, data=suite.data, training=training)
                yield Run(self.name, model, seed, config)
                for init, names in suite.methods.items():
                    for name in names:
                        for target in suite.targets:
                            if name not in suite.only or suite.only[name].has(model, target, seed):
                                yield self._pruned(model, seed, init, name, target)

    def _pruned(self, model: str, seed: int, init: Init, name: str, target: float) -> Run:
        method = self._methods[name]
        training = self.suite.training
        recipe = training.scratch if init == "scratch" else training.pretrained
        if isinstance(method, Retrain):
            # As many epochs as its model run had in all, on the recipe that trains from new weights.
            before = training.dense if init == "pretrained" else None
            together = recipe.epochs + (before.epochs if before else 0)
            recipe = (before or training.scratch).model_copy(update={"epochs": together})
            recipe = recipe.model_copy(update={"lr": recipe.lr * method.lr_scale})
            kind, code = "retrain", None
            chosen: Method | Retraining = Retraining(retrain=method.retrain)
        else:
            own = method.scratch if init == "scratch" else method.pretrained
            # What results is the recipe; how the method came to it decides nothing more.
            recipe, kind, code, chosen = own.trains(recipe), "prune", own.code, own.in_effect
        config = RunConfig(
            model=model,
            seed=seed,
            data=self.suite.data,
            training=self._training(recipe),
            init=init,
            target=target,
            measure=self.suite.measure,
            method=chosen,
            code=Code(file=code, sha256=sha256(Path(code))) if code else None,
        )
        return Run(self.name, model, seed, config, kind, init, name, target)

    def _training(self, recipe: Recipe) -> TrainConfig:
        shared = {name: getattr(self.suite.training, name) for name in Optimisation.model_fields}
        return TrainConfig(**shared, recipe=recipe)

    def describe(self, manifest: Mapping[str, object]) -> JsonObject:
        """The suite as the analysis reads it (results/<suite>/suite.json), with what its data's `manifest` tells."""
        described = self.suite.model_dump(mode="json", exclude={"data": {"path"}, "tuned": True})
        described["data"] |= {name: manifest.get(name, "") for name in _OF_THE_DATA}
        described["title"] = self.suite.title or self.name
        return {"suite": self.name, **described, "inits": list(self.suite.methods), "runs": list(self.runs)}


def suite_files(params: Path) -> dict[str, Path]:
    """The suites in `params`: every YAML file but those of all suites. PsapError for a name that cannot be a target."""
    files = {file.stem: file for file in sorted(params.glob("*.yaml")) if file.name not in NO_SUITES}
    for name, file in files.items():
        if name in _RULES or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
            raise PsapError(
                f"{file}: a suite's name is made of letters, digits, _ and -, and is none of {', '.join(_RULES)}; "
                "rename the file"
            )
    return files


def load_grid(params: Path, name: str) -> Grid:
    """Read and check the suite `params/<name>.yaml`. Raises PsapError with one line."""
    files = suite_files(params)
    if name not in files:
        raise PsapError(f"unknown suite {name!r}; {params}/ has {', '.join(files) or 'none'}")
    return Grid(name, *load_suite(files[name], params / METHODS_FILE, params / READINGS_FILE))


def load_grids(params: Path) -> dict[str, Grid]:
    """All suites of `params`, checked."""
    if not (params / METHODS_FILE).exists():
        raise PsapError(f"{params / METHODS_FILE} is missing; run this in the project's folder")
    return {name: load_grid(params, name) for name in suite_files(params)}


def load_good_grids(params: Path, asked: Iterable[str]) -> tuple[dict[str, Grid], dict[str, str]]:
    """The suites of `params` that are right, and what is wrong with the others, by name.

    Raises PsapError for a wrong one, or one that is not there, among those `asked` for, and where none is right.
    """
    if not (params / METHODS_FILE).exists():
        raise PsapError(f"{params / METHODS_FILE} is missing; run this in the project's folder")
    good: dict[str, Grid] = {}
    bad: dict[str, str] = {}
    for name in suite_files(params):
        try:
            good[name] = load_grid(params, name)
        except PsapError as error:
            bad[name] = str(error)
    for name in asked:
        if name not in good:
            raise PsapError(bad.get(name) or f"unknown suite {name!r}; {params}/ has {', '.join([*good, *bad])}")
    if bad and not good:
        raise PsapError(next(iter(bad.values())))
    return good, bad


def load_run(params: Path, path: str) -> tuple[Grid, Run]:
    """Find the run with the given path in its suite. Raises PsapError when the suite has no such run."""
    grid = load_grid(params, path.split("/")[0])
    if path not in grid.runs:
        raise PsapError(f"{path}: no such run in params/{grid.name}.yaml; one of its runs is {next(iter(grid.runs))}")
    return grid, grid.runs[path]
