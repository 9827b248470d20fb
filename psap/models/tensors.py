"""Files of weights: read as tensors alone, and held against the network that they are meant for."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.files import regular

Tensors = Mapping[str, Tensor]


def read(file: Path) -> Tensors:
    """The tensors of a safetensors file, of a saved `state_dict()`, or of the network in a checkpoint of `psap`.

    Nothing but tensors is read. Raises PsapError for a file that is none of these.
    """
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(regular(file))
        tensors = torch.load(regular(file), map_location="cpu", weights_only=True)
    except PsapError:
        raise
    except Exception as error:  # besides what the disk says, what a pickle that is none, or more than tensors, raises
        raise PsapError(f"{file}: not a file of weights ({reason(error)}); replace it") from None
    match tensors:
        case {"learner": {"model": dict(network)}}:
            tensors = network
    if not (isinstance(tensors, Mapping) and all(isinstance(tensor, Tensor) for tensor in tensors.values())):
        raise PsapError(f"{file}: not a file of weights alone, name by name; save the network's state_dict() by itself")
    return tensors


def reason(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def fill(model: nn.Module, tensors: Tensors, name: str, origin: object) -> None:
    """Load `tensors`, read from `origin`, into the network `name`. Raises PsapError unless all of them fit."""
    if problem := misfit(model, tensors):
        raise PsapError(f"{origin}: not the weights of {name} ({problem})")
    model.load_state_dict(tensors)


def misfit(model: nn.Module, tensors: Tensors) -> str:
    """The first thing that keeps `tensors` from being the weights of `model`; empty where nothing does."""
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    found = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if missing := sorted(wanted.keys() - found.keys()):
        return f"{missing[0]} is missing"
    if strange := sorted(found.keys() - wanted.keys()):
        return f"{strange[0]} is not in this network"
    for key, shape in wanted.items():
        if shape != found[key]:
            return f"{key} has shape {list(found[key])}, not {list(shape)}"
    return ""
