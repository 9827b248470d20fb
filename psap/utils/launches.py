"""How many operations a piece of work hands to the device: a GPU launches at least one kernel for each."""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_NOTHING = ("empty", "new_empty", "_unsafe_view")  # what is computed by them, beside views
_TWICE = ("convolution_backward", "native_batch_norm")  # of the input and of the weights; statistics, then the output


def launches(action: Callable[[], object]) -> int:
    """Operators that `action` calls and that compute something: no views, no allocation.

    A floor for the kernels that a GPU launches. It is the same number on every device, "meta" included.
    """
    counted = _Count()
    with counted:
        action()
    return counted.found


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if not func.is_view and not name.startswith(_NOTHING):
            self.found += 1 + name.startswith(_TWICE)
        return func(*args, **(kwargs or {}))
