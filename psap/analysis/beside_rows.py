"""What may lie beside rows: which test images a run classified rightly (correct.bin), how sensitive groups are."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from psap.errors import PsapError
from psap.utils.validation import content, read_json


def read_correct(file: Path, top1: float) -> NDArray[np.uint8] | None:
    """One number (0, 1) for each test image in the order of the prepared data; None where there is no such file.

    The file holds the number of images (four bytes, the lowest first) and then a bit for each (numpy.packbits), at the
    last epoch, whose accuracy in % is `top1`. Raises PsapError where it is broken or another run's.
    """
    if not file.is_file():
        return None
    data = content(file)
    count = int.from_bytes(data[:4], "little")
    bits = np.frombuffer(data, np.uint8, offset=min(4, len(data)))
    if len(data) < 4 or not count or len(bits) != -(-count // 8):
        raise PsapError(f"{file}: {len(data)} bytes are not those of {count} images; restore it, or remove it")
    right = np.unpackbits(bits, count=count)
    if abs(100 * right.mean() - top1) > 0.01:
        told = f"{100 * right.mean():.2f} % of the images are right, and top1_last of its row is {top1:.2f}"
        raise PsapError(f"{file}: {told}; restore it, or remove it")
    return right


def read_sensitivity(file: Path) -> dict[str, dict[str, float]]:
    """By model and group, how much the loss grows when that group alone is pruned; empty without the file."""
    return read_json(file, dict[str, dict[str, float]], "restore it, or remove it") if file.is_file() else {}
