"""CIFAR-10, from a folder of images or from the official archive through torchvision."""

from http.client import HTTPException
from pathlib import Path

import numpy as np

from psap.data.images import read_folder, scan
from psap.data.prepared import Arrays, Raw
from psap.errors import PsapError

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SPLIT_SIZES = (50_000, 10_000)
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"
LICENCE = f"none stated; cite A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 ({PAGE})"


def check_folder(root: Path) -> None:
    """Raise PsapError unless `root` has the ten classes in train/ and test/; opens no image."""
    train, _ = scan(root)
    if differing := sorted(train.keys() ^ set(CLASSES)):
        raise PsapError(f"{root}: not CIFAR-10's ten classes ({', '.join(differing)}); use the source `folder`")


def from_folder(root: Path) -> Raw:
    """Read CIFAR-10 from `root`/{train,test}/<class>/*; the label tells a lossy encoding and missing images."""
    arrays, classes, encodings = read_folder(root)
    height, width = arrays.train_images.shape[1:3]
    if (height, width) != (32, 32):
        raise PsapError(f"{root}: images of {width} x {height}, not CIFAR-10's 32 x 32")
    notes = _encoding_note(encodings)
    sizes = len(arrays.train_images), len(arrays.test_images)
    if sizes != SPLIT_SIZES:
        notes.append(f"{sum(sizes):,} of {sum(SPLIT_SIZES):,} images")
    label = f"CIFAR-10 ({', '.join(notes)})" if notes else "CIFAR-10"
    return Raw(arrays, classes, label, "image folder, train/<class>/* and test/<class>/*", LICENCE)


def _encoding_note(encodings: set[str]) -> list[str]:
    lossy = sorted(encodings - {"lossless"})
    if not lossy:
        return []
    exact = len(encodings) == 1 and " q" in lossy[0]
    return [lossy[0] if exact else f"{lossy[0].split()[0]} files"]


def download(folder: Path) -> Raw:
    """Read the official archive from `folder`, downloading it through torchvision if it is not there.

    The archive holds pickles, which can run code when read: torchvision reads only files whose published MD5
    matches, and this is the only place in the package where a pickle is read.
    """
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(folder, train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError, HTTPException) as error:
        raise PsapError(
            f"CIFAR-10 could not be downloaded ({error}); put {CIFAR10.filename} of {PAGE} into {folder}, "
            "or name a folder with train/<class>/* and test/<class>/* (path, or $PSAP_DATA/cifar10)"
        ) from None
    arrays = Arrays(train.data, np.asarray(train.targets), test.data, np.asarray(test.targets))
    return Raw(arrays, list(train.classes), "CIFAR-10", f"{CIFAR10.url}, through torchvision", LICENCE)
