"""Nested mappings, as configurations are, in one level."""

from collections.abc import Mapping
from typing import Any

JsonObject = dict[str, Any]
"""An object of a JSON or YAML file, before or after a model stands for it."""
StateDict = dict[str, Any]
"""What a resumed run needs, as plain values and tensors (readable with `weights_only=True`)."""


def flat(values: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Every leaf as text, by the names that lead to it: {"a": {"b": 1}} becomes {"a.b": "1"}."""
    found: dict[str, str] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": str(value)}
    return found
