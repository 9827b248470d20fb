"""Criteria, allocations and reconstructions by name: the built-in ones, and a user's own (docs/extending.md)."""

from importlib import import_module
from typing import TypeVar

from psap.errors import PsapError, suggestion

_P = TypeVar("_P")


class Registry(dict[str, _P]):
    """Parts of methods by name. `registry[name] = part` adds one; PsapError where the name is taken.

    A run is known by the names in its configuration, so a name never comes to stand for something else.
    """

    def __setitem__(self, name: str, part: _P) -> None:
        if name in self:
            raise PsapError(f"{name!r} is registered already; give yours another name")
        super().__setitem__(name, part)


# The built-in names, which are known without importing torch: planning must not wait for it.
BUILT_IN = {
    "criterion": ("l1", "l2", "fpgm", "bn_scale", "taylor", "taylor_bn", "random"),
    "allocation": ("uniform", "sparsity", "global"),
    "reconstruction": ("hard", "soft", "protective"),
}
_HOMES = {
    "criterion": ("psap.pruning.criteria", "CRITERIA"),
    "allocation": ("psap.pruning.allocation", "ALLOCATIONS"),
    "reconstruction": ("psap.pruning.reconstruction", "RECONSTRUCTIONS"),
}


def check_known(kind: str, name: str) -> None:
    """Raise PsapError, with the name that was probably meant, unless `name` is a part of this kind."""
    if name in BUILT_IN[kind]:
        return
    module, registry = _HOMES[kind]
    known = getattr(import_module(module), registry)
    if name not in known:
        raise PsapError(f"{kind}: unknown name {name!r}{suggestion(name, known)}")
