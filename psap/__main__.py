"""`python -m psap` is the `psap` command."""

from psap.cli import main

main()
