"""What a pruning method is: criterion x allocation x reconstruction, on a schedule. The defaults are PSAP."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from psap.pruning.method_sections import Bounds, Protection, Ratio, Schedule, Section, Sparsity
from psap.pruning.registry import BUILT_IN, check_known
from psap.utils.bounds import Batch, Glob, Name, Penalty
from psap.utils.mappings import JsonObject


def _ordered(ratios: tuple[float, float]) -> tuple[float, float]:
    if ratios[0] > ratios[1]:
        raise ValueError(f"the least ratio {ratios[0]:g} is larger than the largest, {ratios[1]:g}")
    return ratios


Ratios = Annotated[tuple[Ratio, Ratio], AfterValidator(_ordered)]

# What stood for all runs before it was a choice. Runs are not known by it, so that those from before stay valid.
_FIRST: dict[str, dict[str, Any]] = {"sparsity": {"weights": "raw"}, "protection": {"scope": "group", "pulse": 0.0}}


class Method(Section):
    """A pruning method: what is pruned, how much of each group, and what becomes of it. The defaults are PSAP.

    Every argument is an attribute, and says there what it means. Ratios, shares and quantiles have no unit; a schedule
    counts epochs, a window iterations.

    Of the paper (PSAP, arXiv:2303.11881) only the abstract is known here, and it has no equation: docs/method.md says
    what it states, and which choices are ours. Criteria and schedules name the sources of their own.

    Raises:
        PsapError: For a part that nobody has registered (docs/extending.md).
        pydantic.ValidationError: For a value out of bounds.
    """

    criterion: Name = "l2"
    """The score of a channel, of which the lowest are pruned: `l1`, `l2` norm of its filters, `fpgm` distance to the
    group's others, `bn_scale`, `taylor`, `taylor_bn` first-order change of the loss, `random`.
    """
    allocation: Name = "sparsity"
    """How the target is shared out among groups: one ratio (`uniform`), by weight `sparsity`, or one threshold over all
    scores (`global`).
    """
    reconstruction: Name = "protective"
    """What becomes of pruned channels: zero for good (`hard`), free to regrow (`soft`), given back where gradients ask
    for it (`protective`).
    """
    schedule: Schedule = Schedule()
    """When steps come and how the target rises."""
    bounds: Bounds = Bounds()
    """What a group may lose."""
    ignore: tuple[Glob, ...] = ()
    """Layers that keep all of their outputs, such as `[stem, "head.*"]`: globs over the names of modules, each with all
    that is in it. What must go together with such a layer stays whole too.
    """
    ratios: dict[Glob, Ratios] = Field(default_factory=dict)
    """Least and largest share of the outputs to prune of some layers, such as `{"layer4.*": [0, 0.3]}`, in place of
    `bounds`. Of several globs that a layer matches the last one counts.
    """
    through_norms: bool = False
    """Also prune channels that a LayerNorm, RMSNorm or GroupNorm looks at together, such as the residual stream of a
    transformer. Once they stay zero the norm leaves them out of its mean and variance, as in the compacted network.
    """
    sparsity: Sparsity = Sparsity()
    """For `allocation: sparsity`."""
    protection: Protection = Protection()
    """For `reconstruction: protective`."""
    window: Batch = 20
    """Iterations of gradients that a decision looks at."""
    momentum: Literal["clear", "keep"] = "clear"
    """What the optimiser remembers of pruned channels: `clear` it, or `keep` it until the freeze."""
    bn_penalty: Penalty = 0.0
    """L1 penalty on batch-norm scales until the freeze (network slimming)."""
    round_to: Batch = 1
    """What remains of a group is a multiple of it; of heads their widths together."""

    @field_validator("criterion", "allocation", "reconstruction")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        assert info.field_name
        check_known(info.field_name, name)
        return name

    @classmethod
    def of_run(cls, values: JsonObject) -> Self:
        """The method that a run was made with.

        Args:
            values: What `identity` gave for it.

        Returns:
            A method that acts as the run's did, whatever the defaults are now.
        """
        first = {name: usual | values[name] for name, usual in _FIRST.items() if name in values}
        return cls.model_validate({**values, **first})

    @property
    def reads_sparsity(self) -> bool:
        """Whether the allocation is shown the groups' weight sparsity ratios."""
        return self.allocation not in ("uniform", "global")

    def identity(self) -> JsonObject:
        """The parameters that have an effect: what a run is made with, and known by.

        Left out is only what cannot have an effect, whatever its value: a default may change.

        Returns:
            Plain values, as in JSON.
        """
        values = self.model_dump(mode="json")
        if not self.reads_sparsity:
            del values["sparsity"]
        else:
            del values["sparsity"]["multiple" if self.sparsity.scale == "model" else "quantile"]
            _without(values["sparsity"], _FIRST["sparsity"])
        if self.reconstruction != "protective":
            del values["protection"]
        else:
            if self.protection.when == "after":  # there it is the quantile that says how many come back
                del values["protection"]["pulse"]
            _without(values["protection"], _FIRST["protection"])
        judges_weights = self.criterion not in ("taylor", "taylor_bn") and self.criterion in BUILT_IN["criterion"]
        if self.reconstruction != "protective" and judges_weights:
            del values["window"]
        if self.round_to == 1:  # every number is a multiple of it
            del values["round_to"]
        _without(values, {"ignore": [], "ratios": {}, "through_norms": False})
        if self.schedule.kind == "one_shot":
            values["schedule"] = {"kind": "one_shot", "freeze": self.schedule.freeze}
        return values


def _without(section: JsonObject, first: JsonObject) -> None:
    for name, value in first.items():
        if section.get(name) == value:
            del section[name]
