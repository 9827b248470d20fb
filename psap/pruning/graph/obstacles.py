"""Why channels may not be removed, as far as the layers and operations that they pass tell."""

from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from psap.layers import PadShortcut
from psap.pruning.graph.attention import Attention
from psap.pruning.graph.norms import looks_together, span, width
from psap.pruning.graph.standardised import reads_together
from psap.pruning.graph.trace import is_grouped

_CONV = nn.modules.conv._ConvNd
# Zero in, zero out, channel by channel: a pruned channel stays zero behind these.
_SAFE_NORMS = (_BatchNorm, nn.PReLU)
_WHOLE = (nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
OUTPUT = "feeds the network's output"


class Known(NamedTuple):
    """Of a network's modules: their names, those whose tensors are not theirs alone, and the attentions.

    `owners`: of each parameter the module and its name there.
    """

    names: dict[nn.Module, str]
    bound: dict[nn.Module, str]
    attentions: dict[nn.Module, Attention]
    owners: dict[nn.Parameter, tuple[nn.Module, str]]
    through_norms: bool


def refusal(items: Any, known: Known) -> str:
    """Why no channel of a group may be removed; empty where they may be."""
    reasons = [_obstacle(item, items._DG, known) for item in items]
    return OUTPUT if OUTPUT in reasons else next(filter(None, reasons), "")


def _obstacle(item: Any, graph: Any, known: Known) -> str:
    """Why an item of a group forbids to remove channels; empty where it does not."""
    module, is_out = item.dep.target.module, graph.is_out_channel_pruning_fn(item.dep.handler)
    layers = layers_of(module, is_out, known) if module in known.names else []
    if not item.dep.target.outputs and not any(kind_of(layer, is_out) == "consumers" for _, layer in layers):
        return OUTPUT
    if is_expanded(item):
        return "expanded in a way that mixes channels"
    if module in known.owners:
        owner, key = known.owners[module]
        reaches = max(item.idxs) >= module.shape[item.dep.target.pruning_dim]
        problem = known.bound.get(owner) or ("torch-pruning's indices reach beyond it" if reaches else "")
        return f"{known.names[owner]}.{key}: {problem}".removeprefix(".") if problem else ""
    if not layers:  # an operation
        return _mixing(module)
    for name, layer in layers:
        problem = "" if is_shared(layer) else known.bound.get(layer) or _problem(layer, is_out, max(item.idxs), known)
        if problem:
            return f"{name}: {problem}"
    return ""


def layers_of(module: nn.Module, is_out: bool, known: Known) -> list[tuple[str, nn.Module]]:
    """The layers, with their names, that make or read the channels of a module: of an attention its projections."""
    found = known.attentions.get(module)
    if not found:
        return [(known.names[module], module)]
    return [(member.name, member.module) for member in ([found.output] if is_out else found.inputs)]


def kind_of(module: nn.Module, is_out: bool) -> str:
    """What a layer is to the channels that it makes (`is_out`) or reads."""
    if isinstance(module, (_CONV, nn.Linear, PadShortcut, nn.MultiheadAttention)):
        depthwise = isinstance(module, _CONV) and module.groups > 1
        return "producers" if is_out or depthwise else "consumers"
    return "norms"


def is_expanded(item: Any) -> bool:
    """Whether an operation before it has repeated channels, of which torch-pruning does not tell the origin."""
    return None in item.root_idxs


def is_shared(module: nn.Module) -> bool:
    """Whether the module has nothing for each channel: a PReLU with one slope for all."""
    return isinstance(module, nn.PReLU) and module.num_parameters == 1


def is_stream(norm: nn.Module) -> bool:
    """Whether a norm looks at all of its channels together, so that none can be removed exactly."""
    return span(norm) == width(norm)


def _mixing(operation: nn.Module) -> str:
    """Why an operation between two layers forbids pruning single channels; empty when it does not."""
    name = str(getattr(operation, "_grad_fn", "")).lower()
    mixes = any(word in name for word in ("bmm", "scaleddotproduct", "softmax"))
    return f"{name.split('backward')[0]} mixes channels (attention)" if mixes else ""


def _problem(module: nn.Module, is_out: bool, last: int, known: Known) -> str:
    """Why a layer forbids pruning, its positions being up to `last`; empty when it does not."""
    if reads_together(module) and not is_out and not known.through_norms:
        return "weight standardisation, by which a layer's weights are others without one of its inputs"
    if isinstance(module, _CONV) and 1 < module.groups != module.out_channels and not is_grouped(module):
        return "a grouped convolution that makes more or fewer channels than it reads"
    if isinstance(module, _CONV) and module.groups > 1 and module.in_channels != module.out_channels:
        return "a depthwise convolution that multiplies its channels"
    if isinstance(module, _WHOLE) and module not in known.attentions:
        return f"a layer whose channels are not pruned ({type(module).__name__})"
    together = looks_together(module) and (known.through_norms or not is_stream(module))
    if kind_of(module, is_out) == "norms" and not isinstance(module, _SAFE_NORMS) and not together:
        return f"{type(module).__name__} mixes or shifts channels, so a zeroed one is not a removed one"
    if last >= _width(module, is_out):
        return "torch-pruning's indices reach beyond the layer"
    return ""


def _width(module: Any, is_out: bool) -> int:
    if isinstance(module, (_CONV, PadShortcut)):
        return module.out_channels if is_out else module.in_channels
    if isinstance(module, nn.Linear):
        return module.out_features if is_out else module.in_features
    if isinstance(module, nn.MultiheadAttention):
        return int(module.in_proj_weight.shape[1])
    if looks_together(module):
        return width(module)
    return int(module.num_features) if isinstance(module, _BatchNorm) else int(module.num_parameters)
