"""What a run is made of: the configuration that is hashed, and that the trainer and the optimiser read."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from psap.data.schema import Data
from psap.pruning.method import Method
from psap.utils.bounds import Batch, Decay, Epochs, Measure, Model, Name, Penalty, Place, Precision, Rate, Seed
from psap.utils.mappings import JsonObject
from psap.utils.sections import Growing, Section


class Distillation(Section):
    """Learning from the dense network from which pruning starts, beside the labels (knowledge distillation)."""

    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Its share of the loss; the labels have the rest."""
    temperature: Annotated[float, Field(ge=0.1, le=1000)] = 4.0
    """What scores are divided by first: the higher, the more the small ones count."""


class Recipe(Growing):
    """Epochs and learning rate."""

    weights: Literal["published"] | None = None
    """For dense networks only: start from the weights that timm or torchvision publish."""
    epochs: Epochs
    """Number of passes over the training images."""
    lr: Rate
    """Learning rate, the largest of its schedule."""
    schedule: Literal["step", "cosine", "one_cycle"] = "cosine"
    """`step`: times `gamma` at each milestone; `cosine` to zero; `one_cycle`: up for a third, then down to zero."""
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """Shares of the epochs, for `schedule: step` only."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor at each milestone."""
    distill: Distillation | None = None
    """For `pretrained` only: learn from the dense network too (default: from the labels alone)."""
    ema: Decay | None = None
    """Decay, at each step, of an exponential mean of the weights, which is then the result. Where there is pruning it
    begins after the freeze (default: no mean).
    """

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones go together")
        return self

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("weights", "distill", "ema")

    def described(self) -> JsonObject:
        """What of it decides a result, as plain values."""
        return self.model_dump(mode="json", include=None if self.epochs else {"weights", "epochs", "lr"})


# The recipe of a dense network that is not trained but taken with its published weights.
PUBLISHED = Recipe.model_construct(weights="published", epochs=0, lr=0.0)


class Optimisation(Growing):
    """SGD with Nesterov momentum: what all trainings of a suite share."""

    batch_size: Batch = 128
    """Number of images in an optimiser's step, whatever the number of devices."""
    micro_batch: Batch | None = None
    """Number of images at a time, which is what batch-norm sees (default: the whole batch). Several devices need it."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD, in Nesterov's form."""
    weight_decay: Penalty = 5e-4
    """Weight decay, on all parameters."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss that is spread over all classes."""
    clip_norm: Annotated[float, Field(gt=0, le=1e9)] | None = None
    """Bound on the norm of the gradient, after signals were read from it (default: no bound)."""
    precision: Precision = "float32"
    """Below `float32`: computed under autocast; `float16` with loss scaling. `auto` is `bfloat16` on devices with
    arithmetic for it, else `float32`. The score of the last epoch is always computed in `float32`.
    """
    compile: bool = False
    """Use torch.compile (needs a C++ compiler; `psap bench train` shows whether it pays back)."""
    score_every: Epochs = 1
    """Number of epochs from one scoring of the held-out images to the next; the last epoch is always scored."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        return self

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("micro_batch", "clip_norm")


class TrainConfig(Optimisation):
    """How one network is trained."""

    recipe: Recipe
    """Epochs and learning rate."""


class Retraining(Section):
    """In place of a method: the compacted architecture of another method's run is trained from new weights."""

    retrain: Name
    """The method whose run gives the architecture."""


class Code(Section):
    """A Python file that registers parts of the method."""

    file: Place
    """Its path."""
    sha256: str
    """The digest of its content, so that an edit of it makes other runs."""


class RunConfig(Section):
    """The resolved configuration of a run: all that decides its result, but for data and code."""

    model: Model
    """Name of the network."""
    seed: Seed
    """Seed of everything random."""
    data: Data
    """Where they lie decides nothing: their digest stands for them."""
    training: TrainConfig
    """How the network is trained."""
    init: Literal["pretrained", "scratch"] | None = None
    """What pruning starts from; None for a dense run, as all below."""
    target: float | None = None
    """Share of `measure` to remove."""
    measure: Measure = "macs"
    """What the target is a share of."""
    method: Method | Retraining | None = None
    """How channels are pruned, or whose architecture is trained."""
    code: Code | None = None
    """The user's own parts of the method."""

    def described(self) -> JsonObject:
        """The configuration as a run's row holds it, and as it is hashed: the one place where it is a dict."""
        training = self.training.model_dump(exclude={"recipe"}) | {"recipe": self.training.recipe.described()}
        described = {"model": self.model, "seed": self.seed, "data": self.data.model_dump(exclude={"path"})}
        described |= {"training": training}
        if self.method:
            method = self.method.identity() if isinstance(self.method, Method) else self.method.model_dump()
            described |= {"init": self.init, "target": self.target, "measure": self.measure, "method": method}
        return described | ({"code": self.code.model_dump()} if self.code else {})
