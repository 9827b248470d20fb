import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders_helpers import make_folder, pixels
from PIL import Image

from psap.data.dataset import load
from psap.data.images import layout, scan
from psap.data.sources import check_source, fingerprint, prepare
from psap.errors import PsapError
from psap.utils.files import sha256


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSAP_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pets", ["cat", "dog"])


def test_digits_are_the_real_ones_in_a_stratified_split(tmp_path: Path) -> None:
    out = tmp_path / "digits.safetensors"
    manifest = prepare("digits", None, out)
    data = load(out)
    assert data.train.images.shape == (1347, 8, 8, 1) and data.test.images.shape == (450, 8, 8, 1)
    from sklearn.datasets import load_digits

    images = np.concatenate([data.train.images.numpy(), data.test.images.numpy()])[..., 0]
    real = np.rint(load_digits().images * 255 / 16)
    assert sorted(map(bytes, images)) == sorted(map(bytes, real.astype(np.uint8)))
    for split, size in (("train", 1347), ("test", 450)):
        assert sum(manifest["counts"][split].values()) == size
    shares = [manifest["counts"]["test"][d] / manifest["counts"]["train"][d] for d in manifest["classes"]]
    assert max(shares) - min(shares) < 0.02
    assert data.label == manifest["label"] and "1,797 images" in data.label
    assert json.loads(out.with_suffix(".json").read_text()) == manifest


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    for source, path in (("digits", None), ("folder", str(folder))):
        assert prepare(source, path, one) == prepare(source, path, other)
        assert one.read_bytes() == other.read_bytes()


def test_a_folder_is_read_sorted_and_exactly(tmp_path: Path, folder: Path) -> None:
    (folder / "train" / "cat" / ".hidden.png").write_text("no image")
    (folder / "train" / "cat" / "notes.txt").write_text("no image")
    manifest = prepare("folder", str(folder), tmp_path / "x.safetensors")
    data = load(tmp_path / "x.safetensors")
    assert np.array_equal(data.train.images.numpy(), [pixels(i) for i in range(6)])
    assert np.array_equal(data.test.images.numpy(), [pixels(i) for i in (6, 7)])
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test.labels.tolist() == [0, 1]
    assert data.classes == ["cat", "dog"] and data.label == "pets (image folder, 8 images, 2 classes)"
    assert manifest["counts"] == {"train": {"cat": 3, "dog": 3}, "test": {"cat": 1, "dog": 1}}


def test_grey_images_become_rgb_and_sixteen_bits_are_refused(tmp_path: Path, folder: Path) -> None:
    file = folder / "train" / "cat" / "0.png"
    Image.fromarray(pixels(0)[..., 0]).save(file)
    prepare("folder", str(folder), tmp_path / "x.safetensors")
    first = load(tmp_path / "x.safetensors").train.images[0].numpy()
    assert np.array_equal(first, np.repeat(pixels(0)[..., :1], 3, axis=2))
    Image.fromarray(pixels(0)[..., 0].astype(np.uint16) * 256).save(file)
    with pytest.raises(PsapError, match=r"cat/0\.png: more than 8 bits a channel"):
        prepare("folder", str(folder), tmp_path / "x.safetensors")


def damage(root: Path, kind: str) -> None:
    file = root / "train" / "dog" / "1.png"
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-25])
    elif kind == "text":
        file.write_text("this is not an image")
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "flipped":
        content = bytearray(file.read_bytes())
        content[60] ^= 255
        file.write_bytes(content)
    elif kind == "size":
        Image.fromarray(pixels(1, 7, 4)).save(file)


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "flipped"])
def test_a_damaged_image_is_named(tmp_path: Path, folder: Path, kind: str) -> None:
    damage(folder, kind)
    check_source("folder", str(folder))
    with pytest.raises(PsapError, match=r"dog/1\.png: damaged, truncated or not an image") as caught:
        prepare("folder", str(folder), tmp_path / "out" / "x.safetensors")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos", ["a", "b"], ".jpg", (64, 64))
    file = root / "test" / "b" / "0.jpg"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(PsapError, match=r"b/0\.jpg: damaged, truncated"):
        prepare("folder", str(root), tmp_path / "x.safetensors")


def test_images_of_two_sizes_are_both_named(tmp_path: Path, folder: Path) -> None:
    damage(folder, "size")
    with pytest.raises(PsapError, match=r"cat/0\.png has 5 x 4, .*dog/1\.png has 7 x 4; resize them to one size"):
        prepare("folder", str(folder), tmp_path / "x.safetensors")


def test_val_stands_for_test(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", ["cat", "dog"])
    before = scan(root)
    (root / "test").rename(root / "val")
    train, test = scan(root)
    assert train == before[0] and layout(root) == "train/<class>/* and val/<class>/*"
    assert [file.name for files in test.values() for file in files] == ["0.png", "0.png"]


def test_a_fifth_is_held_out_where_the_folder_does_not_say_what_is_for_testing(tmp_path: Path) -> None:
    for name, count in (("cat", 5), ("dog", 14)):
        (tmp_path / name).mkdir()
        for i in range(count):
            (tmp_path / name / f"{i}.png").write_bytes(b"")
    train, test = scan(tmp_path)
    assert {name: len(files) for name, files in test.items()} == {"cat": 1, "dog": 2}
    for name in ("cat", "dog"):
        assert sorted(train[name] + test[name]) == sorted((tmp_path / name).iterdir()), "every image once"
    (tmp_path / "dog" / "new.png").write_bytes(b"")
    again = scan(tmp_path)[1]["dog"]
    assert set(test["dog"]) < set(again), "no image changes sides when one is added"
    assert layout(tmp_path) == "<class>/*, one in 5 held out for testing"
    (tmp_path / "cat" / "0.png").unlink()
    with pytest.raises(PsapError, match="cat: 4 images are too few to hold out one in 5"):
        scan(tmp_path)


def without(*folders: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        for folder in folders:
            shutil.rmtree(root / folder)

    return remove


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without(""), "pets: no such folder"),
        (without("train", "test"), "pets: empty; it must hold one folder"),
        (without("test"), "pets/test: no such folder"),
        (without("train/cat", "train/dog"), "pets/train: empty"),
        (lambda root: (root / "test" / "dog").rename(root / "test" / "cow"), "cow only in test/, dog only in train/"),
        (lambda root: [f.unlink() for f in (root / "train" / "dog").iterdir()], "train/dog: no image in it"),
    ],
)
def test_what_a_folder_lacks_is_found_before_any_work(
    tmp_path: Path, folder: Path, change: Callable[[Path], object], says: str
) -> None:
    change(folder)
    for call in (lambda: check_source("folder", str(folder)), lambda: prepare("folder", str(folder), tmp_path / "x")):
        with pytest.raises(PsapError, match=says):
            call()


@pytest.mark.parametrize(
    ("source", "path", "says"),
    [
        ("cifar-10", None, "unknown data source 'cifar-10'; did you mean cifar10"),
        ("mnist", None, "known are digits, cifar10, imagenet, folder"),
        ("folder", None, "needs the path"),
        ("digits", "/x", "takes no path"),
        ("cifar10", "/nowhere/cifar", "/nowhere/cifar: no such folder"),
    ],
)
def test_wrong_sources(source: str, path: str | None, says: str) -> None:
    with pytest.raises(PsapError, match=says):
        check_source(source, path)


def test_checking_needs_no_torch_and_no_scikit_learn() -> None:
    code = "import sys; from psap.data.sources import check_source; check_source('digits', None);"
    code += "print([m for m in ('torch', 'sklearn', 'torchvision') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def touched(file: Path, content: bytes, seconds: int = 60) -> None:
    """Replace a file by one of other content and a later time."""
    file.write_bytes(content)
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))


def test_an_image_replaced_by_one_of_equal_size_is_noticed(tmp_path: Path, folder: Path) -> None:
    out, one = tmp_path / "x.safetensors", next(file for file in sorted((folder / "train").rglob("*.png")))
    before = fingerprint("folder", str(folder), out)
    original = one.read_bytes()
    assert prepare("folder", str(folder), out)["fingerprint"] == before == fingerprint("folder", str(folder), out)
    touched(one, original)  # the same content at another time is no change
    assert fingerprint("folder", str(folder), out) == before
    touched(one, bytes([*original[:-1], original[-1] ^ 1]), 120)
    changed = fingerprint("folder", str(folder), out)
    assert changed != before and len(one.read_bytes()) == len(original)
    one.unlink()
    assert fingerprint("folder", str(folder), out) not in (before, changed)


def test_contents_are_read_only_where_something_outside_of_them_changed(tmp_path: Path, folder: Path) -> None:
    out, one = tmp_path / "x.safetensors", next(file for file in sorted((folder / "train").rglob("*.png")))
    before = prepare("folder", str(folder), out)["fingerprint"]
    stat = one.stat()
    one.write_bytes(b"x" * stat.st_size)
    os.utime(one, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint("folder", str(folder), out) == before  # as is said: same size and time, not noticed
    described = out.with_suffix(".json")
    manifest = json.loads(described.read_text())
    # What was prepared before contents counted is as good as it was.
    files = [file for part in scan(folder) for images in part.values() for file in images]
    lines = [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files]
    old = sha256("\n".join(lines).encode())
    described.write_text(json.dumps({**manifest, "fingerprint": old, "stamps": ""}))
    assert fingerprint("folder", str(folder), out) == old == fingerprint("folder", str(folder), out, as_photos=True)
