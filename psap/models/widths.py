"""The widths of a network's layers: read them from one network, give them to another of the same name."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from psap.errors import PsapError
from psap.layers import HeadAttention, PadShortcut
from psap.models.architecture import Plain, Widths, Wiring
from psap.utils.module_names import inside


def widths(model: nn.Module) -> Widths:
    """Read the widths of every layer of `model`."""
    found = Widths(shapes={name: list(tensor.shape) for name, tensor in model.state_dict().items()})
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            found.groups[name] = module.groups
        elif isinstance(module, PadShortcut):
            source, gain = module.source.tolist(), module.gain.tolist()
            found.shortcuts[name] = Wiring(in_channels=module.in_channels, source=source, gain=gain)
    return found


def set_widths(model: nn.Module, target: Widths) -> None:
    """Give every layer of `model` the widths of `target`, in place; the values of resized tensors are undefined.

    Knows convolutions (grouped and depthwise too), linear layers, attentions, batch-norm, layer-norm, PReLU and
    PadShortcut; of other layers `target.attributes` have what their shapes do not tell. Raises PsapError, naming the
    layer, where `target` has other layers or other kernel sizes than `model`, or widths that do not agree within a
    layer. (Widths that do not agree between layers fail in the first forward.)
    """
    current = widths(model)
    if strangers := current.shapes.keys() ^ target.shapes.keys():
        first = min(strangers)
        raise PsapError(f"{first}: " + ("missing" if first in current.shapes else "this network has no such tensor"))
    for name, module in model.named_modules():
        own = {key: target.shapes[inside(name, key)] for key in _tensors(module) if inside(name, key) in target.shapes}
        changed = any(shape != current.shapes[inside(name, key)] for key, shape in own.items())
        if isinstance(module, PadShortcut):
            _rewire(name, module, own, target.shortcuts.get(name))
        elif changed or target.groups.get(name) != current.groups.get(name):
            _resize(name, module, own)
            _set_attributes(name, module, own, target.groups.get(name, 1))
    for name, values in target.attributes.items():
        _set_numbers(name, dict(model.named_modules()).get(name), values)


def _set_numbers(name: str, module: nn.Module | None, values: dict[str, Plain]) -> None:
    known = numbers(module) if module is not None else {}
    for key, value in values.items():
        _require(type(known.get(key)) is type(value), name, f"{key} is no such number of this network")
        setattr(module, key, tuple(value) if isinstance(value, list) else value)


def differing(model: nn.Module, other: nn.Module) -> dict[str, dict[str, Plain]]:
    """The numbers that modules of `model` keep, where those of `other` are others."""
    others = {name: numbers(module) for name, module in other.named_modules()}
    found = {
        name: {key: value for key, value in numbers(module).items() if others[name].get(key, value) != value}
        for name, module in model.named_modules()
        if name in others
    }
    return {name: values for name, values in found.items() if values}


def numbers(module: nn.Module) -> dict[str, Plain]:
    """The numbers that a module keeps as attributes of its own, one by one or several in a tuple."""
    values = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    single = {key: value for key, value in values.items() if type(value) in (int, float)}
    several = {key: [*value] for key, value in values.items() if type(value) is tuple and {*map(type, value)} == {int}}
    return single | several


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}


def _resize(name: str, module: nn.Module, shapes: dict[str, list[int]]) -> None:
    for key, old in _tensors(module).items():
        if key not in shapes or list(old.shape) == shapes[key]:
            continue
        _require(old.dim() == len(shapes[key]), name, f"{key} of shape {shapes[key]}, not {old.dim()} dimensions")
        new = old.detach().new_empty(shapes[key])
        setattr(module, key, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)


def _set_attributes(name: str, module: nn.Module, shapes: dict[str, list[int]], groups: int) -> None:
    if isinstance(module, nn.Conv2d):
        out, per_group, *kernel = shapes["weight"]
        _require(tuple(kernel) == module.kernel_size, name, f"kernel {kernel}, not {list(module.kernel_size)}")
        _require(out % groups == 0, name, f"{out} channels in {groups} groups")
        _require(shapes.get("bias", [out]) == [out], name, "weight and bias differ in channels")
        module.in_channels, module.out_channels, module.groups = per_group * groups, out, groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = shapes["weight"]
        _require(shapes.get("bias", [module.out_features]) == [module.out_features], name, "weight and bias differ")
    elif isinstance(module, nn.MultiheadAttention):
        rows, _ = shapes.get("in_proj_weight", [1, 0])
        _require(rows % 3 == 0 and shapes.get("in_proj_bias", [rows]) == [rows], name, "weight and bias differ")
        HeadAttention.adopt(module)
    elif isinstance(module, _BatchNorm | nn.LayerNorm | nn.PReLU):
        vectors = [shape for shape in shapes.values() if shape]
        _require(all(shape == vectors[0] for shape in vectors), name, f"its tensors differ in channels: {vectors}")
        if isinstance(module, _BatchNorm):
            module.num_features = vectors[0][0]
        elif isinstance(module, nn.PReLU):
            module.num_parameters = vectors[0][0]
        else:
            module.normalized_shape = tuple(vectors[0])


def _rewire(name: str, shortcut: PadShortcut, shapes: dict[str, list[int]], wiring: Wiring | None) -> None:
    if wiring is None:
        raise PsapError(f"{name}: the wiring of this shortcut is missing")
    outputs = [len(wiring.source)]
    _require(shapes == {"source": outputs, "gain": outputs}, name, "wiring and shapes differ in channels")
    _require(len(wiring.gain) == outputs[0], name, "source and gain differ in channels")
    _require(max(wiring.source) <= wiring.in_channels, name, "an output shows a channel that is not there")
    shortcut.in_channels, shortcut.out_channels = wiring.in_channels, outputs[0]
    shortcut.source = torch.tensor(wiring.source, device=shortcut.source.device)
    shortcut.gain = torch.tensor(wiring.gain, device=shortcut.gain.device)


def _require(condition: bool, name: str, otherwise: str) -> None:
    if not condition:
        raise PsapError(f"{name}: {otherwise}")
