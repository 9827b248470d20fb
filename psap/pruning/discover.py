"""Find a network's filter groups with torch-pruning's dependency graph (Fang et al., arXiv:2301.12900)."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from psap.errors import PsapError
from psap.pruning.groups import Group, Member
from psap.pruning.shortcut import PadShortcut


def _torch_pruning() -> Any:
    """Import torch-pruning as on a machine without timm: its operation counter, which is not used here, would
    import all of timm and torchvision into every process, which takes longer than everything else together."""
    hidden = {"timm": None} if "timm" not in sys.modules else {}
    sys.modules.update(hidden)  # type: ignore[arg-type]
    try:
        import torch_pruning
    finally:
        for name in hidden:
            del sys.modules[name]
    return torch_pruning


tp = _torch_pruning()
_CONV = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd
_SPLITS = (tp.ops._SplitOp, tp.ops._SliceOp, tp.ops._UnbindOp)
# Zero in, zero out, channel by channel: a pruned channel stays zero behind these.
_SAFE_NORMS = (_BatchNorm, nn.PReLU)


class _ShortcutPruner(tp.pruner.function.BasePruningFunc):  # type: ignore[misc,name-defined]
    """Teaches torch-pruning that the two sides of a padded shortcut are independent."""

    def prune_out_channels(self, layer: PadShortcut, idxs: list[int]) -> PadShortcut:
        layer.remove_outputs(idxs)
        return layer

    def prune_in_channels(self, layer: PadShortcut, idxs: list[int]) -> PadShortcut:
        layer.remove_inputs(idxs)
        return layer

    def get_out_channels(self, layer: PadShortcut) -> int:
        return layer.out_channels

    def get_in_channels(self, layer: PadShortcut) -> int:
        return layer.in_channels


def dependency_graph(model: nn.Module, example_inputs: Any) -> Any:
    """Trace `model` on `example_inputs` (a tensor, or a tuple of arguments); its mode and flags stay as they were.

    Raises PsapError when the network cannot be traced.
    """
    graph = tp.DependencyGraph()
    with _traceable(model), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph.build_dependency(
                model, example_inputs, customized_pruners={PadShortcut: _ShortcutPruner()}, verbose=False
            )
        except Exception as error:
            raise PsapError(
                f"{type(model).__name__} cannot be traced for pruning on the example input: {error}; "
                "pass example_inputs of the shape that the network takes"
            ) from error
    return graph


@contextmanager
def _traceable(model: nn.Module) -> Iterator[None]:
    """Autograd on, every parameter trainable (a frozen one would hide its layer), eval mode; all undone at the end."""
    modes = [(module, module.training) for module in model.modules()]
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for module, mode in modes:
            module.training = mode


def find_groups(model: nn.Module, example_inputs: Any) -> list[Group]:
    """All filter groups of `model` in the order of its modules, the unprunable ones with their reason.

    Raises PsapError when there is none that can be pruned.
    """
    graph = dependency_graph(model, example_inputs)
    names = {module: name for name, module in model.named_modules()}
    order = {name: place for place, name in enumerate(names.values())}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [_group(items, names) for items in graph.get_all_groups()]
    groups = sorted(found, key=lambda group: order[group.name])
    if not any(not group.reason for group in groups):
        reasons = "; ".join(f"{group.name}: {group.reason}" for group in groups) or "no convolution or linear layer"
        raise PsapError(f"{type(model).__name__} has no group of filters that can be pruned ({reasons})")
    return groups


def _group(items: Any, names: dict[nn.Module, str]) -> Group:
    channel_of = _components(items)
    channels = int(channel_of.max()) + 1
    members: dict[str, list[Member]] = {"producers": [], "norms": [], "consumers": []}
    reason = "" if channels > 1 else "a single channel"
    for item in items:
        module, is_out = item.dep.target.module, items._DG.is_out_channel_pruning_fn(item.dep.handler)
        is_consumer = module in names and _kind(module, is_out) == "consumers"
        if not item.dep.target.outputs and not is_consumer:
            reason = "feeds the network's output"
        reason = reason or _mixing(module)
        if module not in names:  # an operation, not a layer; a bare parameter is one that we cannot place
            reason = reason or ("a parameter outside any layer" if isinstance(module, nn.Parameter) else "")
            continue
        if isinstance(module, nn.PReLU) and module.num_parameters == 1:
            continue
        position = torch.tensor(item.idxs)
        channel = channel_of[torch.tensor(item.root_idxs)]
        by_channel = channel.argsort(stable=True)
        member = Member(names[module], module, position[by_channel], channel[by_channel])
        kind = _kind(module, is_out)
        problem = _problem(member, kind, is_out)
        reason = reason or (f"{member.name}: {problem}" if problem else "")
        if kind:
            members[kind].append(member)
    start = items[0].dep.target.module
    root = Member(names[start], start, torch.arange(len(channel_of)), channel_of)
    first = min((m.name for m in members["producers"]), key=list(names.values()).index)
    return Group(first, channels, root, **members, reason=reason)


def _components(items: Any) -> Tensor:
    """Which channel each root index belongs to, shape (R,): roots that must go together are one channel.

    Split and gated activations tie them: both halves of `a * sigmoid(b)` carry the same channel. torch-pruning shows
    that only when it is asked for one index at a time, which is worth its time only where something is split.
    """
    root, handler = items[0].dep.target, items[0].dep.handler
    count = len(items[0].idxs)
    if not any(isinstance(item.dep.target.module, _SPLITS) for item in items):
        return torch.arange(count)
    pairs = [
        (index, tied)
        for index in range(count)
        for item in items._DG.get_pruning_group(root.module, handler, [index])
        if item.dep.target is root and item.dep.handler is handler
        for tied in item.idxs
    ]
    source, target = zip(*pairs, strict=True)
    edges = coo_array(([True] * len(pairs), (source, target)), shape=(count, count))
    labels = connected_components(edges, directed=False)[1]
    return torch.from_numpy(labels.astype("int64"))


def _mixing(operation: nn.Module) -> str:
    """Why an operation between two layers forbids pruning single channels; empty when it does not."""
    name = str(getattr(operation, "_grad_fn", "")).lower()
    mixes = any(word in name for word in ("bmm", "scaleddotproduct", "softmax"))
    return f"{name.split('backward')[0]} mixes channels (attention)" if mixes else ""


def _kind(module: nn.Module, is_out: bool) -> str:
    if isinstance(module, (_CONV, nn.Linear, PadShortcut)):
        depthwise = isinstance(module, _CONV) and module.groups > 1
        return "producers" if is_out or depthwise else "consumers"
    return "norms"


def _problem(member: Member, kind: str, is_out: bool) -> str:
    """Why this member forbids pruning; empty when it does not."""
    module = member.module
    if isinstance(module, _TRANSPOSED):
        return "a transposed convolution"
    if isinstance(module, _CONV) and 1 < module.groups != module.out_channels:
        return "a grouped convolution"
    if isinstance(module, _CONV) and module.groups > 1 and module.in_channels != module.out_channels:
        return "a depthwise convolution that multiplies its channels"
    if kind == "norms" and not isinstance(module, _SAFE_NORMS):
        return f"{type(module).__name__} mixes or shifts channels, so a zeroed one is not a removed one"
    if int(member.position.max()) >= _width(module, is_out):
        return "torch-pruning's indices reach beyond the layer"
    return ""


def _width(module: Any, is_out: bool) -> int:
    if isinstance(module, (_CONV, PadShortcut)):
        return module.out_channels if is_out else module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features if is_out else module.in_features
    return int(module.num_features) if isinstance(module, _BatchNorm) else int(module.num_parameters)
