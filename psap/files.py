"""Whole files or none: everything is written to a temporary name beside its target, then renamed."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psap.errors import PsapError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path` (a full disk, a folder of somebody else's) into a PsapError."""
    try:
        yield
    except OSError as error:
        raise PsapError(
            f"{path}: cannot be written ({error.strerror or error}); mend that, and the same command goes on"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the system says against reading `path`, or what lies in it, into a PsapError."""
    try:
        yield
    except OSError as error:
        raise PsapError(
            f"{error.filename or path}: cannot be read ({error.strerror or error}); fix that first"
        ) from None


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; on success it becomes `path`, on any error it is removed.

    Raises PsapError where the system does not let it be written.
    """
    # The process id keeps two writers apart; the suffix stays last because some writers read it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, keys in their own order; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `columns` of `rows` to `path` as CSV; None is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def seal(values: Mapping[str, Any]) -> str:
    """SHA-256 of what `values`, a JSON object, says, to stand beside it: a digit that changes is noticed."""
    return sha256(
        json.dumps({name: value for name, value in values.items() if name != "seal"}, sort_keys=True).encode()
    )


def sha256(content: bytes | Path) -> str:
    """Hexadecimal SHA-256 of bytes, or of a file's content."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
