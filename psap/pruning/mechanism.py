"""How sensitive the groups of a network are, which adaptive ratios should follow (psap.pruning.adaptivity).

Which channels protection spared and restored is told in the history (psap.pruning.history).
"""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.graph.groups import Group


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
