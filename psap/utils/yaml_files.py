"""Read YAML that people wrote: what it allows and no file of ours has is refused, in one line.

Apart from psap.utils.validation, since the library alone reads no YAML and comes without the package for it.
"""

import copy
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from psap.errors import PsapError
from psap.utils.mappings import JsonObject
from psap.utils.validation import text

_LARGEST = 2**20  # bytes; a person writes a few KiB
_DEEPEST, _NODES = 30, 20_000  # levels, and values with every alias written out
_LONGEST = 20_000  # characters of a value
_LONGEST_NUMBER = 40


class _Loader(yaml.SafeLoader):
    """Refuses what YAML allows and no file of ours has: a key that is given twice, of which the first would be dropped
    without a word, keys that are no text, and files that are small to write and endless to read.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}  # of nodes that are whole, by identity

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        alias, before = self.check_event(yaml.AliasEvent), self._nodes
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if alias and id(node) not in self._sizes:
            raise yaml.constructor.ConstructorError(None, None, "a value that holds itself", mark)
        self._nodes += self._sizes[id(node)] if alias else 1
        self._sizes[id(node)] = self._nodes - before
        if self._nodes > _NODES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {_NODES:,} values", mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        if twice := [key for key, times in Counter(keys).items() if times > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{min(twice)!r} is given twice", node.start_mark)
        for key, _ in node.value:
            if key.tag not in (_MERGE, _TEXT):
                raise yaml.constructor.ConstructorError(None, None, "a key that is not text", key.start_mark)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str):
            problem = ""
            if len(value) > _LONGEST:
                problem = f"a value of more than {_LONGEST:,} characters"
            elif node.tag in _NUMBERS and len(value) > _LONGEST_NUMBER:
                problem = f"a number of more than {_LONGEST_NUMBER} characters"
            elif any(not (character.isprintable() or character in "\n\t") for character in value):
                problem = "a value with a character that cannot be printed"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return value


_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read_mapping(path: Path) -> JsonObject:
    """The YAML file `path`, a mapping whose keys are text. Raises PsapError with one line for whatever is wrong."""
    try:
        values = copy.deepcopy(_parsed(text(path, _LARGEST)))
    except FileNotFoundError as error:
        raise PsapError(f"{path}: cannot be read ({error.strerror})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise PsapError(f"{path}{where}: not valid YAML ({reason})") from None
    except ValueError as error:  # a date, or a number by its tag, that is none
        raise PsapError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise PsapError(f"{path}: must be a mapping of keys to values")
    return values


@cache
def _parsed(content: str) -> Any:
    """What the YAML `content` says: every suite of a folder reads the same methods."""
    return yaml.load(content, _Loader)  # a safe loader: see its base


def read_sections(path: Path) -> dict[str, JsonObject]:
    """The YAML file `path`, a mapping of names to mappings. Raises PsapError as `read_mapping` does."""
    values = read_mapping(path)
    for name, section in values.items():
        if not isinstance(section, dict):
            raise PsapError(f"{path}: {name}: must be a mapping of parameters to values")
    return values
