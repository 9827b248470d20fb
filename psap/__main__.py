"""The `psap` command, also as `python -m psap`."""

import os
import sys


def main() -> None:
    """Run the command line; a package that an extra would bring is one line, not a traceback."""
    # A workflow has one process for all of its jobs that has imported all this already (psap.cli.warm).
    if address := os.environ.pop("PSAP_WARM", ""):
        from psap.utils.forking import ask

        if (code := ask(address, sys.argv[1:])) is not None:
            sys.exit(code)
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
