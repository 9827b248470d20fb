"""What is no network to prune, by itself and in one line: before anything of it is traced, copied or counted."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from psap.errors import PsapError, raise_out_of_memory
from psap.utils.module_names import inside
from psap.utils.passes import Call, forward, tensors

_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")

_COMPUTED = (
    "is computed of other parameters, as by weight_norm or a mask of torch.nn.utils.prune; remove that first "
    "(remove_weight_norm, prune.remove)"
)


def check_network(model: nn.Module) -> None:
    """Raise PsapError, with the remedy, unless `model` is a plain network with plain weights."""
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise PsapError(f"model is no network, but an object of type {kind}; pass the nn.Module itself")
    if any(wrapper.__name__ in _WRAPPERS for wrapper in type(model).__mro__):
        raise PsapError(f"{kind} wraps the network to train it; pass the network inside, model.module")
    if hasattr(model, "_orig_mod"):
        raise PsapError("torch.compile wraps the network; pass the network that was compiled, model._orig_mod")
    for name, module in model.named_modules():
        if problem := _strange(module):
            raise PsapError(f"{kind} cannot be pruned: {name or 'it'} is {problem}")
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for key, tensor in own:
            if problem := _unusable(tensor):
                raise PsapError(f"{kind} cannot be pruned: {inside(name, key)} {problem}")
        for key, value in vars(module).items():
            if isinstance(value, Tensor) and value.requires_grad and not value.is_leaf:
                raise PsapError(f"{kind} cannot be pruned: {inside(name, key)} {_COMPUTED}")


def check_inputs(example_inputs: Any) -> None:
    """Raise PsapError unless there is a tensor in the example inputs."""
    if not tensors([*Call.of(example_inputs)]):
        raise PsapError(
            f"example_inputs: no tensor in this {type(example_inputs).__name__}; pass a tensor, a tuple of arguments "
            "or a dict of named ones"
        )


@torch.no_grad()
def check_outputs(doubled: nn.Module, example_inputs: Any) -> None:
    """Raise PsapError unless a copy of the network in float64 gives numbers that can be compared."""
    kind = type(doubled).__name__
    try:
        output = forward(doubled, example_inputs)
    except Exception as error:
        raise_out_of_memory(error)
        raise PsapError(
            f"{kind} does not run in float64, where masked and compacted network are compared ({one_line(error)}); let "
            "its forward pass take the type of numbers that its input has"
        ) from error
    if any(bool(tensor.isnan().any()) for tensor in tensors(output)):
        raise PsapError(f"{kind}: its outputs on the example input are NaN; look at its weights and at the input")


def traceable(output: Any) -> list[Tensor]:
    """The tensors of an output by which the network can be followed. Raises PsapError where there are none."""
    found = tensors(output)
    if not found:
        raise PsapError(
            f"no tensor is found in its output, a {type(output).__name__}; wrap it so that it returns tensors, by "
            "themselves or in a tuple, list, dict or dataclass"
        )
    followed = [tensor for tensor in found if tensor.grad_fn is not None]
    if not followed:
        raise PsapError("its outputs have no gradient: its forward pass detaches them, or runs under torch.no_grad")
    return followed


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _strange(module: nn.Module) -> str:
    if isinstance(module, torch.jit.ScriptModule):
        return "a TorchScript program; pass the nn.Module that it was made of"
    if "quantized" in type(module).__module__:
        return "a quantised layer; prune first, quantise the compacted network"
    return ""


def _unusable(tensor: Tensor) -> str:
    if is_lazy(tensor):
        return "has no shape yet; run the network once, then prune it"
    if tensor.is_meta:
        return "is on the meta device, without values; give it some first (model.to_empty, load_state_dict)"
    if tensor.is_quantized:
        return "is quantised; prune first, quantise the compacted network"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"is stored as {tensor.layout}; make it an ordinary tensor first (to_dense)"
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"is a {type(tensor).__name__}; prune the network before its weights are sharded or packed"
    return ""
