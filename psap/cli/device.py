"""The device that commands compute on."""

import os
from typing import TYPE_CHECKING

from psap.errors import PsapError

if TYPE_CHECKING:
    import torch


def is_rank() -> bool:
    """Whether this is one of the processes that torchrun, or `psap train --processes`, has started."""
    return "LOCAL_RANK" in os.environ


def device(gpu: bool = True) -> "torch.device":
    """The device to compute on: a GPU that no other job has, where there is one and it is wanted."""
    from psap.utils import gpu_locks

    if gpu and not is_rank():
        gpu_locks.acquire_gpus(1)
    import torch

    if not (gpu and torch.cuda.is_available()):
        return torch.device("cpu")
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if rank >= torch.cuda.device_count():
        raise PsapError(f"rank {rank} has no GPU of its own: {torch.cuda.device_count()} are visible here")
    return torch.device("cuda", rank)
