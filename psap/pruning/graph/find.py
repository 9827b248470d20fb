"""Find a network's filter groups in its dependency graph."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from psap.errors import PsapError
from psap.pruning.graph._torch_pruning import Astray, pruning_group, reached, tp
from psap.pruning.graph.attention import attentions
from psap.pruning.graph.groups import Group, summary
from psap.pruning.graph.heads import head_group
from psap.pruning.graph.members import Member, Table
from psap.pruning.graph.norms import looks_together, span
from psap.pruning.graph.obstacles import Known, is_expanded, is_shared, is_stream, kind_of, layers_of, refusal
from psap.pruning.graph.standardised import reads_together
from psap.pruning.graph.stream import StreamGroup
from psap.pruning.graph.trace import dependency_graph, is_grouped

_CONV = nn.modules.conv._ConvNd
_JOINS = (tp.ops._SplitOp, tp.ops._SliceOp, tp.ops._UnbindOp, tp.ops._ConcatOp)


def trace_groups(model: nn.Module, example_inputs: Any, through_norms: bool = False) -> list[Group]:
    """Find the groups of filters of a network, from its dependency graph alone.

    Args:
        model: The network.
        example_inputs: A batch of the shape that it takes, as for `Pruner`.
        through_norms: Whether channels may be pruned of which a removed one changes a norm's statistics.

    Returns:
        All groups in the order of the network's modules, the unprunable ones with their reason.

    Raises:
        PsapError: When there is none that can be pruned.
    """
    graph = dependency_graph(model, example_inputs)
    names = {module: name for name, module in model.named_modules()}
    owners = {p: (module, key) for module in names for key, p in module.named_parameters(recurse=False)}
    known = Known(names, dict(_bound(model)), attentions(model), owners, through_norms)
    order = {name: place for place, name in enumerate(known.names.values())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [*_all_groups(graph, known), *_heads(graph, known)]
    groups = sorted(found, key=lambda group: order[group.name])
    require_prunable(model, groups)
    return groups


def require_prunable(model: nn.Module, groups: Sequence[Group]) -> None:
    """Raise PsapError, with the reasons, unless one of `groups` can be pruned."""
    if not any(not group.reason for group in groups):
        reasons = summary(groups) or "no convolution or linear layer"
        raise PsapError(f"{type(model).__name__} has no group of filters that can be pruned ({reasons})")


def _bound(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """Modules whose tensors are not theirs alone, and why they stay whole."""
    owner: dict[nn.Parameter, tuple[nn.Module, str]] = {}
    for name, module in model.named_modules():
        if parametrize.is_parametrized(module):
            yield module, "its weight is computed of others (a parametrization, such as weight_norm); remove it first"
        for parameter in module.parameters(recurse=False):
            first, other = owner.setdefault(parameter, (module, name))
            if first is not module:
                yield module, f"shares a tensor with {other} (tied weights)"
                yield first, f"shares a tensor with {name} (tied weights)"


def _heads(graph: Any, known: Known) -> Iterator[Group]:
    """The heads of every attention that runs."""
    for module, found in known.attentions.items():
        if module in graph.module2node:
            members = [*found.inputs, found.output]
            yield head_group(found, next((why for m in members if (why := known.bound.get(m.module))), ""))


def _all_groups(graph: Any, known: Known) -> Iterator[Group]:
    """The group of every layer that makes channels, once each."""
    seen: set[nn.Module] = set()
    for layer in [m for m in graph.module2node if isinstance(m, (_CONV, nn.Linear)) or m in known.attentions]:
        if layer in seen:
            continue
        channels = graph.get_out_channels(layer)
        try:
            items = pruning_group(graph, layer, list(range(channels)))
            group = _group(items, known)
        except Astray:
            own = Member(known.names[layer], layer, torch.arange(channels), torch.arange(channels))
            yield Group(own.name, channels, own, [own], [], [], "reshaped in a way that mixes channels (attention)")
        else:
            seen |= {item.dep.target.module for item in items if graph.is_out_channel_pruning_fn(item.dep.handler)}
            yield group


def _group(items: Any, known: Known) -> Group:
    reason = refusal(items, known)
    # What cannot be pruned needs no exact channels, which take time where something is split.
    channel_of = torch.arange(len(items[0].idxs)) if reason else _components(items)
    channels = int(channel_of.max()) + 1
    members: dict[str, list[Member]] = {"producers": [], "norms": [], "consumers": []}
    for item in items:
        module, is_out = item.dep.target.module, items._DG.is_out_channel_pruning_fn(item.dep.handler)
        if not (module in known.names or module in known.owners) or is_shared(module) or is_expanded(item):
            continue
        position = torch.tensor(item.idxs)
        channel = channel_of[torch.tensor(item.root_idxs)]
        by_channel = channel.argsort(stable=True)
        places = (position[by_channel], channel[by_channel])
        if module in known.owners:
            owner, key = known.owners[module]
            table = Table(known.names[owner], owner, *places, key, item.dep.target.pruning_dim)
            members["norms"].append(table)
            continue
        for name, layer in layers_of(module, is_out, known):
            members[kind_of(layer, is_out)].append(Member(name, layer, *places))
    start = items[0].dep.target.module
    root = Member(known.names[start], start, torch.arange(len(channel_of)), channel_of)
    first = min((m.name for m in members["producers"]), key=list(known.names.values()).index)
    reason = reason or ("a single channel" if channels == 1 else "")
    streams = any(looks_together(m.module) and is_stream(m.module) for m in members["norms"])
    streams = streams or any(reads_together(m.module) for m in members["consumers"])
    return (StreamGroup if streams else Group)(first, channels, root, **members, reason=reason)


def _components(items: Any) -> Tensor:
    """Which channel each root index belongs to, shape (R,): roots that must go together are one channel.

    Split and gated activations tie them: both halves of `a * sigmoid(b)` carry the same channel. The ties show where
    two roots reach the same index of the same layer or operation, or the same group of a grouped convolution.
    """
    start, count = items[0].dep, len(items[0].idxs)
    modules = [item.dep.target.module for item in items]
    if not any(isinstance(module, _JOINS) or _together(module) > 1 for module in modules):
        return torch.arange(count)
    root = list(range(count))  # of each channel's tree; the least of those tied, so that numbers follow the channels

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    first = [tp._helpers._HybridIndex(idx=index, root_idx=index) for index in range(count)]
    for (node, _), arrivals in reached(start.target, start.handler, first).items():
        owner: dict[int, int] = {}
        size = _together(node.module)
        for index in itertools.chain.from_iterable(arrivals):
            tied = find(owner.setdefault(index.idx // size, index.root_idx)), find(index.root_idx)
            root[max(tied)] = min(tied)
    roots = [find(index) for index in range(count)]
    number = {index: channel for channel, index in enumerate(sorted(set(roots)))}
    return torch.tensor([number[index] for index in roots])


def _together(module: Any) -> int:
    """How many neighbours among a layer's channels can only go together: those of a group."""
    if is_grouped(module):
        return int(module.out_channels // module.groups)
    return span(module) if isinstance(module, nn.GroupNorm) and module.num_groups > 1 else 1
