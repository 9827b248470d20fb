"""Run git and DVC."""

import os
import subprocess
import sys
from pathlib import Path

from psap.errors import PsapError


def git(where: Path, verb: str, *options: str) -> bytes:
    """Output of a git command in the folder `where`. Raises PsapError where it fails, with what it says."""
    return _run(where, "git", ["git"], verb, *options)


def dvc(where: Path, verb: str, *options: str) -> bytes:
    """Output of a DVC command in the folder `where`. Raises as `git` does."""
    return _run(where, "dvc", [sys.executable, "-m", "dvc"], verb, *options)


def _run(where: Path, name: str, command: list[str], *arguments: str) -> bytes:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    try:
        done = subprocess.run([*command, *arguments], cwd=where, env=environment, capture_output=True, check=True)
    except OSError as error:
        raise PsapError(f"{name} could not be run: {error.strerror or error}") from None
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.decode(errors="replace").splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith(("ERROR", "fatal"))), (said or ["no reason given"])[-1])
        raise PsapError(f"{name} {arguments[0]} failed: {reason}") from None
    return done.stdout
