"""Read what others wrote (YAML, JSON, CSV), and say in one line what is wrong with it, where, and how to fix it.

Every such file is read here: a regular file of bounded size, in UTF-8, of bounded depth, of the shape that is expected.
"""

import csv
import io
import reprlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from psap.errors import PsapError, one_line, suggestion
from psap.utils.files import regular

LARGEST = 64 * 2**20  # bytes of a file that psap wrote; its largest are tables of thousands of rows
_LARGEST_YAML = 2**20  # bytes; a person writes a few KiB
_DEEPEST, _NODES = 30, 20_000  # of a YAML file: levels, and values with every alias written out
_LONGEST = 20_000  # characters of a value in it
_LONGEST_NUMBER = 40
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80  # characters of a wrong value in a message
_T = TypeVar("_T")


def content(path: Path, largest: int = LARGEST) -> bytes:
    """The bytes of `path`. Raises FileNotFoundError, or PsapError where it is no file or has more than `largest`."""
    with regular(path, largest).open("rb") as file:
        return file.read(largest)


def text(path: Path, largest: int = LARGEST) -> str:
    """The text of `path`, which is in UTF-8. Raises as `content` does, and PsapError for another encoding."""
    try:
        return content(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PsapError(f"{path}: not a text in UTF-8 (byte {error.start}); save it in that encoding") from None


def read_json(path: Path, kind: type[_T], again: str) -> _T:
    """The JSON file `path` as a `kind`, which pydantic checks. `again` tells how to come by a good one.

    Raises FileNotFoundError, or PsapError for whatever else is wrong with it.
    """
    try:
        return TypeAdapter(kind).validate_json(content(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PsapError(f"{path}: damaged, or of another kind ({where}: {first['msg']}); {again}") from None


def read_rows(path: Path, columns: Sequence[str], again: str) -> list[dict[str, str]]:
    """The rows of the CSV file `path`, each with at least `columns`. Raises as `read_json` does."""
    try:
        rows = list(csv.DictReader(io.StringIO(text(path)), strict=True))
    except csv.Error as error:
        raise PsapError(f"{path}: not a CSV file ({error}); {again}") from None
    for line, row in enumerate(rows, 2):
        if lacking := [column for column in columns if row.get(column) is None]:
            raise PsapError(f"{path}: row {line} has no {lacking[0]}; {again}")
    return rows


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows and no file of ours has: a key that is given twice, of which the first would be dropped
    without a word, keys that are no text, and files that are small to write and endless to read.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}  # of nodes that are whole, by identity

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias, before = self.check_event(yaml.AliasEvent), self._nodes
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise yaml.constructor.ConstructorError(None, None, "a value that holds itself", mark)
        self._nodes += self._sizes[id(node)] if alias else 1
        self._sizes[id(node)] = self._nodes - before
        if self._nodes > _NODES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_NODES:,} values", mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        if twice := [key for key, times in Counter(keys).items() if times > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{min(twice)!r} is given twice", node.start_mark)
        for key, _ in node.value:
            if key.tag not in (_MERGE, _TEXT):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text", key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str):
            problem = ""
            if len(value) > _LONGEST:
                problem = f"a value of more than {_LONGEST:,} characters"
            elif node.tag in _NUMBERS and len(value) > _LONGEST_NUMBER:
                problem = f"a number of more than {_LONGEST_NUMBER} characters"
            elif any(not (character.isprintable() or character in "\n\t") for character in value):
                problem = "a value with a character that cannot be printed"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_mapping(path: Path) -> dict[str, Any]:
    """The YAML file `path`, a mapping whose keys are text. Raises PsapError with one line for whatever is wrong."""
    try:
        values = yaml.load(text(path, _LARGEST_YAML), _Loader)  # a safe loader: see its base
    except FileNotFoundError as error:
        raise PsapError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise PsapError(f"{path}{where}: not valid YAML ({reason})") from None
    except ValueError as error:  # a date, or a number by its tag, that is none
        raise PsapError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise PsapError(f"{path}: must be a mapping of keys to values")
    return values


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """The YAML file `path`, a mapping of names to mappings. Raises PsapError as `read_mapping` does."""
    values = read_mapping(path)
    for name, section in values.items():
        if not isinstance(section, dict):
            raise PsapError(f"{path}: {name}: must be a mapping of parameters to values")
    return values


_S = TypeVar("_S", bound=BaseModel)


def validated(schema: type[_S], values: Any, where: str) -> _S:
    """`values` as a `schema`. Raises PsapError with one line on the first mistake, beginning with `where`."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        first = _told_first(error.errors())
        message = _said(first)
        if first["type"] == "extra_forbidden":
            message = f"unknown key{suggestion(str(first['loc'][-1]), _keys(schema, first['loc'][:-1]))}"
        place = ".".join(str(part) for part in first["loc"])
        told = f"{where}: {place}: {message}" if place else f"{where}: {message}"
        raise PsapError(one_line(told)) from None  # a key may be any text
    except PsapError as error:
        raise PsapError(f"{where}: {error}") from None


def _told_first(mistakes: list[Any]) -> Any:
    """An unknown key before all else: where one is missing, it is most often that one, misspelt."""
    return min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")


def checked(kind: Any, value: Any, where: str) -> Any:
    """`value` as the annotated type `kind`. Raises PsapError with one line that begins with `where`."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise PsapError(f"{where}: {_said(error.errors()[0])}") from None


def _said(mistake: Any) -> str:
    message: str = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "missing" or isinstance(mistake["input"], dict):
        return message
    return f"{message}, not {_SHORT.repr(mistake['input'])}"


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
