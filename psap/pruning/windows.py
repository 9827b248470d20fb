"""An open window: iterations whose gradients are gathered before a step selects, or after it gives back."""

import torch
from torch import Tensor

from psap.pruning.gradients import accumulate
from psap.pruning.reconstruction import Reconstruction
from psap.pruning.selection import Selector
from psap.utils.mappings import StateDict


class _Window:
    """`seen` of `length` iterations; `scores` and `signals` added up over them, (C_g,) for each group."""

    def __init__(self, length: int) -> None:
        self.length, self.seen = length, 0
        self.scores: list[Tensor] = []
        self.signals: list[Tensor] = []

    def look(self, selector: Selector, reconstruction: Reconstruction, scale: float) -> None:
        """Gather from the gradients of one backward pass; `scale` is that of the loss."""
        raise NotImplementedError

    def state_dict(self) -> StateDict:
        """What was gathered, as plain values and tensors."""
        epoch = self.epoch if isinstance(self, WindowBefore) else None
        gathered = {"scores": self.scores, "signals": self.signals}
        return {"epoch": epoch, "length": self.length, "seen": self.seen, **gathered}


class WindowBefore(_Window):
    """Before the step of `epoch`: scores of all channels, and signals of those to protect."""

    def __init__(self, length: int, epoch: int) -> None:
        super().__init__(length)
        self.epoch = epoch

    def look(self, selector: Selector, reconstruction: Reconstruction, scale: float) -> None:
        self.scores = accumulate(self.scores, selector.scores())
        self.signals = accumulate(self.signals, reconstruction.signals_before(scale))
        self.seen += 1


class WindowAfter(_Window):
    """After a step: signals of the channels that it pruned."""

    def look(self, selector: Selector, reconstruction: Reconstruction, scale: float) -> None:
        self.signals = accumulate(self.signals, reconstruction.signals_after(scale))
        self.seen += 1


def resumed(state: StateDict | None, device: torch.device) -> WindowBefore | WindowAfter | None:
    """The window of a `state_dict()`, with its tensors on `device`; None for None."""
    if state is None:
        return None
    length, epoch = state["length"], state["epoch"]
    window = WindowAfter(length) if epoch is None else WindowBefore(length, epoch)
    window.seen = state["seen"]
    window.scores, window.signals = ([value.to(device) for value in state[name]] for name in ("scores", "signals"))
    return window
