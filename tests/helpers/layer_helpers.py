"""The layers of a network, as what they are."""

from typing import TypeVar

from torch import Tensor, nn

Layer = TypeVar("Layer", bound=nn.Module)


def layer(model: nn.Module, name: str, kind: type[Layer]) -> Layer:
    """The layer of `model` with this name, which is one of this kind."""
    found = model.get_submodule(name)
    assert isinstance(found, kind), f"{name} is {found}"
    return found


def grad(parameter: Tensor) -> Tensor:
    """The gradient of a parameter, which has one."""
    assert parameter.grad is not None
    return parameter.grad
