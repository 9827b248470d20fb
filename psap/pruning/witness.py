"""Small batches that a network really trains on, kept to compare the masked and the compacted network on them."""

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from psap.utils.passes import Call

_ROWS, _BATCHES = 8, 8


class Witness:
    """Sees the passes that `model` makes in training and keeps `batches`: a few rows each of at most eight of them.

    Those of the passes 1, 2, 4, 8 and so on, the newest: from all of a training, whatever its length. Nothing of it is
    part of a saved state, and no copy of `model` keeps anything.
    """

    def __init__(self, model: nn.Module) -> None:
        self.batches: deque[Call] = deque(maxlen=_BATCHES)
        self._seen = 0
        unwatch(model)
        model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward pass."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return
        self._seen += 1
        if self._seen & (self._seen - 1) == 0:  # a power of two
            self.batches.append(Call(args, kwargs).changed(_some_rows))

    def __reduce__(self) -> Any:
        return _blinded, ()


def _some_rows(tensor: Tensor) -> Tensor:
    return (tensor[:_ROWS] if tensor.dim() else tensor).detach().clone()


def _blind(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """What a copied or pickled network has in the place of a Witness."""


def _blinded() -> Any:
    return _blind


def unwatch(model: nn.Module) -> None:
    """Take away what `Witness` put on `model`, or on the network that it is a copy of."""
    for key, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, Witness) or hook is _blind:
            del model._forward_pre_hooks[key]
            model._forward_pre_hooks_with_kwargs.pop(key, None)
