"""What a user writes in params/: the schema of suites, and one clear line for everything that is wrong with one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from psap.errors import PsapError
from psap.models.names import check_name
from psap.pruning.method import Method
from psap.reading import near, read_mapping, validated

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Init = Literal["pretrained", "scratch"]
Target = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
LrScale = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Section):
    """The data set, its splits, and how training images are augmented.

    `path`: a folder `train/<class>/*`, `test/<class>/*` where the source takes one. `train_images`: a balanced subset
    of that many, by a fixed seed. `validation`: the share of the training images set aside by seed, never trained on;
    `evaluate: validation` scores a run on it and leaves the test images alone: that is how choices are made.
    """

    source: str
    path: str | None = None
    train_images: Annotated[int, Field(gt=0)] | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluate: Literal["test", "validation"] = "test"
    pad: Annotated[int, Field(ge=0)] = 0
    flip: bool = False

    @model_validator(mode="after")
    def _has_validation(self) -> Self:
        if self.evaluate == "validation" and self.validation == 0:
            raise ValueError("evaluate: validation needs a validation share above 0")
        return self


class Recipe(_Section):
    """Epochs and learning rate. `milestones` are shares of the epochs, for `schedule: step` only."""

    epochs: Annotated[int, Field(gt=0)]
    lr: Annotated[float, Field(gt=0)]
    schedule: Literal["step", "cosine", "one_cycle"] = "cosine"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones go together")
        return self


class Training(_Section):
    """SGD with Nesterov momentum; a recipe for the dense networks and one for each init of the pruned ones.

    `precision: bfloat16` computes under autocast, for devices with arithmetic for it; `compile` uses torch.compile
    (needs a C++ compiler; `psap bench train` shows whether it pays back). The held-out images are scored after every
    `score_every` epochs, for the learning curve, and after the last one.
    """

    batch_size: Annotated[int, Field(gt=0)] = 128
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    score_every: Annotated[int, Field(ge=1)] = 1
    dense: Recipe
    pretrained: Recipe
    scratch: Recipe


class Claims(_Section):
    """Which methods of the suite play which part in the claims; all others are baselines."""

    method: Name = "psap"
    protection: Name = "psap_soft"
    adaptivity: Name = "psap_uniform"
    plain: Name = "psap_plain"


class Suite(_Section):
    """A grid of runs: models x inits x methods x targets x seeds, and the dense networks that they start from.

    `variants`: methods of this suite only, described as in methods.yaml; `base` names a method to differ from.
    """

    title: str
    note: str = ""
    hardware: Literal["cpu", "gpu"] = "cpu"
    data: Data
    models: tuple[str, ...] = Field(min_length=1)
    variants: dict[Name, dict[str, Any]] = {}
    methods: dict[Init, tuple[Name, ...]] = Field(min_length=1)
    targets: tuple[Target, ...] = Field(min_length=1)
    measure: Literal["macs", "params"] = "macs"
    seeds: tuple[Seed, ...] = Field(min_length=1)
    claims: Claims = Claims()
    training: Training

    @field_validator("models", "targets", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("an entry is listed twice")
        return values


class Retrain(_Section):
    """Not a pruning method: the compacted architecture of another method's run, trained from new weights."""

    retrain: Name
    lr_scale: LrScale = 1.0


class Tuned(Method):
    """A pruning method and what it makes of the suite's learning rate: `lr_scale` times that."""

    lr_scale: LrScale = 1.0


class Preset(NamedTuple):
    """A pruning method as it runs from pretrained weights and as it runs from scratch."""

    pretrained: Tuned
    scratch: Tuned


Methods = dict[str, Preset | Retrain]


def load_methods(path: Path, variants: Mapping[str, dict[str, Any]] | None = None, suite: str = "") -> Methods:
    """Read params/methods.yaml, a mapping from a method's name to its parameters, and add a suite's `variants`.

    A section `scratch` in a method holds what differs when it prunes from scratch; `suite` names the variants' file in
    messages.
    """
    values = read_mapping(path)
    places = {name: f"{path}: {name}" for name in values}
    for name, changes in (variants or {}).items():
        places[name] = f"{suite}: variants.{name}"
        if name in values:
            raise PsapError(f"{places[name]}: there is a method of this name already; give the variant another")
        base = changes.get("base", "")
        if base and not isinstance(values.get(base), dict):
            raise PsapError(f"{places[name]}.base: unknown method {base!r}{near(str(base), values)}")
        own = {key: value for key, value in changes.items() if key != "base"}
        values[name] = _merged(values.get(base, {}), own)
    methods = {name: _method(values[name], where) for name, where in places.items()}
    for name, method in methods.items():
        if isinstance(method, Retrain) and not isinstance(methods.get(method.retrain), Preset):
            raise PsapError(f"{places[name]}.retrain: {method.retrain!r} is not a pruning method of this file")
    return methods


def _method(values: Any, where: str) -> Preset | Retrain:
    if not isinstance(values, dict):
        raise PsapError(f"{where}: must be a mapping of parameters to values")
    if "retrain" in values:
        return validated(Retrain, values, where)
    changes = values.get("scratch", {})
    if not isinstance(changes, dict):
        raise PsapError(f"{where}.scratch: must be a mapping of parameters to values")
    pretrained = {name: value for name, value in values.items() if name != "scratch"}
    scratch = validated(Tuned, _merged(pretrained, changes), f"{where}.scratch" if changes else where)
    return Preset(validated(Tuned, pretrained, where), scratch)


def load_suite(path: Path, methods_file: Path) -> tuple[Suite, Methods]:
    """Read a suite and the methods that it may name, checked; PsapError with one line on the first mistake."""
    suite = validated(Suite, read_mapping(path), str(path))
    methods = load_methods(methods_file, suite.variants, str(path))
    for init, names in suite.methods.items():
        for name in names:
            if name not in methods:
                raise PsapError(f"{path}: methods.{init}: unknown method {name!r}{near(name, methods)}")
            method = methods[name]
            if isinstance(method, Retrain) and method.retrain not in names:
                raise PsapError(f"{path}: methods.{init}: {name} retrains {method.retrain}, which is not in the list")
    for model in suite.models:
        try:
            check_name(model)
        except PsapError as error:
            raise PsapError(f"{path}: models: {error}") from None
    return suite, methods


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, section by section."""
    merged = dict(values)
    for name, change in changes.items():
        both = isinstance(change, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], change) if both else change
    return merged
