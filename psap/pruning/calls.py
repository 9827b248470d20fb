"""The calls that a training loop makes of a pruner, counted and checked: missing or misplaced ones are one line."""

from typing import Any

from psap.errors import PsapError
from psap.pruning.arguments import check_epoch


class Calls:
    """Where in a training the calls stand.

    `steps_per_epoch`: the optimiser's steps in an epoch, the fewest as far as is known; None until it is known.
    """

    def __init__(self, epochs: int, steps_per_epoch: int | None) -> None:
        self._epochs = epochs
        self.steps_per_epoch = steps_per_epoch or (1 if epochs == 1 else None)
        self._epoch, self._looks, self._iterations = -1, 0, 0

    def begin_epoch(self, epoch: int, waiting: bool) -> None:
        """Epoch `epoch` begins. Raises PsapError unless the one before was gone through as it has to be; `waiting`:
        pruning waited for gradients in it. Learns how long it was.
        """
        check_epoch(epoch, self._epoch, self._epochs)
        if waiting and not self._looks:
            raise PsapError(
                f"after_backward was not called in epoch {self._epoch}, where pruning waits for gradients; call it "
                "between backward and the optimiser's step"
            )
        if self._looks and not self._iterations:
            raise PsapError(f"after_step was not called in epoch {self._epoch}; call it after the optimiser's step")
        if self._iterations:
            self.steps_per_epoch = min(self.steps_per_epoch or self._iterations, self._iterations)
        self._epoch, self._looks, self._iterations = epoch, 0, 0

    def look(self) -> None:
        """A backward pass was looked at."""
        self._looks += 1

    def step(self) -> bool:
        """The optimiser has stepped; whether the epoch is at its end, as far as is known."""
        self._iterations += 1
        return self._iterations == self.steps_per_epoch

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs."""
        counted = {"looks": self._looks, "iterations": self._iterations}
        return {"epoch": self._epoch, "steps_per_epoch": self.steps_per_epoch, **counted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict()`."""
        self._epoch, self.steps_per_epoch = state["epoch"], state["steps_per_epoch"]
        self._looks, self._iterations = state["looks"], state["iterations"]
