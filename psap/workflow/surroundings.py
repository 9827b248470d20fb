"""What the workflow needs of the folder, the user and the machine; looked at before all else is imported."""

import os
from pathlib import Path

from psap.errors import PsapError
from psap.utils.limits import check_memory_limit

_WRITTEN = (".snakemake", "data", "state", "results", "checkpoints", "logs")


def check_surroundings(folder: Path) -> None:
    """Raise PsapError where the workflow cannot work in `folder`, which is the working directory."""
    if set("{}") & set(str(folder)):  # Snakemake takes them for names of its own
        raise PsapError(f"{folder}: Snakemake cannot work in a folder with braces in its path; rename it")
    for name in _WRITTEN:
        if Path(name).exists() and not os.access(name, os.W_OK | os.X_OK):
            raise PsapError(f"{name}/: nothing can be written in it (Permission denied); make it writable, or yours")
    check_memory_limit()


def keep_cache_writable() -> None:
    """Give what Snakemake and others keep of themselves a place in this folder, where the user's own takes nothing.

    Called by profiles/default/config.yaml, before Snakemake looks for that place.
    """
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        usual.mkdir(parents=True, exist_ok=True)
        writable = os.access(usual, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where the user's home is
        writable = False
    if not writable:
        os.environ["XDG_CACHE_HOME"] = str(Path(".snakemake", "cache").resolve())
