"""Cases that nobody wrote down: hypothesis draws them, shrinks one that fails, and tries it first the next time."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from arena_helpers import Case
from calls_helpers import prune, shown
from cases_helpers import NAMED, NUMBERED, READ, put, write
from corpus_helpers import NAMES, NUMBERS, VALUES
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from psap import Method

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)  # what a shell can pass
_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUE: SearchStrategy[Any] = st.sampled_from(VALUES) | st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=5,
)
_COMMANDS = [(file, *command) for file, commands in READ.items() for command in commands]
_DEAR = [entry for entry in _COMMANDS if entry[1][0] == "analyse"]  # they draw every figure
COMMANDS = [*(3 * [entry for entry in _COMMANDS if entry not in _DEAR]), *_DEAR]
METHOD = Method().model_dump()


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values within `value` are."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(inner, (*above, key))


def _inside(values: Any, where: tuple[Any, ...]) -> Any:
    for key in where:
        values = values[key]
    return values


@st.composite
def changed(draw: DrawFn, values: Any) -> tuple[str, Any]:
    """A copy of `values` that has another value at one place, another key, one more or one less; and what was done."""
    whole = copy.deepcopy(values)
    *above, last = draw(st.sampled_from(list(places(whole))))
    inside = _inside(whole, tuple(above))
    how = draw(st.sampled_from(["set", "set", "add", "remove"]))
    if how == "remove":
        del inside[last]
    elif how == "add" and isinstance(inside, dict):
        inside[draw(WORDS)] = draw(VALUE)
    else:
        inside[last] = draw(VALUE)
    return f"{how} at {'.'.join(map(str, (*above, last)))}", whole


@st.composite
def damaged(draw: DrawFn, whole: bytes) -> tuple[str, bytes]:
    """`whole` cut somewhere, with another byte, or with more bytes; and what was done."""
    at = draw(st.integers(0, len(whole)))
    how = draw(st.sampled_from(["cut", "overwrite", "insert"]))
    new = b"" if how == "cut" else draw(st.binary(min_size=1, max_size=20))
    rest = {"cut": b"", "overwrite": whole[at + len(new) :], "insert": whole[at:]}[how]
    return f"{how} at byte {at}", whole[:at] + new + rest


@st.composite
def files(draw: DrawFn, project: Path) -> Case:
    """A file of `project` with a mistake in it, and a command that reads it."""
    file, arguments, check = draw(st.sampled_from([entry for entry in COMMANDS if (project / entry[0]).is_file()]))
    whole = (project / file).read_bytes()
    readers: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], str]]] = {
        ".yaml": (yaml.safe_load, yaml.safe_dump),
        ".json": (json.loads, json.dumps),
    }
    if (reader := readers.get(Path(file).suffix)) and draw(st.booleans()):
        told, values = draw(changed(reader[0](whole)))
        content = reader[1](values).encode()
    else:
        told, content = draw(damaged(whole))
    return Case(f"{file}: {told}", arguments, partial(put, file, partial(write, content)), check)


@st.composite
def words(draw: DrawFn, _: Path) -> Case:
    """A command with a name that nobody has, or a number that nobody takes."""
    if draw(st.booleans()):
        command = draw(st.sampled_from(sorted(NUMBERED)))
        numbers = st.sampled_from(NUMBERS) | st.integers().map(str) | st.floats().map(str) | WORDS
        return Case("number", (*command, f"{draw(st.sampled_from(NUMBERED[command]))}={draw(numbers)}"))
    name = draw(WORDS | st.sampled_from(NAMES))
    command = draw(st.sampled_from(NAMED))
    return Case("name", tuple(word.replace("?", name) for word in command) if name else ("plan", name))


@st.composite
def calls(draw: DrawFn, _: Path) -> Case:
    """A `Pruner` with an argument, or a parameter somewhere in its method, that nobody gives."""
    if draw(st.booleans()):
        name = draw(st.sampled_from(["target", "epochs", "seed", "measure", "example_inputs", "groups"]))
        value = draw(VALUE)
        return Case(f"Pruner({name}={shown(value)})", call=partial(prune, **{name: value}))
    told, method = draw(changed(METHOD))
    return Case(f"Pruner(method={told}: {shown(method)})", call=partial(prune, method=method))
