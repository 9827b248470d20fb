"""What a user's own code may call says what it does, takes, gives and raises, and in which types."""

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import griffe
import pytest
from pydantic import BaseModel

import psap
import psap.models
import psap.pruning
import psap.pruning.graph
from psap.export import export
from psap.lightning import PruningCallback

PACKAGES = (psap.pruning, psap.pruning.graph, psap.models)
MODULES = ["psap", "psap.lightning", "psap.models"] + [
    module.name for package in PACKAGES for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
]
FROM_OUTSIDE = ("forward",)  # the names by which torch calls a module's methods


def members(owner: Any, module: str) -> Iterator[tuple[str, Any]]:
    """The public functions, classes, methods and properties that `module` defines in `owner`, with their full names."""
    for name, value in vars(owner).items():
        value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        code: Any = value.fget if isinstance(value, property) else value
        code = inspect.unwrap(code)
        documented = inspect.isfunction(code) or inspect.isclass(code)
        if name.startswith("_") or name in FROM_OUTSIDE or not documented or code.__module__ != module:
            continue
        yield f"{module}.{code.__qualname__}", value
        if inspect.isclass(value):
            yield from members(value, module)


def public() -> dict[str, Any]:
    return {name: value for module in MODULES for name, value in members(import_module(module), module)}


def test_everything_public_has_a_docstring() -> None:
    """Its own, or that of the method it overrides."""
    found = public()
    assert {"psap.pruning.pruner.Pruner.step", "psap.pruning.pruner.Pruner.masks", "psap.models.build"} <= set(found)
    assert not [name for name, value in found.items() if not (inspect.getdoc(value) or "").strip()]


def exported() -> dict[str, Any]:
    """The functions and classes that the page of the library is about, with the methods that are their own."""
    names = sorted(set(psap.__all__) - {"__version__", "Ratios"})  # an alias of a type
    found = {name: getattr(psap, name) for name in names} | {"export": export, "PruningCallback": PruningCallback}
    for name, kind in list(found.items()):
        if inspect.isclass(kind):
            own = {path.rpartition(".")[2]: method for path, method in members(kind, kind.__module__)}
            bases = {inherited for base in kind.__mro__[1:] for inherited in vars(base)}
            found |= {f"{name}.{method}": value for method, value in own.items() if method not in bases}
    return {name: value for name, value in found.items() if not isinstance(value, property)}


def sections(value: Any) -> dict[str, set[str]]:
    """What the sections of a docstring in Google's style name: arguments, attributes, exceptions; or nothing."""
    found: dict[str, set[str]] = {}
    for section in griffe.Docstring(inspect.getdoc(value) or "").parse("google", warnings=False):
        named = [] if isinstance(section.value, str) else section.value
        found[section.kind.value] = {getattr(item, "name", "") or str(item.annotation) for item in named}
    return found


def taken(value: Any) -> set[str]:
    parameters = [one for one in inspect.signature(value).parameters.values() if one.name not in ("self", "cls")]
    return {str(one).partition(":")[0] if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL) else one.name
            for one in parameters}  # fmt: skip


def raises(function: Any) -> bool:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) for node in ast.walk(tree))


def lacking(value: Any) -> list[str]:
    """What the docstring of a function or class does not say."""
    said = sections(value)
    known = said.get("parameters", set()) | said.get("attributes", set())
    if inspect.isclass(value) and issubclass(value, BaseModel):  # each attribute has a docstring of its own
        known = {name for name, about in value.model_fields.items() if about.description}
    lacks = [f"Args: {name}" for name in sorted(taken(value) - known)]
    lacks += [f"no such argument: {name}" for name in sorted(said.get("parameters", set()) - taken(value))]
    if inspect.isfunction(value):
        gives = inspect.signature(value).return_annotation not in (None, "None")
        wanted = {"Returns": gives, "Raises": raises(value)}
        lacks += [title for title, there in wanted.items() if there and title.lower() not in said]
    return lacks


@pytest.mark.parametrize(("name", "value"), exported().items(), ids=exported())
def test_what_is_exported_says_what_it_takes_gives_and_raises(name: str, value: Any) -> None:
    if not (inspect.isclass(value) and issubclass(value, Exception)):
        assert lacking(value) == []


def test_a_docstring_that_lacks_something_is_seen(root: Path) -> None:
    def bare(a: int, *, b: int = 0, **more: int) -> int:
        """Adds.

        Args:
            a: One number.
            c: Another.
        """
        if a < 0:
            raise ValueError(a)
        return a + b + sum(more.values())

    assert lacking(bare) == ["Args: **more", "Args: b", "no such argument: c", "Returns", "Raises"]
    assert {"Pruner.step", "Group.filters", "Method.identity", "PruningCallback.compact"} <= set(exported())
    alias = griffe.load("psap.pruning.allocation", search_paths=[root])["Ratios"]
    assert alias.docstring and "(G,)" in alias.docstring.value


def test_the_names_of_the_package_are_there_and_typed(root: Path) -> None:
    assert (root / "psap" / "py.typed").is_file()
    assert psap.__version__.count(".") == 2
    for name in set(psap.__all__) - {"Ratios"}:  # an alias of a type
        value = getattr(psap, name)
        if name == "__version__":
            assert re.fullmatch(r"\d+\.\d+\.\d+", value)
            continue
        assert value.__doc__ and value.__module__.startswith("psap.")
        if inspect.isclass(value) and issubclass(value, Exception):
            continue
        call = value.__init__ if inspect.isclass(value) else value
        assert call.__annotations__


def test_what_the_page_of_the_library_documents_is_exported(root: Path) -> None:
    documented = re.findall(r"^::: (psap\.[\w.]+)", (root / "docs" / "api.md").read_text(), re.MULTILINE)
    assert len(documented) > 10
    for name in set(documented) - {"psap.export.export"}:  # psap.export is the module itself
        module, _, short = name.rpartition(".")
        assert getattr(psap, short) is getattr(import_module(module), short) and short in psap.__all__
