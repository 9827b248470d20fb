"""Allocations: how the pruning ratio is shared out among the groups.

An allocation returns `ratios(kappa)`, the ratio wanted of each group, which grows with kappa >= 0; the budget solver
finds the kappa at which the network that would remain meets the target (psap.pruning.budget).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from psap.pruning.registry import Registry

Ratios = Callable[[float], Tensor]

# A group without one small weight would have weight 0 and could never be pruned: it is the last to be, instead.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Evidence:
    """What allocations decide on.

    scores: for each of the G groups those of its channels, (C_g,), divided by their mean unless the criterion's are
    comparable. sparsity: the groups' weight sparsity ratios, (G,), empty for `uniform` and `global`. alpha: the
    method's `sparsity.alpha`.
    """

    scores: Sequence[Tensor]
    sparsity: Tensor
    alpha: float


def uniform(evidence: Evidence) -> Ratios:
    """The same ratio everywhere."""
    return lambda kappa: torch.full((len(evidence.scores),), kappa, dtype=torch.float64)


def sparsity(evidence: Evidence) -> Ratios:
    """r_g = kappa (s_g / mean s)^alpha: groups with many small weights lose more (PSAP, abstract; the form is ours).

    Uniform where no group has any small weight (mean s = 0) and where alpha is 0.
    """
    s = evidence.sparsity.double()
    if float(s.mean()) == 0:
        return uniform(evidence)
    weight = (s / s.mean()).clamp(min=_FLOOR) ** evidence.alpha
    return lambda kappa: kappa * weight


def global_(evidence: Evidence) -> Ratios:
    """One threshold on the scores of all channels: kappa is the share of all channels below it."""
    scores = torch.cat([score.double().cpu() for score in evidence.scores])
    owner = torch.cat([torch.full((len(score),), g) for g, score in enumerate(evidence.scores)])
    ranked = owner[scores.argsort(stable=True)]
    sizes = torch.tensor([len(score) for score in evidence.scores], dtype=torch.float64)

    def ratios(kappa: float) -> Tensor:
        below = ranked[: round(min(kappa, 1.0) * len(ranked))]
        return torch.bincount(below, minlength=len(sizes)) / sizes

    return ratios


def weight_sparsity(weights: Tensor, tau: float) -> float:
    """Weight sparsity ratio: the share of `weights` (any shape) with |w| <= tau."""
    return float((weights.abs() <= tau).double().mean())


def model_threshold(weights: Sequence[Tensor], quantile: float) -> float:
    """tau of scale `model`: the `quantile` of |w| over all weights given."""
    flat = torch.cat([w.detach().abs().flatten().cpu() for w in weights])
    rank = max(1, round(quantile * len(flat)))
    return float(flat.kthvalue(rank).values)


def group_threshold(weights: Tensor, multiple: float) -> float:
    """tau of scale `group`: `multiple` times the root mean square of the group's weights."""
    return multiple * float(weights.double().square().mean().sqrt())


Scale = Literal["model", "group"]
Allocation = Callable[[Evidence], Ratios]
ALLOCATIONS: Registry[Allocation] = Registry({"uniform": uniform, "sparsity": sparsity, "global": global_})
