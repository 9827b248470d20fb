"""What lies in a folder of images and is none, or not as it should be: one line, and no other program is started."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders_helpers import make_folder, pixels
from PIL import Image

from psap.data.dataset import load
from psap.data.schema import Data
from psap.data.sources import check_source, fingerprint, prepare
from psap.errors import PsapError
from psap.planning.workload import images_of

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 4\n%%EndComments\nshowpage\n%%EOF\n"
BOTH = pytest.mark.parametrize("as_photos", [False, True], ids=["decoded", "photographs"])


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSAP_DATA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "pets", ["cat", "dog"])


def refusal(folder: Path, as_photos: bool = False) -> str:
    out = folder.parent / "out" / "x.safetensors"
    with pytest.raises(PsapError) as caught:
        prepare("folder", str(folder), out, as_photos=as_photos)
    assert "\n" not in str(caught.value) and not out.parent.exists()
    return str(caught.value)


def claims(width: int, height: int) -> bytes:
    """A PNG that says it is so large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 99), b"IEND"]
    parts = [struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def in_format(name: str) -> Callable[[Path], None]:
    return lambda file: Image.fromarray(pixels(0)).save(file, format=name)


NONE = "damaged, truncated or not an image (no JPEG, PNG, BMP, PPM or WebP)"
BOMB = "claims to have more than 178,956,970 pixels"
CONTENTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "PostScript": (lambda file: file.write_bytes(POSTSCRIPT), NONE),
    "TIFF": (in_format("TIFF"), NONE),
    "GIF": (in_format("GIF"), NONE),
    "bomb": (lambda file: file.write_bytes(claims(60_000, 60_000)), BOMB),
    "small bomb": (lambda file: file.write_bytes(claims(15_000, 15_000)), BOMB),
    "unreadable": (lambda file: file.symlink_to("/proc/self/mem"), "cannot be read (Input/output error)"),
}


@BOTH
@pytest.mark.parametrize("content", CONTENTS)
def test_five_formats_and_no_more(
    content: str, as_photos: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    make, says = CONTENTS[content]
    file = folder / "train" / "cat" / "0.png"
    file.unlink()
    make(file)
    expected = f"{file}: {says}; replace or remove it"
    assert refusal(folder, as_photos) == expected
    if not as_photos:
        with pytest.raises(PsapError) as caught:
            images_of(Data(source="folder", path=str(folder)))
        assert str(caught.value) == expected
    assert not (tmp_path / "started").exists(), "Ghostscript was started"


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp"])
def test_each_of_the_five_is_read_whatever_it_is_called(suffix: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", ["cat", "dog"], suffix, (40, 40))
    for file in root.rglob("*" + suffix):
        file.rename(file.with_suffix(".PNG"))
    for as_photos in (False, True):
        assert prepare("folder", str(root), tmp_path / "x.safetensors", as_photos=as_photos)["classes"] == [
            "cat",
            "dog",
        ]


@BOTH
def test_all_bad_images_are_told_at_once(as_photos: bool, folder: Path) -> None:
    first, second = folder / "train" / "cat" / "0.png", folder / "train" / "dog" / "2.png"
    first.write_text("no image")
    second.write_bytes(second.read_bytes()[:50])
    cut = f"{second}: damaged, truncated or not an image"
    said = refusal(folder, as_photos)
    assert said.startswith(f"2 files cannot be used as images; replace or remove them: {first}: {NONE}; {cut}")
    for i in range(50):
        (folder / "train" / "cat" / f"x{i:02}.png").write_text("no image")
    said = refusal(folder, as_photos)
    assert said.startswith("52 files cannot be used") and said.endswith("; and 42 more") and "x08.png" in said


def not_files(folder: Path) -> list[str]:
    """Everything that can be called *.png and is no file."""
    place = folder / "train" / "cat"
    (place / "a.png").mkdir()
    os.mkfifo(place / "b.png")
    (place / "c.png").symlink_to("nowhere.png")
    (place / "d.png").symlink_to("d.png")
    (place / "e.png").symlink_to("/dev/zero")
    whys = ["a folder", "a pipe, socket or device", *["a link that leads nowhere"] * 2, "a pipe, socket or device"]
    return [f"{place / name}.png: {why}" for name, why in zip("abcde", whys, strict=True)]


def test_what_is_no_file_is_told_before_any_is_opened(folder: Path) -> None:
    told = not_files(folder)
    (folder / "train" / "dog" / "0.png").write_text("no image")
    said = "5 files cannot be used as images; replace or remove them: " + "; ".join(told)
    with pytest.raises(PsapError) as caught:
        check_source("folder", str(folder))
    assert str(caught.value).replace("e.png: a link that leads nowhere", "e.png: a pipe, socket or device") == said
    assert refusal(folder) == str(caught.value)


@pytest.mark.parametrize("target", ["nowhere", "cow"])
def test_a_class_that_leads_nowhere_does_not_vanish(target: str, folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "cow").symlink_to(target)
    assert refusal(folder) == f"{folder}/train/cow: a link that leads nowhere; replace or remove it"


def test_links_to_files_and_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    before = prepare("folder", str(folder), tmp_path / "x.safetensors")["digest"]
    (folder / "train" / "cat").rename(tmp_path / "elsewhere")
    (folder / "train" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "0.png").rename(tmp_path / "0.png")
    (tmp_path / "elsewhere" / "0.png").symlink_to(tmp_path / "0.png")
    assert prepare("folder", str(folder), tmp_path / "x.safetensors")["digest"] == before


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("n" * 300, "cannot be read (File name too long)"),
        ("a\0b", "no such folder"),
        ("loop", "no such folder"),
        ("~nosuchuser/x", "there is no such user"),
    ],
    ids=["long", "null", "loop", "user"],
)
def test_names_of_folders(path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    for source in ("folder", "imagenet"):
        with pytest.raises(PsapError) as caught:
            check_source(source, path)
        assert "\n" not in str(caught.value)
    with pytest.raises(PsapError) as caught:
        check_source("folder", path)
    assert says in str(caught.value)


@BOTH
def test_names_that_are_not_utf8(as_photos: bool, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    before = prepare("folder", str(folder), out, as_photos=as_photos)
    file = folder / "train" / "cat" / "2.png"
    file.rename(file.with_name(os.fsdecode(b"z\xff.png")))
    assert len(fingerprint("folder", str(folder), out)) == 64
    after = prepare("folder", str(folder), out, as_photos=as_photos)
    assert as_photos or after["digest"] == before["digest"]
    if as_photos:
        assert load(out, folder).train.images.decode(2).size == (5, 4)
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / split / os.fsdecode(b"caf\xe9"))
    assert "the name of a class must be UTF-8; rename the folder" in refusal(folder, as_photos)


@BOTH
def test_what_is_passed_over_is_counted(as_photos: bool, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder / "train" / "cat"
    for name in ("a.gif", "b.gif", "c.tiff", "notes", ".hidden.txt"):
        (place / name).touch()
    (place / "more").mkdir()
    prepare("folder", str(folder), folder.parent / "x.safetensors", as_photos=as_photos)
    told = "5 files that are no images by their names passed over (2 .gif, "
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith(f"{folder}: {told}") and "1 folders" in err and "1 .tiff" in err


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_the_camera_says(orientation: int, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pets", ["cat", "dog"], ".png", (5, 5))
    upright = Image.fromarray(pixels(0, 5, 5))
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Image.Transpose: back from how the camera was held
    held = upright.transpose(Image.Transpose(methods[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    held.save(root / "train" / "cat" / "0.png", exif=exif)
    out = tmp_path / "x.safetensors"
    prepare("folder", str(root), out)
    assert np.array_equal(load(out).train.images[0].numpy(), pixels(0, 5, 5))
    prepare("folder", str(root), out, as_photos=True)
    assert np.array_equal(np.asarray(load(out, root).train.images.decode(0)), pixels(0, 5, 5))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "exif", [b"", b"rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12"]
)
def test_a_photograph_with_damaged_exif_is_read_as_it_lies(exif: bytes, folder: Path, tmp_path: Path) -> None:
    Image.fromarray(pixels(0)).save(folder / "train" / "cat" / "0.png", exif=exif)
    prepare("folder", str(folder), tmp_path / "x.safetensors")
    assert np.array_equal(load(tmp_path / "x.safetensors").train.images[0].numpy(), pixels(0))


def test_images_of_many_sizes_and_too_many_large_ones_are_photographs(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(pixels(1, 7, 4)).save(folder / "train" / "dog" / "1.png")
    assert "--photos of `psap data`" in refusal(folder)
    large = tmp_path / "large"
    Image.new("1", (8000, 8000)).save(tmp_path / "one.png")
    for split, name in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
        (large / split / name).mkdir(parents=True)
        for i in range(2000):
            (large / split / name / f"{i}.png").hardlink_to(tmp_path / "one.png")
    said = refusal(large)
    assert said.startswith("8,000 images of 8000 x 8000 need 1430.5 GiB of memory") and "--photos" in said


@BOTH
def test_a_file_larger_than_any_image_is_not_read(folder: Path, as_photos: bool) -> None:
    with (folder / "train" / "cat" / "0.png").open("wb") as file:
        file.truncate(2**40)
    assert "0.png: 1,048,576 MiB, larger than the 1,024 MiB that can be read" in refusal(folder, as_photos)
