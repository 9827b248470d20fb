"""What resume lives on: checkpoints with a digest in their name, and one writer to a run."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from psap.files import regular, sha256, write_bytes

_KEPT = 2  # the newest, and the one before in case the newest is damaged


@contextmanager
def single_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's state folder; wait for a process that still has it (it may be about to finish)."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        print(f"{folder}: another process works on this run; waiting for it", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Checkpoints:
    """The checkpoints of one run in `folder`: `epoch-<n>-<digest>.pt`, read without running any code they may hold."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after `epoch` epochs; whole or not at all. The two newest are kept."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
        write_bytes(self._folder / f"epoch-{epoch:05d}-{sha256(data)[:16]}.pt", data)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole; None when there is none. A damaged one is named on stderr and passed over."""
        for file in reversed(self._files()):
            data = regular(file).read_bytes()
            if sha256(data)[:16] == file.stem.rpartition("-")[2]:
                state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
                return state
            print(f"{file}: damaged (its digest differs); going back to the one before", file=sys.stderr, flush=True)
            file.unlink()
        return None

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.pt"))
