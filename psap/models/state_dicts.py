"""Files of weights: read as tensors alone, and held against the network that they are meant for."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import safetensors.torch
import torch
from torch import Tensor, nn

from psap.errors import PsapError, raise_out_of_memory
from psap.utils.files import reading, regular

Tensors = Mapping[str, Tensor]


def read(file: Path) -> Tensors:
    """The tensors of a safetensors file, of a saved `state_dict()`, or of the network in a checkpoint of `psap`.

    Nothing but tensors is read. Raises PsapError for a file that is none of these, and for tensors without values.
    """
    with reading(file):
        if not file.is_file():  # a pipe would be waited for
            raise PsapError(f"{file}: no such file of weights; name one, or the folder of a saved network")
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(regular(file))
        with warnings.catch_warnings(action="ignore"):  # of torch, on what is refused below in our own words
            tensors = torch.load(regular(file), map_location="cpu", weights_only=True)
    except PsapError:
        raise
    except Exception as error:  # besides what the disk says, what a pickle that is none, or more than tensors, raises
        raise_out_of_memory(error)
        raise PsapError(f"{file}: not a file of weights ({reason(error)}); replace it") from None
    match tensors:
        case {"train_state": {"model": dict(network)}}:
            tensors = network
    named = isinstance(tensors, Mapping) and all(isinstance(key, str) for key in tensors)
    if not (named and all(isinstance(tensor, Tensor) for tensor in tensors.values())):
        raise PsapError(f"{file}: not a file of weights alone, name by name; save the network's state_dict() by itself")
    if bad := next((key for key, tensor in tensors.items() if not _is_plain(tensor)), None):
        raise PsapError(f"{file}: {bad} is sparse, quantised, complex or without values; save dense real numbers")
    return dict(tensors)


def _is_plain(tensor: Tensor) -> bool:
    dense = tensor.layout is torch.strided and not tensor.is_meta
    return dense and not tensor.is_quantized and not tensor.is_complex()


def reason(error: Exception) -> str:
    """What an exception says, in one line; never torch's advice to read a pickle that could run code."""
    if isinstance(error, UnpicklingError):
        return "no tensors, or more than tensors: that could run code, and is not read"
    return str(error).strip().partition("\n")[0] or type(error).__name__


def fill(model: nn.Module, tensors: Tensors, name: str, origin: object) -> None:
    """Load `tensors`, read from `origin`, into the network `name`. Raises PsapError unless all of them fit."""
    if problem := misfit(model, tensors):
        raise PsapError(f"{origin}: not the weights of {name} ({problem})")
    load_into(model, tensors)


def load_into(model: nn.Module, tensors: Tensors) -> None:
    """Load all of `tensors` into `model`, strictly.

    What a saved `state_dict()` says of the versions of its layers counts; other files say nothing of them, and hold
    what the layers are now. (Without any version, layers that had an older one refuse or rename their tensors.)
    """
    versioned = OrderedDict(tensors)
    versions = getattr(tensors, "_metadata", None) or getattr(model.state_dict(), "_metadata", {})
    versioned._metadata = versions  # type: ignore[attr-defined]
    model.load_state_dict(versioned, strict=True)


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
