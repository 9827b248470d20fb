"""Criteria, allocations and reconstructions of a user's own, in a file that registers them (docs/extending.md)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from psap.errors import PsapError
from psap.utils.validation import content

_LARGEST = 2**20  # bytes; a person writes a few KiB
_SECONDS = 5.0  # of processor time that a file may take: it is there to register a few functions


class _Endless(BaseException):
    """A file that does not come to its end; no `except Exception` in it catches that."""


def load(file: Path) -> None:
    """Run the Python `file`, once in a process. Raises PsapError when there is none, it fails, or does not end."""
    _load(file, Path.cwd())


@cache
def _load(file: Path, folder: Path) -> None:
    """Run `file`, whose path is taken from `folder`: the same name elsewhere is another file."""
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise PsapError(f"code: {file} is no Python file; its path is taken from the folder in which psap runs")
    content(file, _LARGEST)
    import_module("psap.pruning.criteria")  # and torch with it, whose time is not the file's
    try:
        with _limited():
            spec.loader.exec_module(module_from_spec(spec))
    except PsapError as error:
        raise PsapError(f"code: {file}: {error}") from None
    except _Endless:
        raise PsapError(
            f"code: {file} has run for {_SECONDS:g} s and does not end; it should only register parts"
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too, which would end the command as if all were well
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise PsapError(f"code: {file} cannot be run: {told}") from error


@contextmanager
def _limited() -> Iterator[None]:
    """Raise _Endless after so many seconds of processor time, in the main thread, where alone signals are heard."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise _Endless

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)  # again, where a bare `except` swallows the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
