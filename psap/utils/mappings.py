"""Nested mappings, as configurations are, in one level."""

from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Every leaf as text, by the names that lead to it: {"a": {"b": 1}} becomes {"a.b": "1"}."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return found
