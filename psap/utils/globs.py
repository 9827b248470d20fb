"""Globs over the names of a network's modules: each means the layers of that name, and those within such a module."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase

from psap.errors import LONGEST_NAME, PsapError


def means(glob: str, layer: str) -> bool:
    """Whether `glob` matches the name of the layer or of a module that it is in."""
    return any(fnmatchcase(module, glob) for module in _around(layer))


def last_of(globs: Iterable[str], layer: str) -> str:
    """The last of `globs` that means the layer, so that what is special follows what is general; "" for none."""
    return next((glob for glob in reversed([*globs]) if means(glob, layer)), "")


def check_globs(globs: Iterable[str], layers: Collection[str], where: str) -> None:
    """Raise PsapError, with a suggestion, for a glob that means none of the `layers`, the names of a network's."""
    for glob in globs:
        if not any(means(glob, layer) for layer in layers):
            raise PsapError(f"{where}: {glob!r} means no layer that makes channels{_suggestion(glob, layers)}")


def _around(layer: str) -> list[str]:
    parts = layer.split(".")
    return [".".join(parts[:depth]) for depth in range(len(parts), 0, -1)]


def _suggestion(glob: str, layers: Iterable[str]) -> str:
    known = sorted({module for layer in layers for module in _around(layer)})
    close = get_close_matches(glob.rstrip(".*")[:LONGEST_NAME], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; psap inspect shows their names"
