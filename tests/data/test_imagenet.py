"""ImageNet's layouts, and one clear line for a folder that is not in one of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders_helpers import pixels
from PIL import Image
from scipy.io import savemat

from psap.data import dataset, imagenet
from psap.data.sources import check_source, fingerprint, prepare
from psap.errors import PsapError

CLASSES = ["n01440764", "n02102040", "n03888257"]  # places 0, 217 and 701 of the 1,000


def photograph(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, 40 + number, 50)).save(file, "JPEG", quality=90)


@pytest.fixture
def sorted_folder(tmp_path: Path) -> Path:
    root = tmp_path / "imagenet"
    for place, name in enumerate(CLASSES):
        for i in range(4):
            photograph(root / "train" / name / f"{name}_{i}.JPEG", 10 * place + i)
        photograph(root / "val" / name / f"ILSVRC2012_val_{5 - place:08d}.JPEG", 30 + place)
    return root


def devkit(root: Path, truth: list[int]) -> None:
    """What ILSVRC2012_devkit_t12.tar.gz holds, with numbers of its own for the classes."""
    folder = root / imagenet.DEVKIT
    folder.mkdir(parents=True)
    table = np.zeros((len(CLASSES),), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (number, name) in enumerate(zip((7, 3, 5), CLASSES, strict=True)):
        table[row] = (number, name, "a word")
    savemat(folder / "meta.mat", {"synsets": table})
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)) + "\n")


def flatten(root: Path) -> None:
    for file in list((root / "val").glob("*/*")):
        file.rename(root / "val" / file.name)
    for folder in (root / "val").glob("n*"):
        folder.rmdir()


def test_the_thousand_classes_are_those_of_published_weights() -> None:
    from torchvision.models import ResNet18_Weights

    names, categories = imagenet.synsets(), ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    assert len(names) == len(categories) == 1000 and names == sorted(names)
    # Ten classes by both of their names, from anywhere in the list.
    known = {"n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player"}
    known |= {"n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn"}
    known |= {"n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball", "n03888257": "parachute"}
    assert {name: categories[names.index(name)] for name in known} == known


def test_labels_are_places_among_the_thousand(sorted_folder: Path, tmp_path: Path) -> None:
    check_source("imagenet", str(sorted_folder), 3)
    manifest = prepare("imagenet", str(sorted_folder), tmp_path / "i.safetensors")
    found = dataset.load(tmp_path / "i.safetensors", sorted_folder)
    assert manifest["label"] == "ImageNet (ILSVRC2012, 3 classes, 15 images)"
    assert len(found.classes) == 1000 and found.channels == 3
    assert found.train.labels.tolist() == [0] * 4 + [217] * 4 + [701] * 4
    assert found.test.labels.tolist() == [0, 217, 701]
    for i, label in enumerate(found.train.labels.tolist()):
        assert found.train.images.path(i).parent.name == found.classes[label]
    chosen = dataset.subset(found.train, 6, 0)
    assert chosen.labels.tolist() == [0, 0, 217, 217, 701, 701]
    assert [chosen.images.path(i).parent.name for i in range(6)] == [name for name in CLASSES for _ in range(2)]


def test_flat_validation_images_get_the_labels_of_the_devkit(sorted_folder: Path, tmp_path: Path) -> None:
    flatten(sorted_folder)
    devkit(sorted_folder, [5, 3, 7])  # in the order of the files' names: 3, 4, 5 are of classes 701, 217, 0
    check_source("imagenet", str(sorted_folder), 3)
    prepare("imagenet", str(sorted_folder), tmp_path / "i.safetensors")
    assert dataset.load(tmp_path / "i.safetensors", sorted_folder).test.labels.tolist() == [701, 217, 0]


def test_the_digest_is_of_contents_and_the_fingerprint_of_names(sorted_folder: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "i.safetensors", str(sorted_folder)
    first, mark = prepare("imagenet", path, out)["digest"], fingerprint("imagenet", path, out)
    photograph(sorted_folder / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG", 99)
    assert fingerprint("imagenet", path, out) == mark
    assert prepare("imagenet", path, out)["digest"] != first
    photograph(sorted_folder / "train" / CLASSES[0] / "another.JPEG", 1)
    assert fingerprint("imagenet", path, out) != mark


def test_what_stands_in_ilsvrc2012_under_the_name_jpeg_is_read(sorted_folder: Path, tmp_path: Path) -> None:
    folder = sorted_folder / "train" / CLASSES[0]
    Image.fromarray(pixels(1, 50, 40)).convert("CMYK").save(folder / "cmyk.JPEG", "JPEG")
    Image.fromarray(pixels(2, 50, 40)).save(folder / "png.JPEG", "PNG")
    Image.fromarray(pixels(3, 50, 40)).convert("L").save(folder / "grey.JPEG", "JPEG")
    prepare("imagenet", str(sorted_folder), tmp_path / "i.safetensors")
    assert len(dataset.load(tmp_path / "i.safetensors", sorted_folder).train) == 15


def truncate(root: Path) -> str:
    file = root / "train" / CLASSES[1] / f"{CLASSES[1]}_2.JPEG"
    file.write_bytes(file.read_bytes()[:-200])
    return f"{file.name}: damaged, truncated or not an image"


def replace_by_text(root: Path) -> str:
    file = root / "val" / CLASSES[1] / "ILSVRC2012_val_00000004.JPEG"
    file.write_text("<html>404</html>")
    return f"{file.name}: damaged, truncated or not an image"


@pytest.mark.parametrize("damage", [truncate, replace_by_text])
def test_a_damaged_image_is_named(damage: Callable[[Path], str], sorted_folder: Path, tmp_path: Path) -> None:
    says = damage(sorted_folder)
    with pytest.raises(PsapError, match=says) as caught:
        prepare("imagenet", str(sorted_folder), tmp_path / "i.safetensors")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("i.*"))


def without_val(root: Path) -> None:
    (root / "val").rename(root / "validation")


def without_a_class(root: Path) -> None:
    (root / "val" / CLASSES[0]).rename(root / "elsewhere")


def with_a_stranger(root: Path) -> None:
    (root / "train" / CLASSES[0]).rename(root / "train" / "tench")


def without_devkit(root: Path) -> None:
    flatten(root)


def with_too_short_a_devkit(root: Path) -> None:
    flatten(root)
    devkit(root, [7, 3])


def with_a_wrong_devkit(root: Path) -> None:
    flatten(root)
    devkit(root, [7, 3, 4])


def as_it_is(root: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "classes", "says"),
    [
        (as_it_is, 1000, r"train: 3 classes, not 1,000; complete the folder, or say photos: \{classes: 3\}"),
        (without_val, 3, "val: no such folder; ImageNet is expected as"),
        (without_a_class, 3, r"the same classes \(n01440764 is only in train/\)"),
        (with_a_stranger, 3, "train/tench: not one of ImageNet's 1,000 classes"),
        (without_devkit, 3, r"not sorted into classes, and .*meta.mat is missing; unpack the devkit"),
        (with_too_short_a_devkit, 3, "3 images, but the devkit has labels for 2"),
        (with_a_wrong_devkit, 3, "not the devkit of ILSVRC2012"),
    ],
)
def test_wrong_folders(
    change: Callable[[Path], object], classes: int, says: str, sorted_folder: Path, tmp_path: Path
) -> None:
    change(sorted_folder)
    with pytest.raises(PsapError, match=says) as caught:
        check_source("imagenet", str(sorted_folder), classes)
    assert "\n" not in str(caught.value)


def test_variables_in_a_path(sorted_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHOTOS", str(sorted_folder.parent))
    check_source("imagenet", "$PHOTOS/imagenet", 3)
    monkeypatch.delenv("PHOTOS")
    with pytest.raises(PsapError, match=r"path \$PHOTOS/imagenet: the environment variable in it is not set"):
        check_source("imagenet", "$PHOTOS/imagenet", 3)
    monkeypatch.setenv("PSAP_DATA", str(sorted_folder.parent))
    check_source("imagenet", None, 3)
    monkeypatch.delenv("PSAP_DATA")
    with pytest.raises(PsapError, match=r"needs a path, or \$PSAP_DATA/imagenet"):
        check_source("imagenet", None, 3)
