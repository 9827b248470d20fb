"""Networks of timm and torchvision with fresh weights, on the smallest images that they take."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torchvision import models

from psap import models as known
from psap.models.names import split
from psap.utils.mappings import JsonObject
from psap.utils.passes import tensors

TORCHVISION = "torchvision:"
CLASSES = 10
_SIZES = (64, 96, 128, 160, 192, 224, 256, 288)
_BOXES = torch.tensor([[2.0, 2.0, 40.0, 40.0], [8.0, 16.0, 60.0, 56.0]])  # where a detector of two stages looks


class Built(NamedTuple):
    """A network in eval mode and an image that it takes, (1, 3, H, W).

    `anew` makes another one with other weights; None where the network's name alone tells how.
    """

    model: nn.Module
    image: Tensor
    anew: Callable[[], nn.Module] | None


def torchvision_networks() -> list[str]:
    """torchvision's networks for classification, segmentation and detection, as `torchvision:<name>`."""
    modules = (models, models.segmentation, models.detection)
    return sorted(f"{TORCHVISION}{name}" for module in modules for name in models.list_models(module=module))


def parameters(name: str) -> int:
    """How many parameters a network has, of torchvision's with its published classes; nothing is allocated or drawn."""
    if name.startswith(TORCHVISION):
        return max(int(weights.meta["num_params"]) for weights in models.get_model_weights(split(name)[1]))
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in timm.create_model(name).parameters())


def built(name: str) -> Built:
    """timm's network `name`, or torchvision's `torchvision:<name>`. Raises whatever it does with the last size tried.

    A network for images of one size is built for a smaller one where its library lets it.
    """
    problem: Exception | None = None
    for options, size in _torchvision_tries(name) if name.startswith(TORCHVISION) else _timm_tries(name):

        def make(options: JsonObject = options) -> nn.Module:
            if name.startswith(TORCHVISION):
                return _torchvision(name, options)
            network: nn.Module = timm.create_model(name, num_classes=CLASSES, **options)
            return network

        try:
            model = make().eval()
            image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                output = model(image)
        except Exception as error:
            problem = error
        else:
            if not isinstance(output, Tensor) and not name.startswith(TORCHVISION):
                raise TypeError(f"its output is a {type(output).__name__}")
            return Built(model, image, make if options or not _is_classifier(name) else None)
    assert problem is not None
    raise problem


def _timm_tries(name: str) -> Iterator[tuple[JsonObject, tuple[int, int]]]:
    described = timm.models.get_pretrained_cfg(name)
    assert described, name
    for size in _SIZES:
        yield {"img_size": size} if described.fixed_input_size else {}, (size, size)
    yield {}, described.input_size[-2:]


def _torchvision_tries(name: str) -> Iterator[tuple[JsonObject, tuple[int, int]]]:
    for size in _SIZES:
        yield {"image_size": size} if split(name)[1].startswith("vit_") else {}, (size, size)


def _is_classifier(name: str) -> bool:
    return not name.startswith(TORCHVISION) or split(name)[1] in models.list_models(module=models)


def _torchvision(name: str, options: JsonObject) -> nn.Module:
    entry = split(name)[1]
    if not options and _is_classifier(name):
        return known.build(name, CLASSES)
    plain = {} if _is_classifier(name) else {"weights_backbone": None}
    network: nn.Module = models.get_model(entry, weights=None, num_classes=CLASSES, **plain, **options)
    return Heads(network) if entry in models.list_models(module=models.detection) else network


class Heads(nn.Module):
    """What a detector computes before it chooses boxes: what its heads say, of two given boxes in a second stage."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector: Any = detector

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """From images (N, 3, H, W); each output has N in front."""
        features = self.detector.backbone(images)
        features = {"0": features} if isinstance(features, Tensor) else features
        if not hasattr(self.detector, "rpn"):
            heads: dict[str, Tensor] = self.detector.head(list(features.values()))
            return heads
        said = {f"rpn{i}": told for i, told in enumerate(tensors(self.detector.rpn.head(list(features.values()))))}
        roi, boxes = self.detector.roi_heads, [_BOXES.to(images)] * len(images)
        for part in ("box", "mask", "keypoint"):
            if pool := getattr(roi, f"{part}_roi_pool", None):
                pooled = pool(features, boxes, [(images.shape[2], images.shape[3])] * len(images))
                second = getattr(roi, f"{part}_predictor")(getattr(roi, f"{part}_head")(pooled))
                for i, told in enumerate(tensors(second)):
                    said[f"{part}{i}"] = told.unflatten(0, (len(images), -1))
        return said
