"""Networks with the ImageNet weights that timm and torchvision publish, or that the user has put into a folder."""

import logging
import os
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from torch import nn

from psap.data.schema import Photos
from psap.errors import PsapError
from psap.models import build
from psap.models.names import split
from psap.models.state_dicts import Tensors, fill, read, reason
from psap.utils.files import sha256

FOLDER = "PSAP_WEIGHTS"  # environment variable: a folder with <library>.<name>.safetensors or .pth


class Published(NamedTuple):
    """A network, where its weights come from, and the digest of all its tensors."""

    network: nn.Module
    origin: str
    digest: str


def load(name: str, classes: int, photos: Photos | None = None) -> Published:
    """Build the network `name` with published weights, for the `classes` that they were trained for.

    They are taken from the folder $PSAP_WEIGHTS, from the caches of torch and Hugging Face, or else downloaded; nothing
    but tensors is read. Raises PsapError where there are none, where they are another network's, and where `photos`
    normalises images otherwise than the weights' images were.
    """
    model = build(name, classes)
    if photos:
        _check_normalised(name, model, photos)
    tensors, origin = _tensors(name, model)
    fill(model, tensors, f"{name} with {classes} classes", origin)
    content = safetensors.torch.save({key: tensor.contiguous().clone() for key, tensor in model.state_dict().items()})
    return Published(model, origin, sha256(content))


def here(name: str) -> bool:
    """Whether `load` would find the weights of the network `name` without a download; opens none of them."""
    library, entry = split(name)
    if _in_folder(name):
        return True
    urls, hub = [], None
    if library == "torchvision":
        from torchvision import models

        urls = [weights.url for weights in list(models.get_model_weights(entry))[:1]]
    elif library == "timm":
        import timm
        from huggingface_hub import try_to_load_from_cache

        described = timm.get_pretrained_cfg(entry)
        urls, hub = [described.url] if described and described.url else [], described and described.hf_hub_id
        if hub and isinstance(try_to_load_from_cache(hub, "model.safetensors"), str):
            return True
    return any(Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]).exists() for url in urls)


def _tensors(name: str, model: nn.Module) -> tuple[Tensors, str]:
    library, entry = split(name)
    if file := _in_folder(name):
        return read(file), str(file)
    if library == "torchvision":
        return _of_torchvision(entry)
    if library == "timm":
        return _of_timm(entry, model)
    raise PsapError(f"{name} has no published weights; {_hint(name)}")


def _in_folder(name: str) -> Path | None:
    folder = os.environ.get(FOLDER)
    if folder and not Path(folder).is_dir():
        raise PsapError(f"{FOLDER}={folder}: no such folder")
    stem = name.replace(":", ".")
    files = [Path(folder, stem + suffix) for suffix in (".safetensors", ".pth")] if folder else []
    return next((file for file in files if file.exists()), None)


def _of_torchvision(entry: str) -> tuple[Tensors, str]:
    from torchvision import models

    weights = list(models.get_model_weights(entry))
    if not weights:
        raise PsapError(f"torchvision:{entry} has no published weights; {_hint(f'torchvision:{entry}')}")
    first = weights[0]  # IMAGENET1K_V1, those that the pruning literature starts from
    file = Path(torch.hub.get_dir(), "checkpoints", first.url.rpartition("/")[2])
    try:
        return first.get_state_dict(progress=False, check_hash=True, weights_only=True), str(file)
    except Exception as error:  # no network, a proxy that refuses, a file cut short
        raise PsapError(
            f"torchvision:{entry}: its weights are not on this machine and could not be downloaded "
            f"({reason(error)}); put {file.name} of {first.url} into {file.parent}, or {_hint(f'torchvision:{entry}')}"
        ) from None


def _of_timm(entry: str, model: nn.Module) -> tuple[Tensors, str]:
    import timm

    described = getattr(model, "pretrained_cfg", {})
    hub, url = described.get("hf_hub_id"), described.get("url")
    if not (hub or url):
        raise PsapError(f"timm:{entry} has no published weights; {_hint(f'timm:{entry}')}")
    place = f"model.safetensors of https://huggingface.co/{hub}" if hub else str(url)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would tell of every attempt
    try:
        tensors: Tensors = timm.create_model(entry, pretrained=True).state_dict()
        return tensors, place
    except Exception as error:
        raise PsapError(
            f"timm:{entry}: its weights are not on this machine and could not be downloaded "
            f"({reason(error).partition('.')[0]}); fetch {place}, and {_hint(f'timm:{entry}')}"
        ) from None


def _hint(name: str) -> str:
    return f"name a folder with {name.replace(':', '.')}.safetensors in the environment variable {FOLDER}"


def _check_normalised(name: str, model: nn.Module, photos: Photos) -> None:
    described = getattr(model, "pretrained_cfg", {})
    for key in ("mean", "std"):
        wanted = described.get(key)
        if wanted and any(abs(a - b) > 0.01 for a, b in zip(wanted, getattr(photos, key), strict=True)):
            raise PsapError(
                f"{name}: its weights were trained on images with {key} {list(wanted)}; say so: photos: {{{key}: "
                f"{list(wanted)}}}"
            )
