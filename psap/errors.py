"""The one error that a user is meant to read: one line, what is wrong, where, and how to fix it."""

import difflib
import re
from collections.abc import Iterable

_LONGEST = 2000  # characters of a line that somebody is to read
_NO_MEMORY = ("failed to map segment", "allocate memory", "out of memory", "bad_alloc", "bad allocation")
LONGEST_NAME = 100  # of a word that is compared with names: no name is longer, and comparing takes its square


class PsapError(Exception):
    """A user's mistake or a bad input. The command line prints its text as one line and exits with 2."""


def raise_out_of_memory(error: Exception) -> None:
    """Raise PsapError where `error` says that memory ran out, as Python, torch and the loader of libraries each say it
    in their own way: it is no fault of the file or network at hand.
    """
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        raise PsapError(
            "not enough memory; end other programs, raise a limit (ulimit), or take smaller batches (micro_batch)"
        ) from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """How to go on from a word that is not known: the name that was probably meant, or all that there are."""
    names = sorted(known)
    close = difflib.get_close_matches(word[:LONGEST_NAME], names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def one_line(message: object) -> str:
    """`message` as one line for people: without line breaks, escapes or the password of any address in it."""
    text = public(str(message)).strip()
    line = "".join(c if c.isprintable() else " " if c in "\n\t" else repr(c)[1:-1] for c in text)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def public(text: str) -> str:
    """`text` without the user and password of any address in it, up to the last @: a password may hold one, or a /."""
    return re.sub(r"://(?!/)[^\s'\"]*@", "://", text)
