"""Groups that a network can really lose channels of: tried on a copy, not only read off its dependency graph.

The graph does not know everything: an activation that is not 0 at 0, sizes that a forward pass has by heart, channels
that are told apart by their position. So some channels of every group are zeroed and removed, before any training, and
outputs and counted cost compared, on inputs of several kinds; where they differ, halving finds the groups to blame.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from psap.errors import raise_out_of_memory
from psap.pruning.channels import zero
from psap.pruning.cost import CostModel, count_macs, count_params
from psap.pruning.graph.admission import check_outputs
from psap.pruning.graph.compact import TOLERANCE, Pair, compact
from psap.pruning.graph.find import require_prunable, trace_groups
from psap.pruning.graph.groups import Group
from psap.pruning.graph.heads import HeadGroup, headed
from psap.pruning.graph.obstacles import OUTPUT
from psap.pruning.graph.stream import mask_norms
from psap.utils.passes import Call, doubled, forward, smaller, tensors, varied

_UNCOUNTED = "its multiply-adds or parameters do not shrink with its layers"
_BRANCHES = "needed for inputs of other values than the example's; the forward pass branches on its input"
_SPEAKS = "channels that are zero still have a say in the outputs, or lie elsewhere than the graph tells"


def find_prunable_groups(model: nn.Module, example_inputs: Any, through_norms: bool = False) -> list[Group]:
    """All filter groups of `model` in the order of its modules, those that cannot be pruned with their reason.

    `through_norms`: also those with `exact` False, of which a removed channel changes the statistics of a norm.
    Raises PsapError when there is none that can be pruned.
    """
    groups = trace_groups(model, example_inputs, through_norms)
    copied = copy.deepcopy(model).double().eval()
    inputs = _trial_inputs(copied, doubled(example_inputs))
    randomise_parameters(copied)
    groups = _with(_unmoving(copied, inputs, groups), groups)
    prunable = [group for group in groups if not group.reason]
    groups = _with(_Trial(copied, inputs, prunable).faults(prunable), groups)
    require_prunable(model, groups)
    return groups


def _with(faults: Mapping[str, str], groups: Sequence[Group]) -> list[Group]:
    return [replace(group, reason=group.reason or faults.get(group.name, "")) for group in groups]


@torch.no_grad()
def _unmoving(network: nn.Module, inputs: Call, groups: Sequence[Group]) -> dict[str, str]:
    """What is wrong with heads that an attention cannot run without, by the name of their group: each tried by itself.

    Most attentions of one network are alike, and finding all of them by halving would take long.
    """
    faults: dict[str, str] = {}

    def tried(name: str, small: nn.Module) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            try:
                small(*args, **kwargs)
            except Exception as error:  # whatever it says to fewer heads
                raise_out_of_memory(error)
                faults[name] = _by_heart(error)

        return hook

    hooks = []
    for group in groups:
        if isinstance(group, HeadGroup) and not group.reason:
            module = network.get_submodule(group.root.name)
            alone = headed(copy.deepcopy(module))
            alone.remove(None, _some(alone.channels))
            hook = tried(group.name, alone.root.module)
            hooks.append(module.register_forward_pre_hook(hook, with_kwargs=True))
    if hooks:
        forward(network, inputs)
    for hook in hooks:
        hook.remove()
    return faults


def _by_heart(error: Exception) -> str:
    return f"a layer or the forward pass counts on their number ({type(error).__name__})"


@torch.no_grad()
def _trial_inputs(network: nn.Module, inputs: Call) -> Call:
    """What `network`, in float64, is tried on: the example, or smaller images where it takes those.

    Where channels go shows in few pixels as well, and convolutions in float64 take long. Raises PsapError where the
    network gives no numbers.
    """
    cut = smaller(inputs)
    finite = all(bool(tensor.isfinite().all()) for tensor in tensors([*inputs]) if tensor.is_floating_point())
    if cut is not inputs and finite:
        with suppress(Exception):  # whatever it says to a size that it is not for
            if all(bool(tensor.isfinite().all()) for tensor in tensors(forward(network, cut))):
                return cut
    check_outputs(network, inputs)
    return inputs


@torch.no_grad()
def randomise_parameters(model: nn.Module, seed: int = 0) -> None:
    """Give values of their own to parameters that are all alike, and to running statistics, in place.

    A fresh network hides mistakes behind them: zero biases and shifts, unit scales, layer scales of nearly nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point() and parameter.numel() and bool((parameter == parameter.flatten()[0]).all()):
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
    """Removes channels of some of `groups` from copies of `network`, which is in float64 and eval mode."""

    def __init__(self, network: nn.Module, inputs: Any, groups: Sequence[Group]) -> None:
        self._network, self._inputs, self._groups = network, inputs, groups
        self._cost = CostModel(network, inputs, groups)

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
        masks = {group.name: _some(group.channels) for group in groups}
        own = [group.within(masked) for group in groups]
        for group in own:
            zero(group.slots, masks[group.name])
        mask_norms(own, list(masks.values()))
        try:
            small = compact(masked, self._inputs, groups, list(masks.values()))
            pair = Pair(masked, small)
            same = pair.gap(self._inputs)
            counted = count_macs(small, self._inputs), count_params(small)
        except Exception as error:  # whatever a layer says to widths that it does not expect
            raise_out_of_memory(error)
            return _by_heart(error)
        if not same <= TOLERANCE:
            return OUTPUT if math.isinf(same) else _SPEAKS
        if counted != self._planned(masks):
            return _UNCOUNTED
        elsewhere = all(pair.gap_elsewhere(inputs) <= TOLERANCE for inputs in varied(self._inputs))
        return "" if elsewhere else _BRANCHES

    def _planned(self, masks: Mapping[str, Tensor]) -> tuple[int, int]:
        """Multiply-adds and parameters that the groups tell of the network without the channels in `masks`."""
        whole = [torch.zeros(group.channels, dtype=torch.bool) for group in self._groups]
        masked = [masks.get(group.name, none) for group, none in zip(self._groups, whole, strict=True)]
        return self._cost.order([(~mask).long().argsort(stable=True) for mask in masked])(
            [int(mask.sum()) for mask in masked]
        )
