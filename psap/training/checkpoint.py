"""What resume lives on: checkpoints with a digest in their name, and one writer to a run."""

import hashlib
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from psap.utils.files import os_errors_as_psap_error, regular, write_bytes

_KEPT = 2  # the newest, and the one before in case the newest is damaged


@contextmanager
def single_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's state folder; wait for a process that still has it (it may be about to finish)."""
    file = folder / "lock"
    with os_errors_as_psap_error(file):
        folder.mkdir(parents=True, exist_ok=True)
        file.touch()  # or else a folder that is not ours would be told by the lock, less clearly
    lock = FileLock(file)
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
    """The checkpoints of the run `owner` in `folder`: `epoch-<n>-<digest>.pt`, read without running any code they hold.

    `owner` says whose they are, so that the digest, which covers it as well as the bytes, is wrong for anybody else's.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder, self._owner = folder, owner

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write the state after `epoch` epochs; whole or not at all. The two newest are kept."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data = buffer.getvalue()
        write_bytes(self._folder / f"epoch-{epoch:05d}-{self._digest(data)}.pt", data)
        for old in self._files()[:-_KEPT]:
            old.unlink()

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole and the owner's; None when there is none. Any other is named on stderr."""
        for file in reversed(self._files()):
            data = regular(file).read_bytes()
            if self._digest(data) == file.stem.rpartition("-")[2]:
                state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
                return state
            problem = "damaged, or of another run (its digest differs); going back to the one before"
            print(f"{file}: {problem}", file=sys.stderr, flush=True)
            file.unlink()
        return None

    def _digest(self, data: bytes) -> str:
        digest = hashlib.sha256(f"{self._owner}\n".encode())
        digest.update(data)
        return digest.hexdigest()[:16]

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("epoch-*.pt"))
