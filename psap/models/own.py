"""Networks of a user's own class on disk: widths and weights, to be laid into a fresh one."""

import copy
from pathlib import Path
from typing import Any

from torch import nn

from psap.errors import PsapError
from psap.models.architecture import OWN
from psap.models.saved import save as save_named
from psap.models.saved import write_checked
from psap.models.widths import set_widths, widths
from psap.utils.module_names import inside


def save(model: nn.Module, folder: Path | str, into: nn.Module | None = None, **named: Any) -> None:
    """Write a pruned network of a class of your own to a folder: its widths and weights, no pickle.

    `psap.load(folder, into=MyNet())` gives it back. That is tried first: what could not be loaded is not written.

    Args:
        model: The network.
        folder: Where to write; made where it is missing.
        into: A network of the same class as it is before it is pruned (default: made by the class without arguments).
            It is left alone.
        **named: For a network that `psap.build` knows, which needs none to be laid into: its `name`, `classes` and
            `in_channels`, and `extra`, what else is said of it.

    Raises:
        PsapError: When the class cannot be made without arguments, or the network would come back as another one.
    """
    if named:
        save_named(model, Path(folder), **named)
        return
    fresh = into if into is not None else _fresh(model)
    if fresh.state_dict().keys() != model.state_dict().keys():
        raise _needs(model, "is made with other layers")
    about = {"name": f"{OWN}{type(model).__name__}", "classes": 0, "in_channels": 0}
    write_checked(model, Path(folder), lambda: _like(model, copy.deepcopy(fresh)), about)


def _fresh(model: nn.Module) -> nn.Module:
    try:
        return type(model)()
    except Exception as error:  # whatever a class says to arguments that are missing
        raise _needs(model, f"cannot be made without arguments ({error})") from None


def _needs(model: nn.Module, why: str) -> PsapError:
    kind = type(model).__name__
    return PsapError(f"{kind} {why}; give one as it is before pruning: psap.save(model, folder, into={kind}(...))")


def _like(model: nn.Module, fresh: nn.Module) -> nn.Module:
    """`fresh`. Raises PsapError where its layers differ from those of `model` in more than numbers."""
    set_widths(fresh, widths(model))
    others = dict(fresh.named_modules())
    for name, module in model.named_modules():
        other = others.get(name)
        if type(other) is not type(module):
            raise PsapError(f"{name} is a {type(module).__name__}, and would come back as a {type(other).__name__}")
        for key, value in vars(module).items():
            if type(value) in (bool, str) and key != "training" and vars(other).get(key) != value:
                raise PsapError(f"{inside(name, key)} is {value!r}, and would come back as {vars(other).get(key)!r}")
    return fresh
