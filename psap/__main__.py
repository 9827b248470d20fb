"""The `psap` command, also as `python -m psap`."""

import sys


def main() -> None:
    """Run the command line; a package that an extra would bring is one line, not a traceback."""
    try:
        from psap.cli.main import main as run

        run()
    except ModuleNotFoundError as error:
        if (error.name or "psap").partition(".")[0] == "psap":
            raise
        print(
            f"psap: this needs the package {error.name}, which is not installed; "
            "in a checkout, `pip install '.[suite]'` brings all that the commands need",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
