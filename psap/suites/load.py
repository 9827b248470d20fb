"""What a user writes in params/: the schema of suites, and one clear line for everything that is wrong with one."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from psap.errors import PsapError, suggestion
from psap.models.names import check_own_name
from psap.pruning.method import Method
from psap.suites import plugins
from psap.suites.schema import Data, Section, Training
from psap.utils.bounds import MOST_RUNS, Model, Name, Place, Rate, Seed
from psap.utils.validation import checked, read_mapping, read_sections, validated

Init = Literal["pretrained", "scratch"]


def _told_by_its_name(target: float) -> float:
    """A run's path shows its target; one that it does not show whole would share its path with another."""
    shown = f"{target:g}"
    if float(shown) != target or "e" in shown:
        least = " and is 0.0001 or more" if "e" in shown else f": {shown}"
        raise ValueError(f"a target has at most six digits{least}")
    return target


Target = Annotated[float, Field(gt=0, lt=1), AfterValidator(_told_by_its_name)]


class Claims(Section):
    """Which methods of the suite play which part in the claims; all others are baselines."""

    method: Name = "psap"
    """The method that the claims are about."""
    protection: Name = "psap_soft"
    """The method without its protection: what it prunes is free to regrow."""
    hard: Name = "psap_hard"
    """The method with what it prunes kept at zero, in place of its protection."""
    adaptivity: Name = "psap_uniform"
    """The method without its adaptivity."""
    plain: Name = "psap_plain"
    """The method without both."""

    @model_validator(mode="after")
    def _one_part_each(self) -> Self:
        names = list(self.model_dump().values())
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} has two parts; each one needs a method of its own")
        return self


class Part(Section):
    """The part of a suite's grid that a method runs in; all of it, where nothing is said."""

    models: tuple[Model, ...] | None = None
    """Networks."""
    targets: tuple[Target, ...] | None = None
    """Shares of `measure` to remove."""
    seeds: tuple[Seed, ...] | None = None
    """Seeds."""

    def has(self, model: str, target: float, seed: int) -> bool:
        """Whether a cell of the grid is in this part."""
        chosen: tuple[tuple[tuple[Any, ...] | None, Any], ...]
        chosen = ((self.models, model), (self.targets, target), (self.seeds, seed))
        return all(values is None or value in values for values, value in chosen)


class Suite(Section):
    """A grid of runs: models x inits x methods x targets x seeds, and the dense networks that they start from.

    A file with `base: <suite>` is that suite, but for what it says otherwise, section by section.
    """

    title: Annotated[str, Field(max_length=1000)] = ""
    """The heading of the report; the suite's name without it. A base's is not taken over."""
    note: str = ""
    """What a reader of the report should know beforehand. A base's is not taken over."""
    hardware: Literal["cpu", "gpu"] = "cpu"
    """What the suite is meant for; one for a `gpu` does not start by itself where there is none."""
    data: Data
    """What is trained and scored on."""
    models: tuple[Model, ...] = Field(min_length=1)
    """Networks by name: our own, `timm:<name>` or `torchvision:<name>`."""
    variants: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Methods of this suite only, described as in `methods.yaml`; `base` names a method to differ from."""
    methods: dict[Init, tuple[Name, ...]] = Field(min_length=1)
    """For each init, the methods to run."""
    only: dict[Name, Part] = Field(default_factory=dict)
    """Methods that run in a part of the grid alone, such as `sfp: {seeds: [0, 1, 2]}`."""
    targets: tuple[Target, ...] = Field(min_length=1)
    """Shares of `measure` to remove."""
    measure: Literal["macs", "params"] = "macs"
    """What a target is a share of: multiply-adds or parameters."""
    seeds: tuple[Seed, ...] = Field(min_length=1)
    """Of everything random in a run: the unit of replication."""
    claims: Claims = Claims()
    """Which method plays which part in the claims."""
    training: Training
    """How networks are trained."""

    @field_validator("models", "targets", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("an entry is listed twice")
        return values

    @model_validator(mode="after")
    def _of_a_size(self) -> Self:
        of_one = 1 + len(self.targets) * sum(map(len, self.methods.values()))
        if (runs := len(self.models) * len(self.seeds) * of_one) > MOST_RUNS:
            raise ValueError(f"{runs:,} runs are more than the {MOST_RUNS:,} that a suite can have; split it")
        return self


class Retrain(Section):
    """Not a pruning method: the compacted architecture of another method's run, trained from new weights."""

    retrain: Name
    """The method whose run gives the architecture; its runs must be in the suite too."""
    lr_scale: Rate = 1.0
    """Times the suite's learning rate."""


class MethodConfig(Method):
    """A pruning method in `methods.yaml`. What is left out takes PSAP's value.

    A section `scratch` in it holds what differs when the method prunes from scratch.
    """

    lr_scale: Rate = 1.0
    """Times the suite's learning rate."""
    code: Place | None = None
    """A Python file that registers parts which the method names (docs/extending.md)."""

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, values: Any) -> Any:
        """The file runs before the names are looked up."""
        if isinstance(values, dict) and isinstance(values.get("code"), str):
            plugins.load(Path(values["code"]))
        return values


class MethodPair(NamedTuple):
    """A pruning method as it runs from pretrained weights and as it runs from scratch."""

    pretrained: MethodConfig
    scratch: MethodConfig


Methods = dict[str, MethodPair | Retrain]


def load_methods(path: Path, variants: Mapping[str, Mapping[str, dict[str, Any]]] | None = None) -> Methods:
    """Read params/methods.yaml, a mapping from a method's name to its parameters, and add `variants`.

    A section `scratch` in a method holds what differs when it prunes from scratch. Variants are given by where they
    stand, which messages begin with.
    """
    values = read_mapping(path)
    places = {name: f"{path}: {name}" for name in values}
    added = [(where, *variant) for where, some in (variants or {}).items() for variant in some.items()]
    for where, name, changes in added:
        places[name] = f"{where}{name}"
        if name in values:
            raise PsapError(f"{places[name]}: there is a method of this name already; give the variant another")
        base = checked(str, changes.get("base", ""), f"{places[name]}.base")
        if base and not isinstance(values.get(base), dict):
            raise PsapError(f"{places[name]}.base: unknown method {base!r}{suggestion(base, values)}")
        own = {key: value for key, value in changes.items() if key != "base"}
        values[name] = _merged(values.get(base, {}), own)
    for name, where in places.items():
        checked(Name, name, where)
    methods = {name: _method(values[name], where) for name, where in places.items()}
    for name, method in methods.items():
        if isinstance(method, Retrain) and not isinstance(methods.get(method.retrain), MethodPair):
            raise PsapError(f"{places[name]}.retrain: {method.retrain!r} is not a pruning method of this file")
    return methods


def _method(values: Any, where: str) -> MethodPair | Retrain:
    if not isinstance(values, dict):
        raise PsapError(f"{where}: must be a mapping of parameters to values")
    if "retrain" in values:
        return validated(Retrain, values, where)
    changes = values.get("scratch", {})
    if not isinstance(changes, dict):
        raise PsapError(f"{where}.scratch: must be a mapping of parameters to values")
    pretrained = {name: value for name, value in values.items() if name != "scratch"}
    scratch = validated(MethodConfig, _merged(pretrained, changes), f"{where}.scratch" if changes else where)
    return MethodPair(validated(MethodConfig, pretrained, where), scratch)


def load_suite(path: Path, methods_file: Path, readings_file: Path) -> tuple[Suite, Methods]:
    """Read a suite and the methods that it may name, checked; PsapError with one line on the first mistake.

    Readings of the method are variants of every suite that lists them.
    """
    suite = validated(Suite, _with_base(path), str(path))
    readings = read_sections(readings_file) if readings_file.exists() else {}
    methods = load_methods(methods_file, {f"{readings_file}: ": readings, f"{path}: variants.": suite.variants})
    for init, names in suite.methods.items():
        for name in names:
            if name not in methods:
                raise PsapError(f"{path}: methods.{init}: unknown method {name!r}{suggestion(name, methods)}")
            method = methods[name]
            if isinstance(method, Retrain) and method.retrain not in names:
                raise PsapError(f"{path}: methods.{init}: {name} retrains {method.retrain}, which is not in the list")
            if isinstance(method, Retrain) and init == "pretrained" and not suite.training.trains_from_new_weights:
                raise PsapError(
                    f"{path}: methods.pretrained: {name} trains as long as the dense network and the pruning together, "
                    "and how long published weights were trained is not known; list it under scratch only"
                )
    listed = list(dict.fromkeys(name for names in suite.methods.values() for name in names))
    for name in suite.only:
        _check_part(suite, methods, name, listed, f"{path}: only.{name}")
    suite = suite.model_copy(
        update={"variants": {name: readings[name] for name in listed if name in readings} | suite.variants}
    )
    for part in sorted(suite.claims.model_fields_set):
        name = getattr(suite.claims, part)
        if name not in listed:
            raise PsapError(f"{path}: claims.{part}: {name!r} is none of the suite's methods{suggestion(name, listed)}")
    for model in suite.models:
        try:
            check_own_name(model)  # whether a library has the network is seen when it is counted
        except PsapError as error:
            raise PsapError(f"{path}: models: {error}") from None
    return suite, methods


def _check_part(suite: Suite, methods: Methods, name: str, listed: list[str], where: str) -> None:
    if name not in listed:
        raise PsapError(f"{where}: {name!r} is none of the suite's methods{suggestion(name, listed)}")
    for axis, values in suite.only[name]:
        for value in values or ():
            if value not in getattr(suite, axis):
                raise PsapError(f"{where}.{axis}: {value} is not in the suite's {axis}")
    for retraining in listed:
        method = methods[retraining]
        if isinstance(method, Retrain) and method.retrain == name:
            missing = [
                cell
                for cell in itertools.product(suite.models, suite.targets, suite.seeds)
                if not suite.only[name].has(*cell)
                and (retraining not in suite.only or suite.only[retraining].has(*cell))
            ]
            if missing:
                raise PsapError(f"{where}: {retraining} retrains its networks in more cells; add only.{retraining}")


def _with_base(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The suite in `path`; one with `base: <suite>` is that suite, but for what it says otherwise.

    What a base tells its readers is told of its own data and grid, so that is not taken over.
    """
    values = read_mapping(path)
    base = values.pop("base", None)
    if base is None:
        return values
    checked(Name, base, f"{path}: base")
    file = path.with_name(f"{base}.yaml")
    if file in (path, *above):
        raise PsapError(f"{path}: base: {base} has this suite as its own base; one of them must stand alone")
    if not file.exists():
        raise PsapError(f"{path}: base: there is no suite {base!r} next to it ({file})")
    inherited = _with_base(file, (path, *above))
    return _merged({name: value for name, value in inherited.items() if name not in ("title", "note")}, values)


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, section by section; what is changed to nothing (null) is left out."""
    merged = {name: value for name, value in values.items() if changes.get(name, value) is not None}
    for name, change in changes.items():
        if change is None:
            continue
        both = isinstance(change, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], change) if both else change
    return merged
