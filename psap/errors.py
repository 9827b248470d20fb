"""The one error that a user is meant to read: one line, what is wrong, where, and how to fix it."""

import difflib
import re
from collections.abc import Iterable

_LONGEST = 2000  # characters of a line that somebody is to read
LONGEST_NAME = 100  # of a word that is compared with names: no name is longer, and comparing takes its square


class PsapError(Exception):
    """A user's mistake or a bad input. The command line prints its text as one line and exits with 2."""


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
