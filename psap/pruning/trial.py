"""Groups that a network can really lose channels of: tried on a copy, not only read off its dependency graph.

The graph does not know everything: an activation that is not 0 at 0, sizes that a forward pass has by heart, channels
that are told apart by their position. So some channels of every group are zeroed and removed, before any training, and
the outputs compared; where they differ, halving finds the groups that are to blame.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from psap.pruning.channels import zero
from psap.pruning.compact import TOLERANCE, compact, doubled, gap
from psap.pruning.discover import check_any, find_groups
from psap.pruning.groups import Group

_SPEAKS = "channels that are zero still have a say in the outputs, or lie elsewhere than the graph tells"


def usable_groups(model: nn.Module, example_inputs: Any) -> list[Group]:
    """All filter groups of `model` in the order of its modules, those that cannot be pruned with their reason.

    Raises PsapError when there is none that can be pruned.
    """
    groups = find_groups(model, example_inputs)
    copied = copy.deepcopy(model).double().eval()
    stir(copied)
    trial = _Trial(copied, doubled(example_inputs))
    faults = trial.faults([group for group in groups if not group.reason])
    groups = [replace(group, reason=faults.get(group.name, group.reason)) for group in groups]
    check_any(model, groups)
    return groups


@torch.no_grad()
def stir(model: nn.Module, seed: int = 0) -> None:
    """Give values of their own to parameters that are all alike, and to running statistics, in place.

    A fresh network hides mistakes behind them: zero biases and shifts, unit scales, layer scales of nearly nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point() and bool((parameter == parameter.flatten()[0]).all()):
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter), alpha=0.5)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        elif name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))


def _some(channels: int) -> Tensor:
    """Two fifths of the channels, at least one, in no regular order that a mistake could hide in: bool, (C,)."""
    mask = torch.zeros(channels, dtype=torch.bool)
    order = torch.randperm(channels, generator=torch.Generator().manual_seed(channels))
    mask[order[: max(1, 2 * channels // 5)]] = True
    return mask


class _Trial:
    """Removes channels from copies of `network`, which is in float64 and eval mode."""

    def __init__(self, network: nn.Module, inputs: Any) -> None:
        self._network, self._inputs = network, inputs

    def faults(self, groups: Sequence[Group]) -> dict[str, str]:
        """What is wrong with each of `groups` that cannot be removed from, by its name."""
        fault = self._fault(groups) if groups else ""
        if not fault:
            return {}
        if len(groups) == 1:
            return {groups[0].name: fault}
        half = len(groups) // 2
        return self.faults(groups[:half]) | self.faults(groups[half:])

    def _fault(self, groups: Sequence[Group]) -> str:
        """What goes wrong when some channels of all `groups` are zeroed and removed; empty when nothing does."""
        masked = copy.deepcopy(self._network)
        masks = [_some(group.channels) for group in groups]
        for group, mask in zip(groups, masks, strict=True):
            zero(group.within(masked).slots, mask)
        try:
            same = gap(masked, compact(masked, self._inputs, groups, masks), self._inputs) <= TOLERANCE
        except Exception as error:  # whatever a layer says to widths that it does not expect
            return f"a layer or the forward pass counts on their number ({type(error).__name__})"
        return "" if same else _SPEAKS
