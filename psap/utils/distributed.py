"""The processes (ranks) that train one network together, as torchrun starts them. Alone, every call changes nothing."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from psap.errors import PsapError

_T = TypeVar("_T")
_LOST = ("Connection closed", "Connection reset", "Broken pipe", "remote process exited", "connectFullMesh")


def rank() -> int:
    return dist.get_rank() if _several() else 0


def world_size() -> int:
    return dist.get_world_size() if _several() else 1


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


@torch.no_grad()
def average(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor, in place, by its mean over the ranks."""
    for tensor in tensors if world_size() > 1 else ():
        dist.all_reduce(tensor)
        tensor /= world_size()


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over the ranks (in place)."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(value: _T) -> list[_T]:
    """What every rank has, by rank."""
    found = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(found, value)
    return found


def decide_on_rank0(decide: Callable[[], _T]) -> _T:
    """What rank 0 decides, on every rank: a decision is taken once."""
    if world_size() == 1:
        return decide()
    decision = [decide() if rank() == 0 else None]
    dist.broadcast_object_list(decision)
    return decision[0]  # type: ignore[return-value]


def wrap_ddp(model: nn.Module) -> nn.Module:
    """`model` as it is to be called in training, so that its gradients are averaged over the ranks as they come.

    Batch-norm normalises by what its own rank sees, as in the recipes that are compared with; running statistics are
    not exchanged on the way (see `average`).
    """
    return DistributedDataParallel(model, forward_sync_buffers=False) if world_size() > 1 else model


def no_sync(replica: nn.Module) -> AbstractContextManager[None]:
    """While this lasts, the gradients of a replica stay with their rank."""
    return replica.no_sync() if isinstance(replica, DistributedDataParallel) else nullcontext()


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Be one of the ranks that torchrun has started, if it has. When one is lost, the others end with a PsapError."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        yield
        dist.barrier()
    except RuntimeError as error:
        if not any(word in str(error) for word in _LOST):
            raise
        raise PsapError(
            f"rank {os.environ['RANK']}: another process of this run is gone; run the same command again to resume "
            "after the last whole epoch"
        ) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
