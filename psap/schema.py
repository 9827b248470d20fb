"""The sections of a suite that say what is trained on, and how."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

Positive = Annotated[int, Field(gt=0)]
_Level = Annotated[float, Field(gt=0, le=1)]
Colour = tuple[_Level, _Level, _Level]


class Section(BaseModel):
    """A mapping in a YAML file: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Growing(Section):
    """A section that has grown: what is not set in it is not in its runs' identities either, which so stay the same."""

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {name: value for name, value in values.items() if value is not None or name not in self.later()}

    @classmethod
    def later(cls) -> tuple[str, ...]:
        """The keys that came later; None is each one's default."""
        raise NotImplementedError


class Photos(Section):
    """Images of any size, decoded when they are needed: from a random part to `size` x `size` pixels in training
    (at least `min_area` of the image, Szegedy et al., arXiv:1409.4842, section 6), from the middle in evaluation.

    `classes`: how many of ImageNet's 1,000 classes the folder has (source imagenet). `mean`, `std`: by channel, of
    pixels in 0..1; those of ImageNet unless a network's published weights ask for others.
    """

    size: Annotated[int, Field(ge=32)] = 224
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    classes: Positive = 1000
    mean: Colour = (0.485, 0.456, 0.406)
    std: Colour = (0.229, 0.224, 0.225)


class Data(_Growing):
    """The data set, its splits, and how training images are augmented.

    `path`: a folder of images where the source takes one; $NAME in it stands for an environment variable.
    `train_images`: a balanced subset of that many, by a fixed seed. `validation`: the share of the training images set
    aside by seed, never trained on; `evaluate: validation` scores a run on it and leaves the test images alone: that is
    how choices are made. `photos`: for images that do not fit into memory at one size.
    """

    source: str
    path: str | None = None
    train_images: Positive | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    evaluate: Literal["test", "validation"] = "test"
    pad: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    photos: Photos | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.evaluate == "validation" and self.validation == 0:
            raise ValueError("evaluate: validation needs a validation share above 0")
        if self.photos and self.source not in ("imagenet", "folder"):
            raise ValueError(f"photos are for the sources imagenet and folder, not {self.source}")
        if self.source == "imagenet" and not self.photos:
            raise ValueError("source imagenet needs the section photos, such as photos: {size: 224}")
        if self.photos and self.pad:
            raise ValueError("pad is for small images; photos are cut by photos.min_area")
        return self

    @property
    def classes(self) -> int | None:
        """How many of ImageNet's classes are expected; None for other sources."""
        return self.photos.classes if self.photos and self.source == "imagenet" else None

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("photos",)


class Recipe(_Growing):
    """Epochs and learning rate. `milestones` are shares of the epochs, for `schedule: step` only.

    `weights: published`, for dense networks only, starts from the weights that timm or torchvision publish.
    """

    weights: Literal["published"] | None = None
    epochs: Positive
    lr: Annotated[float, Field(gt=0)]
    schedule: Literal["step", "cosine", "one_cycle"] = "cosine"
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones go together")
        return self

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("weights",)


class Training(_Growing):
    """SGD with Nesterov momentum; a recipe for the dense networks and one for each init of the pruned ones.

    `batch_size` images make an optimiser's step, whatever the number of devices; they are taken `micro_batch` at a time
    (all at once by default), which is also what batch-norm sees; to train on several devices it must be given.
    `clip_norm` bounds the gradient's norm.
    `precision: bfloat16` and `float16` (with loss scaling) compute under autocast, for devices with arithmetic for it;
    `compile` uses torch.compile (needs a C++ compiler; `psap bench train` shows whether it pays back). The held-out
    images are scored after every `score_every` epochs, for the learning curve, and after the last one.
    `dense: published` (None) takes the dense networks with their published weights, and trains them no further.
    """

    batch_size: Positive = 128
    micro_batch: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    compile: bool = False
    score_every: Annotated[int, Field(ge=1)] = 1
    dense: Recipe | None
    pretrained: Recipe
    scratch: Recipe

    @field_validator("dense", mode="before")
    @classmethod
    def _published(cls, value: Any) -> Any:
        return None if value == "published" else value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.micro_batch and self.batch_size % self.micro_batch:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch {self.micro_batch}")
        if self.pretrained.weights or self.scratch.weights:
            raise ValueError(
                "weights: published belongs to the recipe `dense`; pruned networks start from the dense ones"
            )
        return self

    @property
    def trains_from_new_weights(self) -> bool:
        """Whether the dense networks' whole training is known: it is here that they are trained."""
        return self.dense is not None and not self.dense.weights

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("micro_batch", "clip_norm")
