"""Criteria, allocations and reconstructions of a user's own, in a file that registers them (docs/extending.md)."""

from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from psap.errors import PsapError


@cache
def load(file: Path) -> None:
    """Run the Python `file`, once in a process. Raises PsapError when there is none, or it fails."""
    spec = spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise PsapError(f"code: {file} is no Python file; its path is taken from the folder in which psap runs")
    try:
        spec.loader.exec_module(module_from_spec(spec))
    except PsapError as error:
        raise PsapError(f"code: {file}: {error}") from None
    except Exception as error:
        raise PsapError(f"code: {file} cannot be run: {type(error).__name__}: {error}") from error
