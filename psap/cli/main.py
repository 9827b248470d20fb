"""The `psap` command: thin, a function for each verb in the modules next to this one."""

import sys
from typing import Annotated

import typer

import psap
from psap.cli import bench, networks, prune, runs, suites, tracking
from psap.errors import PsapError, one_line, raise_out_of_memory
from psap.utils.limits import check_memory_limit

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for commands in (suites, tracking, runs, networks, prune):
    app.add_typer(commands.app)
app.add_typer(bench.app, name="bench")


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"psap {psap.__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Prune the filters of a network, and reproduce, compare and ablate Protective Self-Adaptive Pruning."""


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        _in_utf8(sys.argv)
        check_memory_limit()
        _run()
    except typer.TyperException as error:  # a verb or an option that there is not, or a value that it does not take
        if not (message := error.format_message()):  # without any verb: the help was shown
            sys.exit(2)
        _refuse(f"{message} (psap --help)")
    except OSError as error:  # what the surroundings refuse, wherever it is met: a name too long, a folder not ours
        _refuse(f"{f'{error.filename}: ' if error.filename else ''}{error.strerror or error}")
    except PsapError as error:
        _refuse(error)


def _run() -> None:
    try:
        sys.exit(app(standalone_mode=False))
    except Exception as error:
        raise_out_of_memory(error)
        raise


def _refuse(message: object) -> None:
    print(f"psap: {one_line(message)}", file=sys.stderr)
    sys.exit(2)


def _in_utf8(words: list[str]) -> None:
    """Refuse what a path, a message or a digest cannot be made of later."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise PsapError(f"{word!a}: not in UTF-8; rename it, or write it in that encoding") from None
