"""Weight sparsity ratios: how many of a group's weights are small (PSAP, abstract, S2; the threshold is ours)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from psap.pruning.graph.groups import Group
from psap.utils.mappings import StateDict


def weight_sparsity(weights: Tensor, tau: float) -> float:
    """Weight sparsity ratio: the share of `weights` (any shape) with |w| <= tau."""
    return float(torch.count_nonzero(weights.abs() <= tau).double() / weights.numel())


def model_threshold(weights: Sequence[Tensor], quantile: float) -> float:
    """tau of scale `model`: the `quantile` of |w| over all weights given."""
    flat = torch.cat([w.detach().abs().flatten().cpu() for w in weights])
    rank = max(1, round(quantile * len(flat)))
    return float(flat.kthvalue(rank).values)


def group_threshold(weights: Tensor, multiple: float) -> float:
    """tau of scale `group`: `multiple` times the root mean square of the group's weights."""
    return multiple * float(weights.double().square().mean().sqrt())


# Reads the weights of a group, (C, D); and, given the channels pruned now, those of the channels that count.
Weights = Callable[[Group], Tensor]
WeightsOf = Callable[[Group, Tensor], Tensor]


def raw_weights(group: Group) -> Tensor:
    """A group's weights as they are."""
    return group.filters()


def all_weights(weights: Weights, group: Group, mask: Tensor) -> Tensor:
    """Weights of all channels of a group."""
    return weights(group)


def live_weights(weights: Weights, group: Group, mask: Tensor) -> Tensor:
    """Weights of the channels that are not in `mask`: counting zeroed ones makes pruned groups look sparser."""
    found = weights(group)
    return found[~mask.to(found.device)]


class NoSparsity:
    """For allocations that do not read it."""

    def ratios(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> list[float]:
        """Weight sparsity ratio of each group, given the channels pruned now; empty here."""
        return []

    def state_dict(self) -> StateDict:
        """What a resumed training needs."""
        return {}

    def load_state_dict(self, state: StateDict) -> None:
        """Resume from a `state_dict()`."""


class GroupSparsity(NoSparsity):
    """Small is what lies below `multiple` times the group's own root mean square."""

    def __init__(self, weights_of: WeightsOf, multiple: float) -> None:
        self._weights_of, self._multiple = weights_of, multiple

    def ratios(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> list[float]:
        weights = [self._weights_of(group, mask) for group, mask in zip(groups, masks, strict=True)]
        return [weight_sparsity(w, group_threshold(w, self._multiple)) for w in weights]


class ModelSparsity(NoSparsity):
    """Small is what lies below one threshold for the network: a quantile at the first call, then fixed.

    Taken again it would fall to 0 once enough weights are zero, and every ratio with it.
    """

    def __init__(self, weights_of: WeightsOf, quantile: float) -> None:
        self._weights_of, self._quantile = weights_of, quantile
        self._tau: float | None = None

    def ratios(self, groups: Sequence[Group], masks: Sequence[Tensor]) -> list[float]:
        weights = [self._weights_of(group, mask) for group, mask in zip(groups, masks, strict=True)]
        if self._tau is None:
            self._tau = model_threshold(weights, self._quantile)
        return [weight_sparsity(w, self._tau) for w in weights]

    def state_dict(self) -> StateDict:
        return {"tau": self._tau}

    def load_state_dict(self, state: StateDict) -> None:
        self._tau = state["tau"]
