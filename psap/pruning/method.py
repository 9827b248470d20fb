"""What a pruning method is: criterion x allocation x reconstruction, on a schedule. The defaults are PSAP."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from psap.pruning.registry import BUILT_IN, check_known

Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Schedule(_Section):
    """When pruning steps happen: from `start` to `freeze` (shares of the epochs), every `interval` epochs."""

    kind: Literal["one_shot", "constant", "asymptotic", "cubic"] = "cubic"
    start: Share = 0.0
    freeze: Share = 0.3
    interval: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start > self.freeze:
            raise ValueError(f"start {self.start} lies after freeze {self.freeze}")
        return self


class Bounds(_Section):
    """Least and largest ratio of a group that pruning may take."""

    min_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.9

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_ratio > self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} is larger than max_ratio {self.max_ratio}")
        return self


class Sparsity(_Section):
    """How the weight sparsity ratio is read and what it does; see docs/method.md, allocation."""

    scale: Literal["model", "group"] = "group"
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    multiple: Annotated[float, Field(gt=0)] = 0.5
    live_only: bool = True
    alpha: Annotated[float, Field(ge=0)] = 1.0


class Protection(_Section):
    """Which channels the supervised gradients protect, and what becomes of the rest until the next step.

    See docs/method.md, protective reconstruction.
    """

    when: Literal["before", "after"] = "before"
    signal: Literal["weight_gradient", "gate_gradient"] = "weight_gradient"
    quantile: Share = 0.7
    share: Share = 0.3
    immunity: Annotated[int, Field(ge=0)] = 0
    rest: Literal["free", "hold"] = "hold"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.when == "before" and self.signal == "gate_gradient":
            raise ValueError("signal gate_gradient is read at closed gates, that is, with when: after")
        return self


class Method(_Section):
    """A pruning method. Defaults: PSAP. PsapError for a criterion, allocation or reconstruction that nobody registered.

    `criterion`: how channels are scored; `allocation`: how the ratio is shared out among groups; `reconstruction`: what
    becomes of pruned channels. Built in, or registered (docs/extending.md).
    `window`: iterations of gradients that a decision looks at. `round_to`: what remains of a group is a multiple of it.
    """

    criterion: str = "l2"
    allocation: str = "sparsity"
    reconstruction: str = "protective"
    schedule: Schedule = Schedule()
    bounds: Bounds = Bounds()
    sparsity: Sparsity = Sparsity()
    protection: Protection = Protection()
    window: Annotated[int, Field(ge=1)] = 10
    momentum: Literal["clear", "keep"] = "clear"
    bn_penalty: Annotated[float, Field(ge=0)] = 0.0
    round_to: Annotated[int, Field(ge=1)] = 1

    @field_validator("criterion", "allocation", "reconstruction")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        assert info.field_name
        check_known(info.field_name, name)
        return name

    @property
    def reads_sparsity(self) -> bool:
        """Whether the allocation is shown the groups' weight sparsity ratios."""
        return self.allocation not in ("uniform", "global")

    @property
    def protects_before(self) -> bool:
        """Whether live channels are protected from a choice by gradients gathered before it."""
        return self.reconstruction == "protective" and self.protection.when == "before"

    @property
    def protects_after(self) -> bool:
        """Whether pruned channels can prove important, and come back, in a window after the step."""
        return self.reconstruction == "protective" and self.protection.when == "after"

    @property
    def gated(self) -> bool:
        """Whether pruned channels keep their weights behind closed gates until their window ends."""
        return self.protects_after and self.protection.signal == "gate_gradient"

    @property
    def holds(self) -> bool:
        """Whether pruned channels that did not prove important stay at zero, banked, until the next step."""
        return self.reconstruction == "protective" and self.protection.rest == "hold"

    def effective(self) -> dict[str, Any]:
        """The parameters that have an effect, as plain values: what a run is made with, and known by.

        Left out is only what cannot have an effect, whatever its value: a default may change.
        """
        values = self.model_dump()
        if not self.reads_sparsity:
            del values["sparsity"]
        else:
            del values["sparsity"]["multiple" if self.sparsity.scale == "model" else "quantile"]
        if self.reconstruction != "protective":
            del values["protection"]
        judges_weights = self.criterion != "taylor" and self.criterion in BUILT_IN["criterion"]
        if self.reconstruction != "protective" and judges_weights:
            del values["window"]
        if self.round_to == 1:  # every number is a multiple of it
            del values["round_to"]
        if self.schedule.kind == "one_shot":
            values["schedule"] = {"kind": "one_shot", "freeze": self.schedule.freeze}
        return values
