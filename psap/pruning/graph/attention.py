"""Attentions whose heads can be removed: recognised by what they are made of, one layer each in the dependency graph.

A head is what queries, keys and values of its own have: rows of the projections that make them, columns of the one
that reads the heads. Without its rows it adds nothing, so that a zeroed head is a removed one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from psap.layers import HeadAttention
from psap.pruning.graph.members import Member, Table
from psap.utils.module_names import inside

# What attentions call the number of their heads, the projection that reads them, and the width of all heads together.
_HEADS = ("num_heads", "n_heads", "nhead", "heads", "num_attention_heads", "num_kv_heads", "num_key_value_heads")
_OUTPUTS = ("proj", "out_proj", "o_proj", "c_proj", "to_out", "wo", "out", "dense")
_WIDTHS = ("attn_dim", "kv_dim", "inner_dim", "all_head_dim", "all_head_size", "embed_dim", "dim", "d_model")


@dataclass(frozen=True)
class Attention:
    """An attention of a network: positions of its heads in what `inputs` make, and in what `output` reads.

    `tables`: other tensors with a part for each head, such as a bias by relative places.
    """

    name: str
    module: nn.Module
    heads: int
    inputs: list[Member]
    output: Member
    tables: list[Table]


def attentions(model: nn.Module) -> dict[nn.Module, Attention]:
    """The attentions of `model` that are understood. Of a class that is not always understood, there are none."""
    found = {module: known for name, module in model.named_modules() if (known := attention(name, module))}
    strange = [module for module in model.modules() if module not in found]
    kinds = {kind for kind in {type(module) for module in found} if not any(isinstance(m, kind) for m in strange)}
    return {module: known for module, known in found.items() if type(module) in kinds}


def attention(name: str, module: nn.Module) -> Attention | None:
    """The parts of an attention; None for another module, or one that has parts which are not understood."""
    return _packed(name, module) if isinstance(module, nn.MultiheadAttention) else _of_layers(name, module)


def _packed(name: str, module: nn.MultiheadAttention) -> Attention | None:
    alike = module._qkv_same_embed_dim or isinstance(module, HeadAttention)
    if not alike or module.bias_k is not None or module.add_zero_attn:
        return None
    heads, width = module.num_heads, module.in_proj_weight.shape[0] // 3
    output = Member(inside(name, "out_proj"), module.out_proj, *_by_head(1, heads, width))
    return Attention(name, module, heads, [Member(name, module, *_by_head(3, heads, width))], output, [])


def _of_layers(name: str, module: nn.Module) -> Attention | None:
    heads = {value for key in _HEADS if type(value := vars(module).get(key)) is int}
    layers = {key: layer for key, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    outputs = [key for key in layers if key.partition(".")[0] in _OUTPUTS]
    if len(heads) != 1 or len(outputs) != 1:
        return None
    count, output = heads.pop(), layers.pop(outputs[0])
    width = output.in_features
    if count < 1 or width % count or any(layer.out_features % width for layer in layers.values()):
        return None
    if sum(layer.out_features for layer in layers.values()) < 3 * width:  # queries, keys and values
        return None
    inputs = [
        Member(inside(name, key), layer, *_by_head(layer.out_features // width, count, width))
        for key, layer in layers.items()
    ]
    others = _others(module, [output, *layers.values()])
    places = [_place(name, module, key, list(tensor.shape), count, width) for key, tensor in others]
    if None in places:
        return None
    tables = [place for place in places if isinstance(place, Table)]
    own = Member(inside(name, outputs[0]), output, *_by_head(1, count, width))
    return Attention(name, module, count, inputs, own, tables)


def _others(module: nn.Module, layers: Sequence[nn.Linear]) -> Iterator[tuple[str, Tensor]]:
    """Tensors beside those of `layers`: parameters, and buffers as wide as all heads."""
    for prefix, part in module.named_modules():
        if part not in layers:
            for key, tensor in part.named_parameters(recurse=False):
                yield inside(prefix, key), tensor
    width = layers[0].in_features
    for key, tensor in module.named_buffers(recurse=False):
        if tensor.shape == (width,):
            yield key, tensor


def _place(name: str, module: nn.Module, key: str, shape: list[int], heads: int, width: int) -> Table | bool | None:
    """Where the heads lie in a tensor; True where they share it, as a norm of queries; None where that is unknown."""
    if shape == [width // heads]:
        return True
    if "." in key:
        return None
    if shape == [width]:
        return Table(name, module, *_by_head(1, heads, width), key, 0)
    if shape.count(heads) == 1:
        return Table(name, module, torch.arange(heads), torch.arange(heads), key, shape.index(heads))
    return None


def _by_head(parts: int, heads: int, width: int) -> tuple[Tensor, Tensor]:
    """Positions in `parts` tensors of `width`, one behind the other, by head; and the head of each."""
    places = torch.arange(parts * width).reshape(parts, heads, -1).transpose(0, 1).reshape(heads, -1)
    return places.flatten(), torch.arange(heads).repeat_interleave(places.shape[1])


def lose_heads(module: nn.Module, lost: int) -> None:
    """Tell an attention, whose tensors have been cut, that it has `lost` heads less."""
    own = vars(module)
    names = [key for key in _HEADS if type(own.get(key)) is int]
    heads, left = own[names[0]], own[names[0]] - lost
    if not isinstance(module, nn.MultiheadAttention):  # which goes by its tensors
        width = heads * (_output(module).in_features // left)
        names += [key for key in _WIDTHS if own.get(key) == width]
    for key in names:
        setattr(module, key, own[key] // heads * left)


def _output(module: nn.Module) -> nn.Linear:
    layers = [(key, layer) for key, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    return next(layer for key, layer in layers if key.partition(".")[0] in _OUTPUTS)
