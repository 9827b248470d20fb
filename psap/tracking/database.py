"""The file of a tracking store in sqlite."""

from pathlib import Path
from typing import Any

from filelock import FileLock

from psap.tracking.reach import SQLITE
from psap.utils import files


def create(database: Path, client: Any) -> None:
    """Make an empty `database`, once and whole.

    MLflow builds its schema in dozens of steps without a lock: two processes at it, or one killed in the middle, leave
    a file that no MLflow can open again. So it is built under a lock and a temporary name.
    """
    if database.exists():
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        if not database.exists():
            for left in database.parent.glob(f".{database.stem}.*{database.suffix}*"):
                left.unlink()  # by a process that was killed, whose number may come again
            with files.atomic(database) as temporary:
                client(f"{SQLITE}{temporary}")
