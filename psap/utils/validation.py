"""Read what others wrote, and say in one line what is wrong with it, where, and how to fix it.

Every such file is read here, or as YAML in psap.utils.yaml_files: a regular file of bounded size, in UTF-8, of bounded
depth, of the shape that is expected.
"""

import csv
import io
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from psap.errors import PsapError, one_line, suggestion
from psap.utils.files import regular
from psap.utils.mappings import JsonObject

LARGEST = 64 * 2**20  # bytes of a file that psap wrote; its largest are tables of thousands of rows
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


def read_written(path: Path) -> JsonObject:
    """What a run wrote to `path`, whichever version it was: any object. Raises as `read_json` does."""
    return read_json(path, JsonObject, "restore the file, or train its run again")


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
