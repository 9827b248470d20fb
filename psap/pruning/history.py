"""What every pruning step did to every group, one row each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from psap.pruning.gradients import gradient_norms
from psap.pruning.graph.groups import Group
from psap.pruning.selection import Selection
from psap.utils.mappings import JsonObject, StateDict

_WHAT = ("step", "epoch", "group", "channels", "target", "ratio", "sparsity", "pruned", "restored", "churn", "pulse")
# Rows from before mechanisms could be seen end here.
COLUMNS = (*_WHAT, "protected", "kept", "differs")


class History:
    """`rows`, with COLUMNS.

    `churn` is the share of the chosen channels that the step before had not chosen (None at the first step), `pulse`
    the mean gradient norm of the pruned filters over that of the kept ones in the first iteration with zeroed weights.
    `protected` channels would have gone by their scores alone, with the same allocation and target, and protection kept
    them; `kept` are those protected or restored at this step or before that are still there; `differs` is the share of
    the chosen that scores alone would not have chosen, whatever the reason.
    `restored`: channels given back since the epoch began. `pulse_due`: whether the next backward pass shows the pulse.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._chosen: list[Tensor] = []
        self._kept: list[Tensor] = []
        self.rows: list[JsonObject] = []
        self.restored, self.pulse_due = 0, False

    def begin_epoch(self) -> None:
        """Count what is given back from here on."""
        self.restored = 0

    def add_step(self, epoch: int, target: float, selection: Selection, protected: Sequence[Tensor]) -> None:
        """A row for each group; what is not known yet (restored, pulse) is noted later. `protected`: masks (C_g,)."""
        step = self.rows[-1]["step"] + 1 if self.rows else 0
        saved = [
            plain & keep & ~chosen
            for plain, keep, chosen in zip(selection.plain, protected, selection.masks, strict=True)
        ]
        kept = zip(self._kept or saved, selection.masks, saved, strict=True)
        self._kept = [(before & ~chosen) | now for before, chosen, now in kept]
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
                    "protected": int(saved[g].sum()),
                    "kept": int(self._kept[g].sum()),
                    "differs": int((chosen & ~selection.plain[g]).sum()) / count if count else 0.0,
                }
            )
        self._chosen = [mask.clone() for mask in selection.masks]

    def note_restored(self, restored: Sequence[Tensor]) -> None:
        """Which channels of each group the last step gave back: masks (C_g,)."""
        self._kept = [kept | back for kept, back in zip(self._kept, restored, strict=True)]
        for row, back, kept in zip(self._last(), restored, self._kept, strict=True):
            row["restored"], row["kept"] = int(back.sum()), int(kept.sum())
        self.restored += sum(int(back.sum()) for back in restored)

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

    def _last(self) -> list[JsonObject]:
        return self.rows[-len(self._groups) :]

    def state_dict(self) -> StateDict:
        """The rows, the masks from which churn and what is kept are told, and what is counted or due."""
        counted = {"restored": self.restored, "pulse_due": self.pulse_due}
        return {"rows": self.rows, "chosen": self._chosen, "kept": self._kept, **counted}

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from a `state_dict()`."""
        self.rows, self._chosen, self._kept = (list(state[name]) for name in ("rows", "chosen", "kept"))
        self.restored, self.pulse_due = state["restored"], state["pulse_due"]
