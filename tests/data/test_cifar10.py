"""CIFAR-10 from folders, from torchvision's archive, and, where `PSAP_DATA` names them, from the real images."""

import os
import pickle
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from folders_helpers import make_folder, pixels
from PIL import Image
from torchvision.datasets import CIFAR10

from psap.data.cifar10 import CLASSES
from psap.data.dataset import load
from psap.data.sources import check_source, find_folder, prepare
from psap.errors import PsapError

REAL = Path(os.environ.get("PSAP_DATA", "/nonexistent"))


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSAP_DATA", raising=False)


@pytest.mark.parametrize(
    ("suffixes", "label"),
    [
        ([".png"], "CIFAR-10 (40 of 60,000 images)"),
        ([".jpg"], "CIFAR-10 (JPEG q75, 40 of 60,000 images)"),
        ([".jpg", ".png"], "CIFAR-10 (JPEG files, 40 of 60,000 images)"),
        ([".webp"], "CIFAR-10 (WEBP files, 40 of 60,000 images)"),
    ],
)
def test_the_label_of_a_cifar_folder_tells_what_was_lost(tmp_path: Path, suffixes: list[str], label: str) -> None:
    root = make_folder(tmp_path / "c", CLASSES, suffixes[0], (32, 32))
    for suffix in suffixes[1:]:
        first = root / "train" / "cat" / f"0{suffixes[0]}"
        Image.fromarray(pixels(0, 32, 32)).save(first.with_suffix(suffix))
        first.unlink()
    assert prepare("cifar10", str(root), tmp_path / "x.safetensors")["label"] == label


def test_a_cifar_folder_must_have_its_classes_and_size(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "pets", ["cat", "dog"])
    with pytest.raises(PsapError, match=r"not CIFAR-10's ten classes \(airplane, .*use the source `folder`"):
        check_source("cifar10", str(folder))
    root = make_folder(tmp_path / "c", CLASSES)
    with pytest.raises(PsapError, match=r"images of 5 x 4, not CIFAR-10's 32 x 32"):
        prepare("cifar10", str(root), tmp_path / "x.safetensors")


def test_where_cifar_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_folder("cifar10", None) is None
    monkeypatch.setenv("PSAP_DATA", str(tmp_path))
    assert find_folder("cifar10", None) is None
    (tmp_path / "cifar10").mkdir()
    assert find_folder("cifar10", None) == tmp_path / "cifar10"
    assert find_folder("cifar10", "elsewhere") == Path("elsewhere")


def test_a_failed_download_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(PsapError, match=r"could not be downloaded .*put cifar-10-python\.tar\.gz of .* into .*raw, or"):
        prepare("cifar10", None, tmp_path / "x.safetensors", tmp_path / "raw")


def fake_archive(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """The unpacked archive with few images, and torchvision told their checksums."""
    base = root / CIFAR10.base_folder
    base.mkdir(parents=True)
    rows = {}

    def store(name: str, content: dict[str, object]) -> str:
        (base / name).write_bytes(pickle.dumps(content))
        return md5((base / name).read_bytes()).hexdigest()

    def batch(name: str, number: int) -> list[str]:
        rows[name] = np.random.default_rng(number).integers(256, size=(10, 3072), dtype=np.uint8)
        return [name, store(name, {"data": rows[name], "labels": list(range(10))})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}", i) for i in (1, 2)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 3)])
    meta = store("batches.meta", {"label_names": CLASSES})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta})
    return rows


def test_the_official_archive_is_read_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fake_archive(tmp_path / "raw", monkeypatch)
    manifest = prepare("cifar10", None, tmp_path / "x.safetensors", tmp_path / "raw")
    data = load(tmp_path / "x.safetensors")
    assert manifest["label"] == "CIFAR-10" and data.classes == CLASSES
    first = rows["data_batch_2"][0].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(data.train.images[10].numpy(), first)
    assert data.train.labels.tolist() == list(range(10)) * 2 and data.test.labels.tolist() == list(range(10))


def test_an_archive_of_another_checksum_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_archive(tmp_path / "raw", monkeypatch)
    proof = tmp_path / "proof"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(proof),)

    (tmp_path / "raw" / CIFAR10.base_folder / "data_batch_1").write_bytes(pickle.dumps(Payload()))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(PsapError, match="could not be downloaded"):
        prepare("cifar10", None, tmp_path / "x.safetensors", tmp_path / "raw")
    assert not proof.exists()


@pytest.mark.skipif(not (REAL / "cifar10").is_dir(), reason="PSAP_DATA names no folder with cifar10/")
def test_a_cut_of_the_real_folder_is_prepared_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PSAP_DATA", str(REAL))
    root = find_folder("cifar10", None)
    assert root is not None
    check_source("cifar10", None)
    cut = tmp_path / "cifar10"
    for split, images in (("train", 50), ("test", 20)):
        for name in CLASSES:
            (cut / split / name).mkdir(parents=True)
            for file in sorted((root / split / name).iterdir())[:images]:
                (cut / split / name / file.name).symlink_to(file)
    manifest = prepare("cifar10", str(cut), tmp_path / "x.safetensors")
    data = load(tmp_path / "x.safetensors")
    assert manifest["label"].endswith("700 of 60,000 images)")
    assert data.train.images.shape == (500, 32, 32, 3) and data.test.images.shape == (200, 32, 32, 3)
    for index in (0, 123, 499):
        file = sorted((root / "train" / CLASSES[index // 50]).iterdir())[index % 50]
        with Image.open(file) as image:
            assert np.array_equal(data.train.images[index].numpy(), np.asarray(image.convert("RGB")))
    # The full training set has means 0.4914, 0.4822, 0.4465 (torchvision's customary constants).
    assert data.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.05)
