"""What a user's own code may call says what it does, and in which types."""

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import psap
import psap.models
import psap.pruning
import psap.pruning.graph

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


def test_the_names_of_the_package_are_there_and_typed(root: Path) -> None:
    assert (root / "psap" / "py.typed").is_file()
    assert psap.__version__.count(".") == 2
    for name in set(psap.__all__) - {"__version__", "Ratios"}:  # an alias of a type
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
