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

from psap.utils.bounds import Batch, Count, Epochs, Name, Penalty, Pixels, Place, Rate

_Level = Annotated[float, Field(gt=0, le=1)]
Colour = tuple[_Level, _Level, _Level]


class Section(BaseModel):
    """A mapping in a YAML file: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _Growing(Section):
    """A section that has grown: what is not set in it is not in its runs' identities either, which so stay the same."""

    @model_serializer(mode="wrap")
    def _without_unset(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        unset = {name for name in self.later() if values[name] == type(self).model_fields[name].default}
        return {name: value for name, value in values.items() if name not in unset}

    @classmethod
    def later(cls) -> tuple[str, ...]:
        """The keys that came later."""
        raise NotImplementedError


class Photos(Section):
    """Images of any size, decoded when they are needed: from a random part to `size` x `size` pixels in training
    (at least `min_area` of the image, Szegedy et al., arXiv:1409.4842, section 6), from the middle in evaluation.
    """

    size: Pixels = 224
    """Pixels of an image's side."""
    min_area: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Least share of a photograph that a training image shows."""
    classes: Annotated[int, Field(gt=0, le=1000)] = 1000
    """How many of ImageNet's classes the folder has (source `imagenet`)."""
    mean: Colour = (0.485, 0.456, 0.406)
    """By channel, for pixels in 0..1, unless a network's published weights ask for another."""
    std: Colour = (0.229, 0.224, 0.225)
    """By channel, for pixels in 0..1, unless a network's published weights ask for another."""


class Data(_Growing):
    """The data set, its splits, and how training images are augmented."""

    source: Name
    """`digits`, `cifar10`, `imagenet` or `folder`."""
    path: Place | None = None
    """A folder of images where the source takes one; `$NAME` in it stands for an environment variable."""
    train_images: Count | None = None
    """Size of a balanced subset of the training images, drawn by a fixed seed (default: all)."""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training images set aside by seed, never trained on."""
    evaluate: Literal["test", "validation"] = "test"
    """What a run is scored on. For choices use `validation`, which leaves the test images alone."""
    by_seed: bool = False
    """Let each run draw its subset and validation split by its own seed (default: all runs share one draw)."""
    pad: Annotated[int, Field(ge=0, le=4096)] = 0
    """Black pixels added around a training image before a random part of the original size is cut out."""
    flip: bool = False
    """Mirror training images with probability 1/2."""
    photos: Photos | None = None
    """How photographs are decoded, for images that do not fit into memory at one size."""

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
        return ("photos", "by_seed")


class Recipe(_Growing):
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

    @model_validator(mode="after")
    def _effective(self) -> Self:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule: step and milestones go together")
        return self

    @classmethod
    def later(cls) -> tuple[str, ...]:
        return ("weights",)


class Training(_Growing):
    """SGD with Nesterov momentum; a recipe for the dense networks and one for each init of the pruned ones."""

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
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Below `float32`: computed under autocast, on devices with arithmetic for it; `float16` with loss scaling."""
    compile: bool = False
    """Use torch.compile (needs a C++ compiler; `psap bench train` shows whether it pays back)."""
    score_every: Epochs = 1
    """Number of epochs from one scoring of the held-out images to the next; the last epoch is always scored."""
    dense: Recipe | None
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
