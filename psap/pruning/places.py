"""What one forward pass shows of a network: where kernels are applied, and multiply-adds that are no layer's."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import nn

from psap.pruning.multiply_adds import FlopCounter
from psap.utils.module_names import inside
from psap.utils.passes import evaluating, forward

_CONV = nn.modules.conv._ConvNd
_TRANSPOSED = nn.modules.conv._ConvTransposeNd


@dataclass
class Run:
    """What one forward pass shows: places of layers and multiply-adds within attentions, by name; all multiply-adds."""

    places: dict[str, int | Fraction]
    inside: dict[str, int]
    macs: int = 0


def observe(model: nn.Module, example_inputs: Any, attentions: Iterable[str]) -> Run:
    """Run `model` once; of `attentions`, by name, see what happens within."""
    run, counter = Run({}, {}), FlopCounter()  # type: ignore[no-untyped-call]

    def place(name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            for key, count in _places(name, module, args, kwargs, output):
                run.places[key] = run.places.get(key, 0) + count

        return hook

    def add(name: str, sign: int) -> Any:
        def hook(*_: Any) -> None:
            run.inside[name] = run.inside.get(name, 0) + sign * counter.flops // 2

        return hook

    kinds = (_CONV, nn.Linear, nn.MultiheadAttention)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    hooks = [module.register_forward_hook(place(name), with_kwargs=True) for name, module in modules.items()]
    for attention in attentions:
        module = model.get_submodule(attention)
        hooks.append(module.register_forward_pre_hook(add(attention, -1)))
        hooks.append(module.register_forward_hook(add(attention, 1)))
    try:
        with evaluating(model), counter:
            forward(model, example_inputs)
    finally:
        for hook in hooks:
            hook.remove()
    run.macs = counter.flops // 2
    return run


def _places(name: str, module: Any, args: Any, kwargs: Any, output: Any) -> Iterator[tuple[str, int | Fraction]]:
    """Where a call applies the kernel of a layer; those of an attention of torch, which calls no layers."""
    if isinstance(module, nn.MultiheadAttention):
        given = [*args, *(kwargs[key] for key in ("query", "key", "value") if key in kwargs)][:3]
        tokens = [x.numel() // x.shape[-1] for x in given]
        yield name, Fraction(sum(tokens), 3)
        yield inside(name, "out_proj"), tokens[0]
    elif isinstance(module, _TRANSPOSED):
        # Its kernel is laid on each input; that of all others makes each output.
        yield name, args[0].numel() // module.in_channels
    else:
        channels = module.out_channels if isinstance(module, _CONV) else module.out_features
        yield name, output.numel() // int(channels)
