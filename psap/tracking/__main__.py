"""The live mirror of one run: `python -m psap.tracking JOURNAL PARENT_PID`, the store being MLFLOW_TRACKING_URI.

It exits with 0 once the store holds the journal up to its end, with 1 when it gives up, and soon after its parent: the
run that it mirrors. Nothing tells it of a new row; it looks at the journal's size.
"""

import os
import signal
import sys
import time
from pathlib import Path

from psap.tracking.journal import read
from psap.tracking.mirror import Mirror
from psap.tracking.reach import reason
from psap.tracking.store import Store, tracking_uri

POLL = 0.2  # seconds between two looks at the journal
LONGEST_DELAY = 30.0  # seconds between two attempts at a store that fails
LAST_ATTEMPTS = 3  # at a store that fails, once the run has ended
LAST_SECONDS = 60  # that a mirror may outlive its parent: many that start at once need some


def follow(path: Path, uri: str, parent: int) -> bool:
    """Mirror the journal at `path` until it ends or the `parent` process does. True: the store holds all of it."""
    mirror: Mirror | None = None
    failures, told, alone = 0, "", False
    while True:
        orphan = os.getppid() != parent
        if orphan and not alone:
            signal.alarm(LAST_SECONDS)
            alone = True
        size = path.stat().st_size
        try:
            mirror = mirror or Mirror(Store(uri))
            if mirror.sync(path, live=not orphan)["status"] != "RUNNING":
                return True
            failures = 0
        except Exception as error:  # of any kind: the store may be anything, and is tried again
            failures += 1
            if reason(error) != told:
                told = reason(error)
                print(time.strftime("%Y-%m-%d %H:%M:%S"), told, flush=True)
        if failures >= LAST_ATTEMPTS and (orphan or _ended(path)):
            return False
        if orphan:
            time.sleep(1)
        else:
            _wait(path, size, parent, failures)


def _wait(path: Path, size: int, parent: int, failures: int) -> None:
    """Wait for a change of the journal; after failures for some time, unless the journal ends."""
    deadline = time.monotonic() + min(0.5 * 2 ** min(failures, 10), LONGEST_DELAY) if failures else float("inf")
    while time.monotonic() < deadline and os.getppid() == parent:
        time.sleep(POLL)
        if path.stat().st_size != size and (not failures or _ended(path)):
            return


def _ended(path: Path) -> bool:
    journal = read(path)
    return journal is not None and journal.end is not None


if __name__ == "__main__":
    whole = follow(Path(sys.argv[1]), tracking_uri(None), int(sys.argv[2]))
    # The run waits for this exit, and tearing MLflow down takes most of a second; all is written and told by now.
    os._exit(0 if whole else 1)
