"""Whatever psap is given, it ends within seconds: in one line and exit code 2, or right, with a checked result.

PSAP_FUZZ is the number of cases: few by default, and the whole corpus at 2,500.
"""

import copy
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from arena_helpers import Case
from calls_helpers import calls
from cases_helpers import READ, files, images, put, words
from corpus_helpers import VALUES

Withstood = Callable[[Iterable[Case]], None]
PARTS = 4  # of each test, that can be run side by side
FEW = int(os.environ.get("PSAP_FUZZ", "120")) // (4 * PARTS)


def sampled(cases: list[Case], part: int) -> list[Case]:
    """FEW of the part's cases, or all that it has."""
    mine = cases[part::PARTS]
    random.Random(part).shuffle(mine)
    return mine[:FEW]


@pytest.mark.parametrize("part", range(PARTS))
def test_files_that_are_not_what_is_read(withstood: Withstood, part: int) -> None:
    withstood(sampled([*files(), *images()], part))


@pytest.mark.parametrize("part", range(PARTS))
def test_words_that_are_not_what_is_taken(withstood: Withstood, part: int) -> None:
    withstood(sampled(list(words()), part))


@pytest.mark.parametrize("part", range(PARTS))
def test_arguments_of_the_library(withstood: Withstood, part: int) -> None:
    withstood(sampled(list(calls()), part))


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values within `value` are."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*above, key)
        yield from places(inner, (*above, key))


def changed(values: Any, where: tuple[Any, ...], value: Any) -> Any:
    """A copy of `values` that has another `value` at one place."""
    whole = inside = copy.deepcopy(values)
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    return whole


def spoilt(project: Path, many: int, part: int) -> Iterator[Case]:
    """Structured files of which one value is another one."""
    chance = random.Random(part)
    readable = [name for name in READ if name.endswith((".yaml", ".json")) and (project / name).exists()]
    for _ in range(many):
        name = chance.choice(readable)
        load, dump = (yaml.safe_load, yaml.safe_dump) if name.endswith(".yaml") else (json.loads, json.dumps)
        values = load((project / name).read_text())
        where, value = chance.choice(list(places(values))), chance.choice(VALUES)
        content = str(dump(changed(values, where, value))).encode()
        arguments, check = chance.choice(READ[name])
        told = f"{name}: {'.'.join(map(str, where))} = {repr(value)[:60] if value != 10**400 else '10**400'}"
        yield Case(told, arguments, partial(put, name, partial(_write, content)), check)


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


@pytest.mark.parametrize("part", range(PARTS))
def test_one_value_that_is_another(withstood: Withstood, project: Path, part: int) -> None:
    withstood(spoilt(project, FEW, part))
