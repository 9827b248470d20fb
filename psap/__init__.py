"""Protective Self-Adaptive Pruning (arXiv:2303.11881): reproduce, compare, ablate, and prune your own network."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psap.errors import PsapError
    from psap.models import build
    from psap.models.saved import load, save
    from psap.pruning.allocation import AllocationInputs, Ratios
    from psap.pruning.criteria import Channels, Criterion
    from psap.pruning.graph.compact import compact
    from psap.pruning.graph.find import trace_groups
    from psap.pruning.graph.groups import Group
    from psap.pruning.graph.masked import compact_masked
    from psap.pruning.method import Method
    from psap.pruning.pruner import Pruner
    from psap.pruning.schedule import steps

__all__ = [
    "AllocationInputs",
    "Channels",
    "Criterion",
    "Group",
    "Method",
    "Pruner",
    "PsapError",
    "Ratios",
    "__version__",
    "build",
    "compact",
    "compact_masked",
    "load",
    "save",
    "steps",
    "trace_groups",
]
_HOMES = {
    "AllocationInputs": "psap.pruning.allocation",
    "Channels": "psap.pruning.criteria",
    "Criterion": "psap.pruning.criteria",
    "Group": "psap.pruning.graph.groups",
    "Method": "psap.pruning.method",
    "Pruner": "psap.pruning.pruner",
    "PsapError": "psap.errors",
    "Ratios": "psap.pruning.allocation",
    "build": "psap.models",
    "compact": "psap.pruning.graph.compact",
    "compact_masked": "psap.pruning.graph.masked",
    "load": "psap.models.saved",
    "save": "psap.models.saved",
    "steps": "psap.pruning.schedule",
    "trace_groups": "psap.pruning.graph.find",
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
