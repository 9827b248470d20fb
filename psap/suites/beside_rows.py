"""What lies next to a row: which held-out images its run got right, how sensitive a dense network's groups are."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psap.errors import PsapError
from psap.utils.files import atomic, write_json
from psap.utils.validation import content, read_json

CORRECT, SENSITIVITY = "correct.bin", "sensitivity.json"
_COUNT = 4  # bytes of the number of images, the lowest first


def write_correct(file: Path, right: NDArray[np.bool_]) -> None:
    """Write a bit for each image (N,), in the order of the prepared data, after their number."""
    with atomic(file) as temporary:
        temporary.write_bytes(len(right).to_bytes(_COUNT, "little") + np.packbits(right).tobytes())


def read_correct(file: Path, top1: float) -> NDArray[np.uint8] | None:
    """One number (0, 1) for each held-out image in the order of the prepared data; None where there is no such file.

    They are those of the last epoch, whose accuracy in % is `top1`. Raises PsapError where the file is broken or
    another run's.
    """
    if not file.is_file():
        return None
    data = content(file)
    count = int.from_bytes(data[:_COUNT], "little")
    bits = np.frombuffer(data, np.uint8, offset=min(_COUNT, len(data)))
    if len(data) < _COUNT or not count or len(bits) != -(-count // 8):
        raise PsapError(f"{file}: {len(data)} bytes are not those of {count} images; restore it, or remove it")
    right = np.unpackbits(bits, count=count)
    if abs(100 * right.mean() - top1) > 0.01:
        told = f"{100 * right.mean():.2f} % of the images are right, and top1_last of its row is {top1:.2f}"
        raise PsapError(f"{file}: {told}; restore it, or remove it")
    return right


def write_sensitivity(file: Path, by_group: Mapping[str, float]) -> None:
    """Write how much the loss on validation images grows when a group alone is pruned, by the groups' names."""
    write_json(file, dict(by_group))


def read_sensitivity(file: Path) -> dict[str, float]:
    """What write_sensitivity wrote; empty without the file. Raises PsapError where it is broken."""
    return read_json(file, dict[str, float], "restore it, or remove it") if file.is_file() else {}
