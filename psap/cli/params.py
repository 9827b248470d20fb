"""The option that commands of suites share."""

from pathlib import Path
from typing import Annotated

import typer

Params = Annotated[Path, typer.Option(help="Folder of the suites and methods.")]
