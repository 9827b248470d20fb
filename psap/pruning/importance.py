"""Which channels their signals show to be important: ranked in each group, or across the network."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def select_protected(signal: Tensor, candidates: Tensor, quantile: float, share: float) -> Tensor:
    """Mask (C,) of the candidates whose `signal` lies in the top 1 - `quantile`, at most `share` of all C channels.

    A channel without any signal is never protected: silence says nothing for it (docs/method.md).
    """
    count = min(round((1 - quantile) * int(candidates.sum())), int(share * len(signal) + 1e-9))
    ranked = signal.where(candidates, signal.new_tensor(-1.0)).argsort(descending=True, stable=True)[:count]
    mask = torch.zeros_like(candidates)
    mask[ranked] = signal[ranked] > 0
    return mask & candidates


@dataclass(frozen=True)
class InGroups:
    """Important is the top 1 - `quantile` of each group's candidates, at most `share` of its channels."""

    quantile: float
    share: float

    def select(self, signals: Sequence[Tensor], candidates: Sequence[Tensor]) -> list[Tensor]:
        """Masks (C_g,) of the important `candidates`; none without signals (a window that saw nothing)."""
        if not signals:
            return [torch.zeros_like(mask) for mask in candidates]
        return self._select([signal.cpu() for signal in signals], candidates)

    def spared(self, protected: list[Tensor]) -> list[Tensor]:
        """Those of the `protected` channels for which other groups make up; here none do, and they go last."""
        return [torch.zeros_like(mask) for mask in protected]

    def _select(self, signals: Sequence[Tensor], candidates: Sequence[Tensor]) -> list[Tensor]:
        return [
            select_protected(signal, mask, self.quantile, self.share)
            for signal, mask in zip(signals, candidates, strict=True)
        ]


class AcrossNetwork(InGroups):
    """Important are the strongest candidates of the network, so that a group which the loss hangs on keeps more.

    As many as 1 - `quantile` of all the network's channels, so that protection does not shrink as pruning proceeds, and
    at most `share` of a group's.
    """

    def spared(self, protected: list[Tensor]) -> list[Tensor]:
        return protected

    def _select(self, signals: Sequence[Tensor], candidates: Sequence[Tensor]) -> list[Tensor]:
        # Candidates beyond their group's share make room for the next of the other groups.
        allowed = torch.cat(InGroups(0.0, self.share)._select(signals, candidates))
        ranked = select_protected(torch.cat(list(signals)), allowed, 0.0, 1 - self.quantile)
        return list(torch.split(ranked, [len(mask) for mask in candidates]))
