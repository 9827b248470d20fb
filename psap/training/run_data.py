"""The images of one run: what it trains on, what it is scored on, its validation images."""

from typing import Any

import torch
from torch import Tensor

from psap.data.batches import Batches
from psap.data.dataset import DataSet, Split, cut_validation, subset
from psap.data.photo_batches import PhotoBatches
from psap.data.preprocessing import preprocessing
from psap.data.sharding import Shard
from psap.models.architecture import CLASS_NAMES, PREPROCESSING
from psap.training.schema import RunConfig
from psap.utils import distributed
from psap.utils.mappings import JsonObject

# Draws the subset of the training images and the validation split of all runs of a suite, unless each draws its own.
_SPLIT_SEED = 0


class RunData:
    """The batches of a run, given its configuration and its data set.

    `workers`: processes that decode photographs (0: none but this one). `told` is what a user of the network has to
    know beside it: how an image becomes its input, and its classes.
    """

    def __init__(self, config: RunConfig, data: DataSet, device: torch.device, workers: int) -> None:
        self._config, self._data, self._device, self._workers = config, data, device, workers
        photos = config.data.photos
        self.classes, self.channels = len(data.classes), data.channels
        self.image_size: list[int] = [photos.size] * 2 if photos else list(data.train.images.shape[1:3])
        self.told: JsonObject = {
            PREPROCESSING: preprocessing(data, photos),
            CLASS_NAMES: data.classes,
        }
        trained_on, scored_on, self._validation = self._splits()
        self.training, self.scoring = self._batches(trained_on, True), self._batches(scored_on, False)

    @property
    def validation(self) -> Batches | PhotoBatches | None:
        """The validation images, None where none are set aside."""
        return None if self._validation is None else self._batches(self._validation, False)

    @property
    def images_per_epoch(self) -> int:
        """Images that all ranks together train on in an epoch; the only batch may be an incomplete one."""
        complete = self.steps_per_epoch * self._config.training.batch_size
        return min(complete, len(self.training.labels))

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the optimiser in an epoch."""
        return len(self.training) // self.training.accumulation_steps

    def example(self, count: int) -> Tensor:
        """Random numbers (count, C, H, W) in the shape of images: enough to trace, count and time a network."""
        numbers = torch.Generator().manual_seed(self._config.seed)
        return torch.randn(count, self.channels, *self.image_size, generator=numbers).to(self._device)

    def _splits(self) -> tuple[Split[Any], Split[Any], Split[Any] | None]:
        """What is trained on, what is scored, and the validation split."""
        settings, train, held_out = self._config.data, self._data.train, self._data.test
        seed = self._config.seed if settings.by_seed else _SPLIT_SEED
        validation = None
        if settings.validation:
            train, validation = cut_validation(train, settings.validation, seed)
            held_out = validation if settings.evaluate == "validation" else held_out
        if settings.train_images:
            train = subset(train, settings.train_images, seed)
        return train, held_out, validation

    def _batches(self, split: Split[Any], train: bool) -> Batches | PhotoBatches:
        """`split` to train on or to score: here alone is asked whether images are photographs."""
        settings, training, data = self._config.data, self._config.training, self._data
        size, micro = training.batch_size, training.micro_batch
        common: dict[str, Any] = {
            "device": self._device,
            "shard": Shard(distributed.rank(), distributed.world_size(), micro),
            "train": train,
        }
        if train:
            common |= {"seed": self._config.seed, "flip": settings.flip}
        if photos := settings.photos:
            at_once = size if train else micro or size
            return PhotoBatches(split, at_once, photos, workers=self._workers, **common)
        at_once = size if train else max(size, 500)
        return Batches(split, at_once, data.mean, data.std, pad=settings.pad, **common)
