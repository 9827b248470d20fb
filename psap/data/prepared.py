"""A prepared data set on disk: `<key>.safetensors` (pixels and labels) beside `<key>.json` (its manifest)."""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError

from psap.errors import PsapError
from psap.utils.files import atomic, regular, seal, write_json
from psap.utils.validation import read_json

_AGAIN = "prepare the data set again"
CHUNK = 4096  # images at a time, so that squares of a whole data set never lie in memory


class Arrays(NamedTuple):
    """Images (N, H, W, C) in uint8, labels (N,) in int64."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


class Index(NamedTuple):
    """Photographs, which stay in their files: names below the data set's folder (text, a line each, as uint8), the
    SHA-256 of each file (N, 32) in uint8, labels (N,) in int64."""

    train_names: NDArray[np.uint8]
    train_digests: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_names: NDArray[np.uint8]
    test_digests: NDArray[np.uint8]
    test_labels: NDArray[np.int64]


class Manifest(BaseModel):
    """What `<key>.json` tells: counts by split and class, mean and std by channel (of the training pixels, in 0..1).

    `digest` is that of the images and labels, `fingerprint` that of the folder they were read from, `stamps` that of
    its files' names, sizes and times, `seal` that of the manifest itself ("" where an older version wrote it).
    Photographs have no common `image_shape`, and no mean and std that depend on them.
    """

    model_config = ConfigDict(extra="forbid")

    source: str
    label: str
    origin: str
    licence: str
    classes: list[str]
    image_shape: list[int]
    counts: dict[str, dict[str, Annotated[int, Field(ge=0, le=10**12)]]]
    mean: list[float]
    std: list[float]
    digest: str
    fingerprint: str = ""
    stamps: str = ""
    seal: str = ""


class Raw(NamedTuple):
    """A data set as its source gives it, with what a reader of results must know about it."""

    arrays: Arrays | Index
    classes: list[str]
    label: str
    origin: str
    licence: str


def write(raw: Raw, source: str, file: Path, fingerprint: str = "", stamps: str = "") -> Manifest:
    """Write the pair of `file` (`<key>.safetensors`), each atomically, the manifest last."""
    # safetensors writes the memory as it lies, and torchvision's CIFAR-10 is a transposed view.
    arrays = type(raw.arrays)(*map(np.ascontiguousarray, raw.arrays))
    shape = list(arrays.train_images.shape[1:]) if isinstance(arrays, Arrays) else []
    mean, std = _statistics(arrays.train_images) if isinstance(arrays, Arrays) else ([], [])
    if 0.0 in std:
        raise PsapError(f"{raw.label}: channel {std.index(0.0)} of the training images is constant")
    manifest = Manifest(
        source=source,
        label=raw.label,
        origin=raw.origin,
        licence=raw.licence,
        classes=raw.classes,
        image_shape=shape,
        counts={
            split: dict(zip(raw.classes, np.bincount(labels, minlength=len(raw.classes)).tolist(), strict=True))
            for split, labels in (("train", arrays.train_labels), ("test", arrays.test_labels))
        },
        mean=mean,
        std=std,
        digest=_digest(arrays, raw.classes),
        fingerprint=fingerprint,
        stamps=stamps,
    )
    manifest.seal = seal(manifest.model_dump())
    with atomic(file) as temporary:
        safetensors.numpy.save_file(arrays._asdict(), temporary)
    write_json(file.with_suffix(".json"), manifest.model_dump())
    return manifest


def describe(file: Path) -> Manifest:
    """Read the manifest of `file` (`<key>.safetensors`) alone. Raises PsapError naming it."""
    described = file.with_suffix(".json")
    try:
        return read_json(described, Manifest, _AGAIN)
    except FileNotFoundError:
        raise PsapError(f"{described}: missing; {_AGAIN}") from None


def read(file: Path) -> tuple[Arrays | Index, Manifest]:
    """Read the pair of `file` (`<key>.safetensors`) and verify its digest. Raises PsapError naming the file."""
    manifest = describe(file)
    try:
        tensors = safetensors.numpy.load_file(regular(file))
        arrays = Arrays(**tensors) if manifest.image_shape else Index(**tensors)
    except FileNotFoundError:
        raise PsapError(f"{file}: missing; {_AGAIN}") from None
    except (TypeError, SafetensorError):
        raise PsapError(f"{file}: damaged, or not a prepared data set; {_AGAIN}") from None
    if _digest(arrays, manifest.classes) != manifest.digest:
        raise PsapError(f"{file}: not the data that its .json describes (digests differ); {_AGAIN}")
    if manifest.seal not in ("", seal(manifest.model_dump())):
        raise PsapError(f"{file.with_suffix('.json')}: damaged (its digest differs); {_AGAIN}")
    return arrays, manifest


def _digest(arrays: Arrays | Index, classes: list[str]) -> str:
    """SHA-256 over the arrays (name, type, shape, bytes) and the class names."""
    total = hashlib.sha256(json.dumps(classes).encode())
    for name, array in arrays._asdict().items():
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.data)
    return total.hexdigest()


def _statistics(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by channel of pixels in 0..1, from exact integer sums."""
    channels = images.shape[-1]
    total, squares = [0] * channels, [0] * channels
    for start in range(0, len(images), CHUNK):
        pixels = images[start : start + CHUNK].reshape(-1, channels)
        for c in range(channels):
            histogram = np.bincount(pixels[:, c], minlength=256)
            total[c] += int(histogram @ np.arange(256))
            squares[c] += int(histogram @ np.arange(256) ** 2)
    count = images.size // channels
    mean = [t / (255 * count) for t in total]
    std = [math.sqrt(s * count - t * t) / (255 * count) for t, s in zip(total, squares, strict=True)]
    return mean, std
