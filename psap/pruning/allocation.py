"""Allocations: how the pruning ratio is shared out among the groups.

An allocation returns `ratios(kappa)`, the ratio wanted of each group, which grows with kappa >= 0; the budget solver
finds the kappa at which the network that would remain meets the target (psap.pruning.budget).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from psap.pruning.registry import Registry

Ratios = Callable[[float], Tensor]
"""What an allocation gives: from kappa >= 0, which the solver chooses, to the ratio wanted of each group, shape (G,).

A ratio is the share of a group's channels to prune, and no ratio falls as kappa grows.
"""

# A group without one small weight would have weight 0 and could never be pruned: it is the last to be, instead.
_FLOOR = 1e-3


@dataclass(frozen=True)
class AllocationInputs:
    """What an allocation decides on, for G groups.

    Attributes:
        scores: For each group those of its channels, shape (C_g,), divided by their mean unless the criterion's are
            comparable.
        sparsity: Each group's weight sparsity ratio (PSAP, arXiv:2303.11881, abstract): the share of its weights that
            are small, in [0, 1], shape (G,). Empty for `uniform` and `global`.
        alpha: The method's `sparsity.alpha`, an exponent.
    """

    scores: Sequence[Tensor]
    sparsity: Tensor
    alpha: float


def uniform(inputs: AllocationInputs) -> Ratios:
    """The same ratio everywhere."""
    return lambda kappa: torch.full((len(inputs.scores),), kappa, dtype=torch.float64)


def sparsity(inputs: AllocationInputs) -> Ratios:
    """r_g = kappa (s_g / mean s)^alpha: groups with many small weights lose more (PSAP, abstract; the form is ours).

    Uniform where no group has any small weight (mean s = 0) and where alpha is 0.
    """
    s = inputs.sparsity.double()
    if float(s.mean()) == 0:
        return uniform(inputs)
    weight = (s / s.mean()).clamp(min=_FLOOR) ** inputs.alpha
    return lambda kappa: kappa * weight


def global_(inputs: AllocationInputs) -> Ratios:
    """One threshold on the scores of all channels: kappa is the share of all channels below it."""
    scores = torch.cat([score.double().cpu() for score in inputs.scores])
    owner = torch.cat([torch.full((len(score),), g) for g, score in enumerate(inputs.scores)])
    ranked = owner[scores.argsort(stable=True)]
    sizes = torch.tensor([len(score) for score in inputs.scores], dtype=torch.float64)

    def ratios(kappa: float) -> Tensor:
        below = ranked[: round(min(kappa, 1.0) * len(ranked))]
        return torch.bincount(below, minlength=len(sizes)) / sizes

    return ratios


Allocation = Callable[[AllocationInputs], Ratios]
ALLOCATIONS: Registry[Allocation] = Registry({"uniform": uniform, "sparsity": sparsity, "global": global_})
