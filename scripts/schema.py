"""Write params/schema.json and params/methods.schema.json, by which editors check and complete what is in params/."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from psap.suites.schema import MethodConfig, Retrain, Suite

PARAMS = Path(__file__).parents[1] / "params"
_BASE = {"type": "string", "description": "What this one differs from."}


def schemas() -> dict[str, str]:
    """The text of each file, by its name."""
    suite = Suite.model_json_schema()
    suite["properties"]["base"] = _BASE
    method = TypeAdapter(MethodConfig | Retrain).json_schema()
    own = method["$defs"]["MethodConfig"]
    own["properties"] |= {"base": _BASE, "scratch": {"$ref": "#/$defs/MethodConfig"}}
    methods = {"type": "object", "additionalProperties": {"anyOf": method.pop("anyOf")}, **method}
    made = {"schema.json": suite, "methods.schema.json": methods}
    return {name: json.dumps(_may_be_left_out(schema), indent=1) + "\n" for name, schema in made.items()}


def _may_be_left_out(schema: Any) -> Any:
    """`schema` for a file with a base: any key may be missing, and null takes away what the base says."""
    if isinstance(schema, list):
        return [_may_be_left_out(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: _may_be_left_out(part) for name, part in schema.items() if name not in ("required", "title")}
    if "properties" in schema:
        changed["properties"] = {
            name: {"anyOf": [_may_be_left_out(part), {"type": "null"}], "description": part.get("description", "")}
            for name, part in schema["properties"].items()
        }
    if isinstance(changed.get("additionalProperties"), dict):
        changed["additionalProperties"] = {"anyOf": [changed["additionalProperties"], {"type": "null"}]}
    return changed


if __name__ == "__main__":
    for name, text in schemas().items():
        (PARAMS / name).write_text(text)
