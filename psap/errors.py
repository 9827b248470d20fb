"""The one error that a user is meant to read: one line, what is wrong, where, and how to mend it."""

import difflib
from collections.abc import Iterable


class PsapError(Exception):
    """A user's mistake or a bad input. The command line prints its text as one line and exits with 2."""


def near(word: str, known: Iterable[str]) -> str:
    """How to go on from a word that is not known: the name that was probably meant, or all that there are."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"
