"""GPUs for jobs: how many there are, and which ones a job may take so that no two share one unasked."""

import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from psap.errors import PsapError

_SHARED = "PSAP_JOBS_PER_GPU"
_held: list[FileLock] = []  # for as long as this process lives: the system frees them when it ends, however it does


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, found without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [device.strip() for device in named.split(",") if device.strip() not in {"", "-1"}]
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def job_slots() -> int:
    """How many jobs the GPUs here take at once: one each, or as many as $PSAP_JOBS_PER_GPU says."""
    return len(visible_gpus()) * _jobs_per_gpu()


def acquire_gpus(count: int) -> None:
    """Take `count` GPUs until this process ends, waiting for them where other jobs have them; nothing without GPUs.

    Must be called before torch is imported: it is CUDA_VISIBLE_DEVICES that leaves just these. Raises PsapError when
    there are fewer.
    """
    devices = visible_gpus()
    if not devices:
        return
    if count > len(devices):
        raise PsapError(f"{count} GPUs wanted, but {len(devices)} are visible here; lower --processes")
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    waiting = False
    while not (taken := _take(folder, devices, count)):
        if not waiting:
            print("waiting for a GPU that another job has", file=sys.stderr, flush=True)
        waiting = True
        time.sleep(0.5)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(taken)


def _folder() -> Path:
    """Of this user and, in a job of SLURM's, of that job: in another one the same number can be another GPU."""
    job = os.environ.get("SLURM_JOB_ID", "")
    return Path(tempfile.gettempdir(), f"psap-gpus-{os.getuid()}", job or "host")


def _take(folder: Path, devices: list[str], count: int) -> list[str]:
    """Take `count` of the devices, those with the fewest jobs first; none at all where there are not so many free.

    Whoever waits holds nothing meanwhile, so that no two wait for each other.
    """
    locks: dict[str, FileLock] = {}
    for slot in range(_jobs_per_gpu()):
        for device in devices:
            lock = FileLock(folder / f"{device}.{slot}")
            if len(locks) == count or device in locks:
                continue
            with suppress(Timeout):
                lock.acquire(timeout=0)
                locks[device] = lock
    if len(locks) < count:
        for lock in locks.values():
            lock.release()
        return []
    _held.extend(locks.values())
    return list(locks)


def _jobs_per_gpu() -> int:
    text = os.environ.get(_SHARED, "1")
    if not text.isdigit() or int(text) < 1:
        raise PsapError(f"{_SHARED}={text}: must be a whole number above 0")
    return int(text)
