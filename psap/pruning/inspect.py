"""What a network's groups are like before anything is trained: their cost, and what they could lose."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from psap.pruning.channels import ChannelBackup, zero
from psap.pruning.cost import CostModel
from psap.pruning.criteria import CRITERIA, Channels
from psap.pruning.graph.groups import Group
from psap.pruning.graph.norms import restore
from psap.pruning.graph.stream import mask_norms
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.keep import kept_whole
from psap.pruning.method import Method
from psap.pruning.parts import bounds_of
from psap.pruning.sparsity import group_threshold, weight_sparsity
from psap.utils.mappings import JsonObject

COLUMNS = ("group", "channels", "layers", "macs", "sparsity", "least", "most", "most_macs", "change", "exact", "reason")
_IMAGES = 4
INEXACT = "passes norms, which leave its pruned channels out of their mean and variance, masked and compacted"


def inspect_network(
    model: nn.Module, images: Tensor, method: Method | None = None, groups: Sequence[Group] | None = None
) -> list[JsonObject]:
    """A row for each group of `model`, in the order of its layers, for `method` (default: PSAP).

    images: a batch (N, C, H, W) that it takes.

    groups: what `find_prunable_groups` found in it (default: found here).

    group: its name; channels: how many; layers: those whose outputs they are; macs: share of the network's
    multiply-adds in these layers and in those that read them (a layer between two groups counts for both). Of a group
    that can be pruned: sparsity: its weight sparsity ratio; least, most: how many channels it has to lose and may lose;
    most_macs: the share of the multiply-adds that the network saves if it alone loses the most; change: see
    `output_change`; exact: False where its channels pass norms, which leave pruned ones out of their statistics. Of one
    that cannot: reason.
    Raises PsapError for a network that has nothing to prune.
    """
    method = method or Method()
    found = find_prunable_groups(model, images, method.through_norms) if groups is None else groups
    groups = kept_whole(found, method)
    prunable = [group for group in groups if not group.reason]
    cost = CostModel(model, images, prunable)
    sizes = [group.channels for group in prunable]
    bounds = bounds_of(prunable, method)
    least, most = bounds.fewest.tolist(), bounds.most.tolist()
    ordered = cost.order([torch.arange(size) for size in sizes])
    inputs = torch.randn(_IMAGES, *images.shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model(inputs)
    rows = {group.name: _common(group, cost) for group in groups}
    for g, group in enumerate(prunable):
        weights = group.filters()
        alone = [count if other == g else 0 for other, count in enumerate(most)]
        rows[group.name] |= {
            "sparsity": weight_sparsity(weights, group_threshold(weights, method.sparsity.multiple)),
            "least": least[g],
            "most": most[g],
            "most_macs": ordered.reduction(alone, "macs"),
            "change": output_change(model, group, inputs, outputs),
        }
    return list(rows.values())


@torch.no_grad()
def output_change(model: nn.Module, group: Group, inputs: Tensor, outputs: Tensor) -> float:
    """|f(x) - g(x)| / |f(x)| for the batch x = `inputs`, f(x) = `outputs`; g is `model` without half of the group.

    The half of its channels with the lowest L2 norm is zeroed, and afterwards put back bit for bit. On random inputs
    this needs no data: it says how much of the network's function hangs on the group, not what accuracy would be lost.
    NaN where all outputs are 0.
    """
    half = CRITERIA["l2"].score(Channels(group.filters())).argsort(stable=True)[: group.channels // 2]
    mask = torch.zeros(group.channels, dtype=torch.bool)
    mask[half] = True
    backup = ChannelBackup()
    backup.save(group, mask)
    zero(group.slots, mask)
    norms = mask_norms([group], [mask])
    found = model(inputs)
    for norm in norms:
        restore(norm)
    backup.restore(group, mask)
    return float((found - outputs).norm() / outputs.norm())


def _common(group: Group, cost: CostModel) -> JsonObject:
    macs = cost.layer_macs()
    own, reading = ({member.name for member in members} for members in (group.producers, group.consumers))
    return {
        "group": group.name,
        "channels": group.channels,
        "layers": " ".join(name for name in macs if name in own),
        "macs": sum(macs.get(name, 0) for name in own | reading) / cost.macs,
        **dict.fromkeys(("sparsity", "least", "most", "most_macs", "change")),
        "exact": group.exact,
        "reason": group.reason,
    }


def render(rows: Sequence[JsonObject]) -> None:
    """Print `rows` as a table for people, and why groups stay whole."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("group", overflow="fold")
    for name in ("layers", "channels", "cost", "sparsity", "change", "at most", "saves"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shares = {name: "" if row[name] is None else f"{row[name]:.1%}" for name in _SHARES}
        most = "whole" if row["reason"] else f"{row['least']} to {row['most']}" if row["least"] else str(row["most"])
        sizes = (str(len(row["layers"].split())), str(row["channels"]))
        table.add_row(row["group"], *sizes, *(shares[name] for name in _SHARES[:3]), most, shares["most_macs"])
    console = Console()
    console.print(table, _LEGEND, highlight=False, markup=False)
    for row in rows:
        if row["reason"]:
            console.print(f"{row['group']} stays whole: {row['reason']}", highlight=False, markup=False)
        elif not row["exact"]:
            console.print(f"{row['group']} {INEXACT}", highlight=False, markup=False)


_SHARES = ("macs", "sparsity", "change", "most_macs")
_LEGEND = """
cost: share of the multiply-adds in the group's layers and those that read them
sparsity: weight sparsity ratio, weights below half the group's root mean square
change: of the outputs, relative, on random normal inputs, when the half of the
  channels with the lowest L2 norm is zeroed (needs no data, and is no accuracy)
at most: channels that the group could lose (a range where it has to lose some),
  and what the largest loss alone saves"""
