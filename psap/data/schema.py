"""The section `data` of a suite: which images, how they are split and augmented."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from psap.utils.bounds import Count, Name, Pixels, Place
from psap.utils.sections import Growing, Section

_Level = Annotated[float, Field(gt=0, le=1)]
Colour = tuple[_Level, _Level, _Level]


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


class Data(Growing):
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
