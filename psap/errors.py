"""The one error that a user is meant to read: one line, what is wrong, where, and how to mend it."""


class PsapError(Exception):
    """A user's mistake or a bad input. The command line prints its text as one line and exits with 2."""
