"""What a terminal shows while something takes long; a file or a pipe gets nothing of it."""

from contextlib import AbstractContextManager


def working(what: str) -> AbstractContextManager[object]:
    """Show `what` is being done, with a spinner, for as long as the context is open."""
    from rich.console import Console

    return Console(stderr=True).status(what)
