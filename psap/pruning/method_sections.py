"""The sections of a method: its schedule, bounds, sparsity and protection."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from psap.utils.bounds import Epochs, Penalty, Rate

Fraction = Annotated[float, Field(ge=0, le=1)]
Ratio = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Some parameters of a method, each with what it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Schedule(Section):
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


class Bounds(Section):
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


class Sparsity(Section):
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


class Protection(Section):
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
