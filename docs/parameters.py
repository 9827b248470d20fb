"""Write the page of all parameters from their schema: `python docs/parameters.py` renews docs/parameters.md."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from psap.standalone.request import PruneRequest
from psap.suites.load import MethodConfig, Retrain, Suite

PAGE = Path(__file__).with_suffix(".md")
INTRODUCTION = """# Parameters

Every key of the files that `psap` reads, with its type, bounds, default and meaning. A misspelt key or an impossible
value is one clear line before any work starts.

A key without a default can be left out, unless it is required. A section that is left out takes the defaults of its
keys. A *name* is letters, digits, `_`, `.` and `-`, beginning with a letter or digit.

<!-- Made by `make site` from the schema (docs/parameters.py): change the meaning there. -->
"""
# What a reader writes: its heading, where it is written, and its schema.
FILES: dict[str, tuple[str, type[BaseModel]]] = {
    "Suite": ("`params/<suite>.yaml`", Suite),
    "Method": ("an entry of `params/methods.yaml`", MethodConfig),
    "Retrain": ("an entry of `params/methods.yaml`", Retrain),
    "PruneRequest": ("the file that `psap prune` is given", PruneRequest),
}
TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "string": "text", "null": "nothing"}
BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}


def page() -> str:
    """The whole page: a heading for each file, then one for each section that is met in it for the first time."""
    parts, seen = [INTRODUCTION], set(FILES)
    for heading, (place, schema) in FILES.items():
        parts.append(f"## {heading}\n\nWhere: {place}.\n\n{described(schema)}")
        for name, section in sections(schema):
            if name not in seen:
                seen.add(name)
                parts.append(f"### {name}\n\n{described(section)}")
    return "\n".join(parts)


def sections(schema: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The sections within `schema`, by name, in the order of its keys; those within them behind each."""
    for field in schema.model_fields.values():
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield kind.__name__, kind
                yield from sections(kind)


def described(schema: type[BaseModel]) -> str:
    """What a section is for, and a table with a row for each of its keys."""
    described = schema.model_json_schema()
    required = described.get("required", [])
    rows = [
        (f"`{key}`", kind(value), bounds(value), "required" if key in required else default(value), meaning(value))
        for key, value in described["properties"].items()
    ]
    header = ("key", "type", "bounds", "default", "meaning")
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]
    text = inspect.getdoc(schema) or ""
    return "\n".join([text.replace("docs/method.md", "[the method](method.md)"), "", *lines, ""])


def kind(value: dict[str, Any]) -> str:
    """The type of a key in words; a section is a link to its table."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        return kind(value["anyOf"][0])  # the other is that nothing is given
    if "enum" in value or "const" in value:
        return ", ".join(f"`{word}`" for word in value.get("enum", [value.get("const")]))
    if "prefixItems" in value:
        return f"{len(value['prefixItems'])} x {kind(value['prefixItems'][0])}"
    if value["type"] == "array":
        return f"list of {kind(value['items'])}"
    if value["type"] == "object":
        if "patternProperties" in value:
            return "mapping of name to mapping"
        keys, entry = value.get("propertyNames"), value["additionalProperties"]
        return f"mapping of {kind(keys)} to {kind(entry)}" if keys else "mapping"
    return "name" if "pattern" in value else TYPES[value["type"]]


def bounds(value: dict[str, Any]) -> str:
    """The bounds of a number, or of what a list holds; how many entries there must be."""
    inner = next((value[key][0] for key in ("anyOf", "prefixItems") if key in value), value.get("items"))
    found = [text.format(f"{value[key]:g}") for key, text in BOUNDS.items() if key in value]
    if (value.get("minItems") and "prefixItems" not in value) or value.get("minProperties"):
        found.append("not empty")
    return ", ".join([*found, *([bounds(inner)] if inner and bounds(inner) else [])])


def default(value: dict[str, Any]) -> str:
    """The default of a key that can be left out; a section's are those of its keys."""
    given = value.get("default")
    if isinstance(given, dict) or given is None or given in ("", []):
        return ""
    return f"`{str(given).lower() if isinstance(given, bool) else given}`"


def meaning(value: dict[str, Any]) -> str:
    """What a key means, as its schema says."""
    return " ".join(value["description"].split())


if __name__ == "__main__":
    PAGE.write_text(page())
