"""Networks that hold zeros where channels were pruned, whoever pruned them: find the channels, and remove them."""

from typing import Any

import torch
from torch import Tensor, nn

from psap.errors import PsapError
from psap.pruning.graph.compact import compact, difference
from psap.pruning.graph.groups import Group
from psap.pruning.graph.verify import find_prunable_groups
from psap.utils.passes import varied


def compact_masked(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, int]:
    """Copy a network without the channels that are zero; its outputs in eval mode are the same.

    Args:
        model: The network, such as a masked checkpoint.
        example_inputs: A batch of the shape that it takes, as for `Pruner`.

    Returns:
        The smaller network, and how many channels it lacks.

    Raises:
        PsapError: When the network has nothing to prune, no channel is zero, or outputs would change.
    """
    groups = [group for group in find_prunable_groups(model, example_inputs) if not group.reason]
    masks = [zeroed(group) for group in groups]
    removed = sum(int(mask.sum()) for mask in masks)
    if not removed:
        raise PsapError(
            f"{type(model).__name__}: no channel of its {len(groups)} groups is zero in all of its weights, biases and "
            "batch-norm scales and shifts; prune it first"
        )
    small = compact(model, example_inputs, groups, masks)
    difference(model, small, example_inputs, varied(example_inputs))
    return small, removed


def zeroed(group: Group) -> Tensor:
    """The channels of which all that training changes is zero: bool (C,). One channel stays in any case.

    Such a channel is zero for every input; the running statistics of batch-norm are left out where it has a scale,
    which is zero too.
    """
    zero = torch.ones(group.channels, dtype=torch.bool)
    for slot in group.slots:
        scaled = getattr(slot.member.module, "weight", None) is not None
        if slot.attribute == "running_var" or (slot.attribute == "running_mean" and scaled):
            continue
        rows = slot.outputs_first(slot.tensor.detach().cpu())
        rows = rows.reshape(len(rows), -1).any(1)
        alive = slot.member.channel[rows[slot.member.position]]
        zero[alive] = False
    if bool(zero.all()):
        zero[0] = False
    return zero
