"""Protective Self-Adaptive Pruning (arXiv:2303.11881): reproduce, compare, ablate, and prune your own network."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psap.models.own import save
    from psap.models.saved import load
    from psap.pruning.method import Method
    from psap.pruning.pruner import Pruner

__all__ = ["Method", "Pruner", "__version__", "load", "save"]
_HOMES = {
    "load": "psap.models.saved",
    "save": "psap.models.own",
    "Method": "psap.pruning.method",
    "Pruner": "psap.pruning.pruner",
}


def __getattr__(name: str) -> Any:
    """Import on first use: planning a workflow must not wait for torch."""
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("psap-pruning")
    if name not in _HOMES:
        raise AttributeError(f"module 'psap' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
