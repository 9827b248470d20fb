"""Weights as inference sees them: times what the batch-norm behind their layer multiplies its outputs by."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from psap.pruning.graph.groups import Group
from psap.utils.passes import evaluating, forward


def norms_behind(model: nn.Module, example_inputs: Any, groups: Sequence[Group]) -> dict[str, str]:
    """Names of the batch-norms that read a layer's output as it is, by the name of the layer.

    Seen in one forward pass: a norm is behind a layer if its input is the very tensor that the layer returned.
    """
    layers = {m.name: m.module for group in groups for m in group.producers}
    norms = {m.name: m.module for group in groups for m in group.norms if _folds(m.module)}
    made: list[tuple[Tensor, str]] = []  # kept alive, so that no other tensor takes a place in memory
    found: dict[str, str] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: made.append((output, name))

    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            found.update({layer: name for output, layer in made if output is inputs[0]})

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in layers.items()]
    hooks += [module.register_forward_pre_hook(look(name)) for name, module in norms.items()]
    try:
        with evaluating(model):
            forward(model, example_inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _folds(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.weight is not None and module.running_var is not None


@torch.no_grad()
def folded_weights(behind: Mapping[str, str], group: Group) -> Tensor:
    """A group's weights, |w scale / standard deviation| where a batch-norm is `behind`: shape (C, D), as `filters`.

    Biases in front of a batch-norm, which it takes away, are left out.
    """
    norms = {m.key: m.module for m in group.norms}
    rows = []
    for slot in group.weights:
        norm: Any = norms.get(behind.get(slot.member.name, ""))
        value = slot.outputs_first(slot.tensor).abs()
        if norm is not None and slot.attribute == "bias":
            continue
        if norm is not None:
            gain = norm.weight.abs() / (norm.running_var + norm.eps).sqrt()
            value = value * gain.reshape(-1, *[1] * (value.dim() - 1))
        rows.append(group.rows(slot, value))
    return torch.cat(rows, dim=1)
