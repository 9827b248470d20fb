"""What every pruning step did to every group, one row each."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from psap.pruning.gradients import gradient_norms
from psap.pruning.graph.groups import Group
from psap.pruning.selection import Selection

COLUMNS = ("step", "epoch", "group", "channels", "target", "ratio", "sparsity", "pruned", "restored", "churn", "pulse")


class History:
    """`rows`, with COLUMNS.

    `churn` is the share of the chosen channels that the step before had not chosen (None at the first step), `pulse`
    the mean gradient norm of the pruned filters over that of the kept ones in the first iteration with zeroed weights.
    `restored`: channels given back since the epoch began. `pulse_due`: whether the next backward pass shows the pulse.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._chosen: list[Tensor] = []
        self.rows: list[dict[str, Any]] = []
        self.restored, self.pulse_due = 0, False

    def begin_epoch(self) -> None:
        """Count what is given back from here on."""
        self.restored = 0

    def add_step(self, epoch: int, target: float, selection: Selection) -> None:
        """A row for each group; what is not known yet (restored, pulse) is noted later."""
        step = self.rows[-1]["step"] + 1 if self.rows else 0
        for g, (group, chosen) in enumerate(zip(self._groups, selection.masks, strict=True)):
            count = int(chosen.sum())
            known = bool(self._chosen) and count > 0
            self.rows.append(
                {
                    "step": step,
                    "epoch": epoch,
                    "group": group.name,
                    "channels": group.channels,
                    "target": target,
                    "ratio": count / group.channels,
                    "sparsity": selection.sparsity[g] if selection.sparsity else None,
                    "pruned": count,
                    "restored": 0,
                    "churn": int((chosen & ~self._chosen[g]).sum()) / count if known else None,
                    "pulse": None,
                }
            )
        self._chosen = [mask.clone() for mask in selection.masks]

    def note_restored(self, counts: Sequence[int]) -> None:
        """How many channels of each group the last step gave back."""
        for row, count in zip(self._last(), counts, strict=True):
            row["restored"] = count
        self.restored += sum(counts)

    def note_pulse(self, pruned: Sequence[Tensor]) -> None:
        """Read the pulse from the gradients that are there now, if it is due; `pruned`: masks (C_g,)."""
        if not self.pulse_due:
            return
        self.pulse_due = False
        pulses = []
        for group, mask in zip(self._groups, pruned, strict=True):
            norm = gradient_norms(group)
            mask = mask.to(norm.device)
            pulses.append(norm[mask].mean() / norm[~mask].mean())
        for row, pulse in zip(self._last(), torch.stack(pulses).tolist(), strict=True):
            row["pulse"] = pulse if 0 <= pulse < float("inf") else None

    def _last(self) -> list[dict[str, Any]]:
        return self.rows[-len(self._groups) :]

    def state_dict(self) -> dict[str, Any]:
        """The rows, the last selection, from which churn is told, and what is counted or due."""
        counted = {"restored": self.restored, "pulse_due": self.pulse_due}
        return {"rows": self.rows, "chosen": self._chosen, **counted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict()`."""
        self.rows, self._chosen = list(state["rows"]), list(state["chosen"])
        self.restored, self.pulse_due = state["restored"], state["pulse_due"]
