"""Counts the multiply-adds of all that runs, whatever layer or function it comes from, by torch's own formulas."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Counting:
    """Sees every operation, and takes apart what is made of others."""

    flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # type: ignore[attr-defined]
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **kwargs)
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=out)
        return out


class FlopCounter(_Counting, TorchDispatchMode):
    """As torch.utils.flop_counter.FlopCounterMode, without a table by layers.

    A mode that defines `__torch_dispatch__` itself gets it wrapped, and so do torch's own: the wrapper imports all of
    torch.compile at its first call, which takes longer than a short training.
    """
