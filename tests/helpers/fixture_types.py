"""The types of fixtures that are functions: `conftest.py` files make them, tests take them."""

from pathlib import Path
from typing import Any, Protocol

from torch import nn

from psap.utils.mappings import JsonObject


class Randomise(Protocol):
    """Gives a network the values that a fresh one hides mistakes behind, in place, and returns it."""

    def __call__(self, model: nn.Module, seed: int = 0) -> nn.Module: ...

    def __hash__(self) -> int: ...  # tests cache what comes of it


class Psap(Protocol):
    """Runs a command line in this process: its exit code, and what it wrote to stdout and stderr."""

    def __call__(self, *arguments: object) -> tuple[int, str, str]: ...


class Build(Protocol):
    """Writes the rows of a suite that a generator has drawn; its settings are those of `build_suite`."""

    def __call__(self, folder: Path, **settings: Any) -> Path: ...


class Seal(Protocol):
    """A row as the content of run.json, with the hash of its configuration."""

    def __call__(self, row: JsonObject) -> str: ...


class Flip(Protocol):
    """Flips a bit of the byte after `mark` in a file."""

    def __call__(self, file: Path, mark: bytes = b"") -> None: ...
