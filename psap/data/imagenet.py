"""ImageNet (ILSVRC2012), or some of its classes, as it is unpacked: train/<synset>/* and val/, sorted or flat."""

import os
from pathlib import Path

from psap.data.images import classes_in, images_in
from psap.data.photos import Listing, index, labelled
from psap.data.prepared import Raw
from psap.errors import PsapError
from psap.utils.files import reading, regular
from psap.utils.validation import text

DEVKIT = Path("ILSVRC2012_devkit_t12", "data")
LICENCE = "ImageNet's terms of access: non-commercial research and education (https://www.image-net.org/download)"


def synsets() -> list[str]:
    """The 1,000 classes by WordNet id, in the order in which published weights know them (timm's list)."""
    from timm.data.imagenet_info import ImageNetInfo

    return [str(name) for name in ImageNetInfo("imagenet-1k").label_names()]  # type: ignore[no-untyped-call]


def check_folder(root: Path, classes: int | None) -> None:
    """Raise PsapError unless `root` has train/ and val/ with the same classes of the 1,000, `classes` of them if given.

    Opens no image.
    """
    train = _synset_folders(root, "train")
    if classes and len(train) != classes:
        raise PsapError(
            f"{root / 'train'}: {len(train)} classes, not {classes:,}; complete the folder, or say photos: "
            f"{{classes: {len(train)}}}"
        )
    if (sorted_val := _synset_folders(root, "val")) and sorted_val != train:
        differing = sorted(train ^ sorted_val)
        where = "train" if differing[0] in train else "val"
        raise PsapError(f"{root}: train/ and val/ must have the same classes ({differing[0]} is only in {where}/)")
    if not sorted_val:
        _flat(root)


def listings(root: Path) -> tuple[Listing, Listing]:
    """Training and validation files, sorted, with their labels among the 1,000 classes."""
    label = {name: i for i, name in enumerate(synsets())}
    train = labelled(classes_in(root / "train"), label)
    if _synset_folders(root, "val"):
        return train, labelled(classes_in(root / "val"), label)
    files, truth = _flat(root)
    return train, Listing(files, [label[name] for name in truth])


def from_folder(root: Path) -> Raw:
    """List and verify all images. Labels are places among the 1,000 classes, whichever of them are there, so that a
    network with published weights can be scored on a few."""
    train, test = listings(root)
    there, images = len(set(train.labels)), len(train.files) + len(test.files)
    few = "" if there == len(synsets()) else f", {there} classes"
    return Raw(
        index(root, train, test),
        synsets(),
        label=f"ImageNet (ILSVRC2012{few}, {images:,} images)",
        origin="ILSVRC2012 as it is unpacked, train/ and val/",
        licence=LICENCE,
    )


def _synset_folders(root: Path, split: str) -> set[str]:
    folder = root / split
    with reading(folder):
        if not folder.is_dir():
            raise PsapError(f"{folder}: no such folder; ImageNet is expected as train/<synset>/* and val/")
        with os.scandir(folder) as entries:  # which tells files from folders without asking for each of 50,000
            found = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    if strange := sorted(found - set(synsets())):
        raise PsapError(
            f"{folder / strange[0]}: not one of ImageNet's 1,000 classes (WordNet ids such as n01440764); for classes "
            "of your own use the source `folder`"
        )
    return found


def _flat(root: Path) -> tuple[list[Path], list[str]]:
    """val/ as it is unpacked: all files in one folder, their synsets in the devkit, in the order of their names."""
    files = images_in(root / "val")["val"]
    truth = _ground_truth(root)
    if len(files) != len(truth):
        raise PsapError(f"{root / 'val'}: {len(files)} images, but the devkit has labels for {len(truth)}")
    return files, truth


def _ground_truth(root: Path) -> list[str]:
    """The synset of every validation image, from the devkit: numbers of its own, and a table of what they mean."""
    from scipy.io import loadmat

    numbers, table = root / DEVKIT / "ILSVRC2012_validation_ground_truth.txt", root / DEVKIT / "meta.mat"
    try:
        with regular(table).open("rb") as file:
            rows = loadmat(file, squeeze_me=True)["synsets"]
        synset_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
        return [synset_of[int(line)] for line in text(numbers).split()]
    except FileNotFoundError as error:
        raise PsapError(
            f"{root / 'val'}: not sorted into classes, and {error.filename} is missing; unpack the devkit "
            f"(ILSVRC2012_devkit_t12.tar.gz) into {root}, or sort the images"
        ) from None
    except Exception as error:  # what scipy raises for a file that is cut short is of many kinds
        raise PsapError(f"{root / DEVKIT}: not the devkit of ILSVRC2012 ({error}); unpack it again") from None
