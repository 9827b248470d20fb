"""Whether a method's mechanisms act: how far ratios differ between groups, and whether they follow sensitivity.

Which channels protection spared and restored is told in the history (psap.pruning.history).
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.graph.groups import Group


def spread(ratios: Sequence[float]) -> float:
    """Coefficient of variation of the groups' ratios: standard deviation over mean, 0 where nothing is pruned."""
    values = torch.tensor(ratios, dtype=torch.float64)
    return float(values.std(correction=0) / values.mean()) if bool(values.any()) else 0.0


def sensitivity(
    model: nn.Module, groups: Sequence[Group], loss: Callable[[nn.Module], float], share: float = 0.5
) -> list[float]:
    """How much `loss(model)` grows when a group alone loses the `share` of its channels with the lowest L2 norm.

    One number for each group. The model's weights are as before afterwards, bit for bit.
    """
    whole, backup, found = loss(model), ChannelBackup(), []
    for group in groups:
        mask = torch.zeros(group.channels, dtype=torch.bool)
        norms = torch.linalg.vector_norm(group.filters(), dim=1)
        mask[norms.argsort(stable=True)[: round(share * group.channels)].cpu()] = True
        backup.save(group, mask)
        zero(group.slots, mask)
        found.append(loss(model) - whole)
        backup.restore(group, mask)
    return found


def rank_correlation(ratios: Sequence[float], sensitivities: Sequence[float]) -> float | None:
    """Spearman's correlation over groups, negative where ratios adapt; None where either is the same for all."""
    if len(set(ratios)) < 2 or len(set(sensitivities)) < 2:
        return None
    from scipy.stats import spearmanr  # here, since trainings import this module and scipy.stats takes half a second

    return float(spearmanr(ratios, sensitivities).statistic)
