"""What a user writes in params/: the schema of suites and methods."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from psap.data.schema import Data
from psap.pruning.method import Method
from psap.suites import plugins
from psap.training.schema import Distillation, Optimisation, Recipe, Retraining
from psap.utils.bounds import MOST_RUNS, Decay, Model, Name, Place, Rate, Seed
from psap.utils.mappings import JsonObject
from psap.utils.sections import Section

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


def _or_published(schema: JsonObject) -> None:
    schema["anyOf"][1:] = [{"const": "published"}]


class Training(Optimisation):
    """SGD with Nesterov momentum; a recipe for the dense networks and one for each init of the pruned ones."""

    dense: Recipe | None = Field(json_schema_extra=_or_published)
    """Recipe of the dense networks; `published` takes them with their published weights and trains them no further."""
    pretrained: Recipe
    """Recipe of networks pruned from the dense ones."""
    scratch: Recipe
    """Recipe of networks pruned from new weights."""

    @field_validator("dense", mode="before")
    @classmethod
    def _published(cls, value: Any) -> Any:
        return None if value == "published" else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.dense and self.dense.distill) or self.scratch.distill:
            raise ValueError(
                "distill belongs to the recipe `pretrained`; only its networks have a dense one that they start from"
            )
        if self.pretrained.weights or self.scratch.weights:
            raise ValueError(
                "weights: published belongs to the recipe `dense`; pruned networks start from the dense ones"
            )
        return self

    @property
    def trains_from_new_weights(self) -> bool:
        """Whether the dense networks' whole training is known: it is here that they are trained."""
        return self.dense is not None and not self.dense.weights


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
    variants: dict[Name, JsonObject] = Field(default_factory=dict)
    """Methods of this suite only, described as in `methods.yaml`; `base` names a method to differ from."""
    tuned: dict[Name, JsonObject] = Field(default_factory=dict)
    """Settings that methods have in this suite, in place of those of `methods.yaml`, such as `l1: {lr_scale: 0.5}`."""
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


class Retrain(Retraining):
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
    distill: Distillation | None = None
    """In place of the recipe's, from pretrained weights only."""
    ema: Decay | None = None
    """In place of the recipe's."""
    code: Place | None = None
    """A Python file that registers parts which the method names (docs/extending.md)."""

    @model_validator(mode="before")
    @classmethod
    def _registered(cls, values: Any) -> Any:
        """The file runs before the names are looked up."""
        if isinstance(values, dict) and isinstance(values.get("code"), str):
            plugins.load(Path(values["code"]))
        return values

    def trains(self, recipe: Recipe) -> Recipe:
        """The suite's recipe as the method changes it."""
        own = {"distill": self.distill, "ema": self.ema}
        changes = {name: value for name, value in own.items() if value is not None}
        return recipe.model_copy(update={"lr": recipe.lr * self.lr_scale, **changes})

    @cached_property
    def in_effect(self) -> Method:
        """The method alone, with defaults in place of settings that have no effect: as runs are trained and known."""
        chosen = self.identity()
        return Method.of_run({name: chosen[name] for name in Method.model_fields if name in chosen})


class MethodPair(NamedTuple):
    """A pruning method as it runs from pretrained weights and as it runs from scratch."""

    pretrained: MethodConfig
    scratch: MethodConfig


Methods = dict[str, MethodPair | Retrain]
