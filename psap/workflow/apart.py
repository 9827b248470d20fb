"""Results that agree with the committed ones go to a place of their own, so that git sees only what has changed.

Snakemake knows the rows that it made itself. So they come back before it works, and go apart again after it:

    rerun/suites/<suite>             this machine's results, while the committed ones are in results/<suite>
    rerun/suites/<suite>.committed   a copy of the committed ones, while they are written or removed

A folder is renamed as a whole. Whatever stops that on the way, the next `bring_back` finds this machine's results.
"""

import shutil
from pathlib import Path

from psap.suites.networks import of_other_networks
from psap.suites.paths import RESULTS
from psap.workflow.committed import is_unchanged

APART = Path("rerun", "suites")


def copy_of_committed(suite: str) -> Path:
    """Where a copy of the committed results is written, to take the place of this machine's."""
    return APART / f"{suite}.committed"


def bring_back(suite: str) -> None:
    """Put this machine's results of `suite` back in results/, where they went apart and nothing else was made since."""
    own, folder = APART / suite, RESULTS / suite
    if not own.is_dir():
        return
    if folder.exists():
        if not is_unchanged(folder) or of_other_networks(own, suite):
            return
        shutil.rmtree(copy_of_committed(suite), ignore_errors=True)
        folder.rename(copy_of_committed(suite))
    own.rename(folder)
    shutil.rmtree(copy_of_committed(suite), ignore_errors=True)


def put_apart(suite: str) -> Path:
    """Let the copy of the committed results take the place of this machine's; returns where these are now."""
    own, folder = APART / suite, RESULTS / suite
    shutil.rmtree(own, ignore_errors=True)
    folder.rename(own)
    copy_of_committed(suite).rename(folder)
    return own


def results_of_this_machine(suite: str) -> Path:
    """The folder of what was made here last, apart or not."""
    own = APART / suite
    return own if own.is_dir() else RESULTS / suite
