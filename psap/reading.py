"""Read a user's YAML against a schema, and say in one line what is wrong with it, where, and how to mend it."""

from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from psap.errors import PsapError, near


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently drop the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    try:
        values = yaml.load(path.read_text(), _Loader)  # a safe loader: see its base
    except OSError as error:
        raise PsapError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise PsapError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from None
    if not isinstance(values, dict):
        raise PsapError(f"{path}: must be a mapping of keys to values")
    return values


_S = TypeVar("_S", bound=BaseModel)


def validated(schema: type[_S], values: Any, where: str) -> _S:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = _told_first(error.errors())
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown key{near(str(first['loc'][-1]), _keys(schema, first['loc'][:-1]))}"
        elif first["type"] != "missing" and not isinstance(first["input"], dict):
            message = f"{message}, not {first['input']!r}"
        raise PsapError(f"{where}: {place}: {message}" if place else f"{where}: {message}") from None
    except PsapError as error:
        raise PsapError(f"{where}: {error}") from None


def _told_first(mistakes: list[Any]) -> Any:
    """An unknown key before all else: where one is missing, it is most often that one, misspelt."""
    return min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")


def _keys(schema: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    for part in place:
        field = schema.model_fields.get(str(part))
        inner = field.annotation if field else None
        kinds = (inner, *get_args(inner))  # a section that may be left out is one kind of two
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not sections:
            return []
        schema = sections[0]
    return list(schema.model_fields)
