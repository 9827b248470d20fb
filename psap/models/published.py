"""Networks with the ImageNet weights that timm and torchvision publish, or that the user has put into a folder."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.files import sha256
from psap.models import build
from psap.models.names import split

FOLDER = "PSAP_WEIGHTS"  # environment variable: a folder with <library>.<name>.safetensors or .pth


class Published(NamedTuple):
    """A network, where its weights come from, and the digest of all its tensors."""

    network: nn.Module
    origin: str
    digest: str


def load(name: str, classes: int, photos: Mapping[str, Any] | None = None) -> Published:
    """Build the network `name` with published weights, for the `classes` that they were trained for.

    They are taken from the folder $PSAP_WEIGHTS, from the caches of torch and Hugging Face, or else downloaded; nothing
    but tensors is read. Raises PsapError where there are none, where they are another network's, and where `photos`
    normalises images otherwise than the weights' images were.
    """
    model = build(name, classes)
    if photos:
        _check_normalised(name, model, photos)
    tensors, origin = _tensors(name, model)
    _check_fits(name, model, tensors, origin)
    model.load_state_dict(tensors)
    content = safetensors.torch.save({key: tensor.contiguous().clone() for key, tensor in model.state_dict().items()})
    return Published(model, origin, sha256(content))


def _tensors(name: str, model: nn.Module) -> tuple[Mapping[str, Tensor], str]:
    library, entry = split(name)
    if file := _in_folder(name):
        return _read(file), str(file)
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


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        tensors: Mapping[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # besides what the disk says, what a pickle that is none, or more than tensors, raises
        raise PsapError(f"{file}: not a file of weights ({_reason(error)}); replace it") from None
    if not (isinstance(tensors, Mapping) and all(isinstance(tensor, Tensor) for tensor in tensors.values())):
        raise PsapError(f"{file}: not a file of weights alone, name by name; save the network's state_dict() by itself")
    return tensors


def _of_torchvision(entry: str) -> tuple[Mapping[str, Tensor], str]:
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
            f"({_reason(error)}); put {file.name} of {first.url} into {file.parent}, or {_hint(f'torchvision:{entry}')}"
        ) from None


def _of_timm(entry: str, model: nn.Module) -> tuple[Mapping[str, Tensor], str]:
    import timm

    described = getattr(model, "pretrained_cfg", {})
    hub, url = described.get("hf_hub_id"), described.get("url")
    if not (hub or url):
        raise PsapError(f"timm:{entry} has no published weights; {_hint(f'timm:{entry}')}")
    place = f"model.safetensors of https://huggingface.co/{hub}" if hub else str(url)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would tell of every attempt
    try:
        tensors: Mapping[str, Tensor] = timm.create_model(entry, pretrained=True).state_dict()
        return tensors, place
    except Exception as error:
        raise PsapError(
            f"timm:{entry}: its weights are not on this machine and could not be downloaded "
            f"({_reason(error).partition('.')[0]}); fetch {place}, and {_hint(f'timm:{entry}')}"
        ) from None


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _hint(name: str) -> str:
    return f"name a folder with {name.replace(':', '.')}.safetensors in the environment variable {FOLDER}"


def _check_fits(name: str, model: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if wanted == found:
        return
    if missing := sorted(wanted.keys() - found.keys()):
        problem = f"{missing[0]} is missing"
    elif strange := sorted(found.keys() - wanted.keys()):
        problem = f"{strange[0]} is not in this network"
    else:
        key = next(key for key in wanted if wanted[key] != found[key])
        problem = f"{key} has shape {list(found[key])}, not {list(wanted[key])}"
    raise PsapError(f"{origin}: not the weights of {name} for this number of classes ({problem})")


def _check_normalised(name: str, model: nn.Module, photos: Mapping[str, Any]) -> None:
    described = getattr(model, "pretrained_cfg", {})
    for key in ("mean", "std"):
        wanted = described.get(key)
        if wanted and any(abs(a - b) > 0.01 for a, b in zip(wanted, photos[key], strict=True)):
            raise PsapError(
                f"{name}: its weights were trained on images with {key} {list(wanted)}; say so: photos: {{{key}: "
                f"{list(wanted)}}}"
            )
