"""What a pruning method is: criterion x allocation x reconstruction, on a schedule. The defaults are PSAP."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from psap.pruning.registry import BUILT_IN, check_known
from psap.utils.bounds import Batch, Epochs, Glob, Name, Penalty, Rate
from psap.utils.mappings import JsonObject

Fraction = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, lt=1)]


def _ordered(ratios: tuple[float, float]) -> tuple[float, float]:
    if ratios[0] > ratios[1]:
        raise ValueError(f"the least ratio {ratios[0]:g} is larger than the largest, {ratios[1]:g}")
    return ratios


Ratios = Annotated[tuple[Ratio, Ratio], AfterValidator(_ordered)]

# What stood for all runs before it was a choice. Runs are not known by it, so that those from before stay valid.
_FIRST: dict[str, dict[str, Any]] = {"sparsity": {"weights": "raw"}, "protection": {"scope": "group", "pulse": 0.0}}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Schedule(_Section):
    """When pruning steps happen, and what they aim at."""

    kind: Literal["one_shot", "constant", "asymptotic", "cubic"] = "cubic"
    """How a step's target rises: `constant` (whole at once), `cubic`, `asymptotic` (ASFP); `one_shot` has the freeze as
    its only step.
    """
    start: Fraction = 0.0
    """Share of the epochs after which the first step comes."""
    freeze: Fraction = 0.6
    """Share of the epochs after which the last step comes, which makes the masks final."""
    interval: Epochs = 1
    """Epochs from one step to the next."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start > self.freeze:
            raise ValueError(f"start {self.start} lies after freeze {self.freeze}")
        return self


class Bounds(_Section):
    """Least and largest ratio of a group that pruning may take."""

    min_ratio: Ratio = 0.0
    """Least share of a group's channels to prune."""
    max_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Largest share of a group's channels to prune; one channel stays in any case."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_ratio > self.max_ratio:
            raise ValueError(f"min_ratio {self.min_ratio} is larger than max_ratio {self.max_ratio}")
        return self


class Sparsity(_Section):
    """How the weight sparsity ratio is read and what it does; see docs/method.md, allocation."""

    weights: Literal["raw", "folded"] = "folded"
    """The weights as they are, or `folded`: times scale / standard deviation of the batch-norm behind them, as
    inference sees them. In front of batch-norm, the size of a raw weight means nothing.
    """
    scale: Literal["model", "group"] = "model"
    """Which weights count as small: against the `model`'s or against the `group`'s own."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """With `scale: model`: the threshold is this quantile of the absolute weights at the first step."""
    multiple: Rate = 0.5
    """With `scale: group`: the threshold is so many times the root mean square of the group's weights."""
    live_only: bool = True
    """Leave out the channels that are pruned at the time."""
    alpha: Penalty = 0.25
    """Exponent by which a group's ratio follows its sparsity; 0 is uniform."""


class Protection(_Section):
    """Which channels the supervised gradients protect, and what becomes of the rest until the next step.

    See docs/method.md, protective reconstruction.
    """

    when: Literal["before", "after"] = "before"
    """`before`: live channels with a strong gradient are not chosen; `after`: pruned channels with one come back."""
    signal: Literal["weight_gradient", "gate_gradient"] = "gate_gradient"
    """The gradient that is read: of the channel's weights, or of a gate on its output."""
    scope: Literal["group", "network"] = "network"
    """Where signals are ranked: in each `group`, or across the `network`, so that a group which the loss hangs on is
    protected more; then the target is met by the other groups as long as they can.
    """
    quantile: Fraction = 0.8
    """Protected is the share 1 - `quantile` with the strongest signal: of a group's live (`before`) or pruned (`after`)
    channels, or of all channels of the network.
    """
    share: Fraction = 0.7
    """Largest share of a group's channels to protect."""
    pulse: Fraction = 0.03
    """With `when: before`, the share that comes back all the same: the pruned channels whose zeroed weights have the
    strongest gradient in the first iteration, the pulse; a share of the same channels as `quantile`.
    """
    immunity: Annotated[int, Field(ge=0, le=10**5)] = 1
    """Steps that a channel which came back is protected for."""
    rest: Literal["free", "hold", "fix"] = "fix"
    """What becomes of the other pruned channels: `free` to regrow until the next step, to `hold` at zero until then, or
    to `fix` at zero for good, so that only newly pruned ones can come back.
    """


class Method(_Section):
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
    ratios: dict[Glob, Ratios] = {}
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
