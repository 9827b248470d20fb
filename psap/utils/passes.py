"""Passes through a network that is looked at, not trained: arguments and outputs of any nesting, and no fused kernels.

A fused kernel (an attention, a recurrent layer) does its matrix products where no hook and no counter sees them; which
kernels are fused differs by device, type of numbers and mode. Without them the same network counts the same everywhere.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel


class Call(NamedTuple):
    """The arguments of one forward pass."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, inputs: Any) -> "Call":
        """Of example inputs: one argument, a tuple or list of them, or a mapping of named ones."""
        if isinstance(inputs, cls):
            return inputs
        if isinstance(inputs, Mapping):
            return cls((), dict(inputs))
        return cls(tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else cls((inputs,), {})

    def changed(self, change: Callable[[Tensor], Tensor]) -> "Call":
        """The same call with every tensor changed."""
        return Call(*_changed((self.args, self.kwargs), change))


def forward(model: nn.Module, inputs: Any) -> Any:
    """Call `model` on example inputs: a tensor, a tuple or list of arguments, or a mapping of named ones."""
    call = Call.of(inputs)
    with _eager():
        return model(*call.args, **call.kwargs)


def _eager() -> AbstractContextManager[None]:
    """Parts that are compiled run as they were written; who has compiled nothing need not wait for the compiler."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """`model` in eval mode, as it was afterwards; no gradients, no fused kernels, nothing compiled."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad(), _unfused():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _unfused() -> Iterator[None]:
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), bool(torch.backends.mkldnn.enabled)
    torch.backends.mha.set_fastpath_enabled(False)
    _enable_onednn(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False), _eager():
            yield
    finally:
        _enable_onednn(onednn)
        torch.backends.mha.set_fastpath_enabled(fast)


def _enable_onednn(enabled: bool) -> None:
    """Not by oneDNN's own context manager, which warns of a setting for other processors."""
    torch.backends.mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)


def doubled(inputs: Any) -> Call:
    """Example inputs in float64."""
    return Call.of(inputs).changed(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def smaller(inputs: Call) -> Call:
    """The same call with fewer pixels of images, where sides stay at least 24 long; itself where there are none."""
    cut = inputs.changed(_fewer_pixels)
    return inputs if [t.shape for t in tensors([*cut])] == [t.shape for t in tensors([*inputs])] else cut


def _fewer_pixels(tensor: Tensor) -> Tensor:
    if tensor.dim() != 4 or not tensor.is_floating_point():
        return tensor
    step = 1
    while min(tensor.shape[2:]) // (2 * step) >= _LEAST_SIDE:
        step *= 2
    return tensor[:, :, ::step, ::step].contiguous()


_LEAST_SIDE = 24


def tensors(output: Any) -> list[Tensor]:
    """The tensors of an output: it may be one, or a sequence, mapping or dataclass of outputs."""
    if isinstance(output, Tensor):
        return [output]
    return [tensor for part in _parts(output) for tensor in tensors(part)]


def _parts(output: Any) -> Iterable[Any]:
    if isinstance(output, Mapping):
        return output.values()
    if is_dataclass(output):
        return [getattr(output, field.name) for field in fields(output)]
    return output if isinstance(output, (tuple, list)) else ()


def gap(expected: list[Tensor], found: list[Tensor]) -> float:
    """Largest difference of two networks' outputs, of the same shapes, relative to the largest of `expected`."""
    pairs = [(_numbers(a), _numbers(b)) for a, b in zip(expected, found, strict=True) if a.numel()]
    # What is equal differs by nothing, infinities too; NaN is equal to nothing.
    largest = max((float((a - b).abs().where(a != b, 0.0).max()) for a, b in pairs), default=0.0)
    return largest / max(float(a.abs().max()) for a, _ in pairs) if largest else 0.0


def _numbers(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).double()


def varied(inputs: Any) -> list[Call]:
    """Calls like the example, of other values: a forward pass that looks at its input may go other ways on them.

    Numbers are normal ones around the example's mean, far below and above it, far larger and far smaller; whole
    numbers are the example's own in another order; truth values stay.
    """
    call = Call.of(inputs)
    return [call.changed(_Change(seed, *change)) for seed, change in enumerate(_CHANGES)]


_CHANGES = ((1.0, 0.0), (1.0, -3.0), (1.0, 3.0), (30.0, 0.0), (0.01, 0.0))  # scale and shift, in standard deviations


class _Change:
    def __init__(self, seed: int, scale: float, shift: float) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._scale, self._shift = scale, shift

    def __call__(self, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.bool or tensor.is_complex() or not tensor.numel():
            return tensor
        if not tensor.is_floating_point():
            order = torch.randperm(tensor.numel(), generator=self._generator)
            return tensor.flatten()[order.to(tensor.device)].reshape(tensor.shape)
        normal = torch.randn(tensor.shape, generator=self._generator, dtype=torch.float64).to(tensor)
        spread = float(tensor.double().std(correction=0)) or 1.0
        return tensor.mean() + spread * (self._scale * normal + self._shift)


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _changed(part, change) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_changed(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
