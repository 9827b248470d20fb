"""Whole files or none: everything is written to a temporary name beside its target, then renamed.

What is read is checked to be a file.
"""

import csv
import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from psap.errors import PsapError


@contextmanager
def os_errors_as_psap_error(path: Path) -> Iterator[None]:
    """Turn what the system says against writing `path` (a full disk, a folder of somebody else's) into a PsapError."""
    try:
        yield
    except OSError as error:
        raise PsapError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "fix the cause and run the same command again to resume"
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
    with os_errors_as_psap_error(path):
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


def regular(path: Path, largest: int | None = None) -> Path:
    """`path`, if it is a file that can be read: a FIFO keeps its reader waiting for ever, and a device has no end.

    Whatever opens a file asks here first. Raises FileNotFoundError, or PsapError for all else that is wrong, such as
    more bytes than `largest`.
    """
    try:
        status = path.stat()
        readable = os.access(path, os.R_OK)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no name that a file can have
        raise PsapError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise PsapError(f"{path}: must be a file, and is {kind}; put the file in its place")
    if not readable:
        raise PsapError(f"{path}: cannot be read (Permission denied)")
    if largest is not None and status.st_size > largest:
        size, most = (f"{bytes_ / 2**20:,.0f} MiB" for bytes_ in (status.st_size, largest))
        raise PsapError(f"{path}: {size}, larger than the {most} that can be read of such a file; replace it")
    return path


def free_memory() -> int:
    """Bytes of memory that can still be had."""
    return int(psutil.virtual_memory().available)


def sha256(content: bytes | Path) -> str:
    """Hexadecimal SHA-256 of bytes, or of a file's content."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with regular(content).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
