"""Share networks and data with others by DVC, and see in a clone that these can be had."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psap.errors import PsapError
from psap.models import architecture
from psap.suites.networks import of_other_networks
from psap.suites.paths import CHECKPOINTS, RESULTS
from psap.workflow.committed import is_unchanged
from psap.workflow.tools import dvc, git

_CONFIG, _LOCK = Path(".dvc", "config"), Path("dvc.lock")


def publish(remote: str) -> Iterator[str]:
    """Push what DVC keeps to `remote`, a folder or an address of DVC's, and commit what a clone pulls it by.

    That is dvc.lock and the remote's address, which are committed last, after a clone of this repository has pulled
    every network. Yields what was done. Raises PsapError before any work where the rows are not committed, or not those
    of the networks here; and where a tool fails, with what it says.
    """
    _check()
    address = remote if ":" in remote else str(Path(remote).expanduser().resolve())
    dvc(Path(), "remote", "add", "-q", "-f", "-d", "store", address)
    dvc(Path(), "commit", "-q", "-f")
    dvc(Path(), "push", "-q")
    yield f"pushed to {address}"
    yield f"a clone pulled {_pulled_by_a_clone()} networks, each as it is here"
    if not is_unchanged(_CONFIG) or not is_unchanged(_LOCK):
        git(Path(), "add", str(_CONFIG), str(_LOCK))
        git(Path(), "commit", "-q", "-m", "Publish networks and data", "--", str(_CONFIG), str(_LOCK))
    yield f"committed: {_LOCK} and {_CONFIG}; `git push`, and others have all of it by `dvc pull`"


def _check() -> None:
    if not Path(".dvc").is_dir() or not _networks():
        raise PsapError("no networks to publish in this folder; `make reproduce` makes those of the demo")
    if not is_unchanged(Path()):
        raise PsapError("git does not have all that is here, and a clone gets its rows from git; commit first")
    for suite in sorted(folder.name for folder in CHECKPOINTS.iterdir()):
        if others := of_other_networks(RESULTS / suite, suite):
            raise PsapError(
                f"{len(others)} rows of {suite} are committed from other networks than are here, the first is "
                f"{others[0]}; `psap reproduce {suite} --accept` brings the rows of these: commit them first"
            )


def _networks() -> list[Path]:
    return sorted(file.parent for file in CHECKPOINTS.rglob(architecture.DESCRIPTION))


def _pulled_by_a_clone() -> int:
    """Pull in a clone that knows no more than git will have; returns how many networks it then has as they are here."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "clone")
        git(Path(), "clone", "-q", ".", str(clone))
        for file in (_CONFIG, _LOCK):
            shutil.copy(file, clone / file)
        dvc(clone, "pull", "-q")
        for network in _networks():
            architecture.verify(clone / network)
            if architecture.read(clone / network) != architecture.read(network):
                raise PsapError(f"{network}: a clone pulls another network; nothing was committed")
        return len(_networks())
