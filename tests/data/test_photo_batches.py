"""Photographs in batches: evaluation sees what torchvision shows, training what follows from seed, epoch and image."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import v2

from psap.data import dataset
from psap.data.dataset import Split
from psap.data.photo_batches import PhotoBatches, random_resized_crop
from psap.data.photos import Files
from psap.data.schema import Photos
from psap.data.seeds import generator
from psap.data.sharding import Shard
from psap.data.sources import prepare
from psap.errors import PsapError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PHOTOS = Photos(size=32, min_area=0.2, classes=2, mean=MEAN, std=STD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    numbers = np.random.default_rng(0)
    for split, images in (("train", 9), ("test", 5)):
        for name in ("a", "b"):
            for i in range(images):
                file = root / split / name / f"{i}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                height, width = numbers.integers(40, 90, 2)
                coarse = Image.fromarray(numbers.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC).save(file, quality=95)
    return root


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dataset.DataSet:
    out = tmp_path_factory.mktemp("data") / "p.safetensors"
    prepare("folder", str(folder), out, as_photos=True)
    return dataset.load(out, folder)


def batches(split: Split[Files], train: bool = True, **more: Any) -> PhotoBatches:
    options = {"seed": 3, "train": train, "flip": True} | more
    return PhotoBatches(split, 4, PHOTOS, **options)


def images(subject: PhotoBatches, epoch: int = 0) -> torch.Tensor:
    return torch.cat([x for x, _ in subject.epoch(epoch)])


def test_evaluation_is_torchvision_s(data: dataset.DataSet) -> None:
    reference = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(round(32 / 0.875), antialias=True),
            v2.CenterCrop(32),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    expected = torch.stack([reference(Image.open(file)) for file in map(data.test.images.path, range(10))])
    subject = batches(data.test, train=False)
    assert len(subject) == 3
    torch.testing.assert_close(images(subject), expected, rtol=0, atol=2e-6)
    assert torch.cat([y for _, y in subject.epoch(0)]).tolist() == [0] * 5 + [1] * 5
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in subject.epoch(0))


def test_training_depends_on_seed_and_epoch_alone(data: dataset.DataSet) -> None:
    alone, two = batches(data.train), batches(data.train, workers=2)
    first = images(alone, 1)
    assert first.shape == (16, 3, 32, 32)
    assert torch.equal(first, images(two, 1))
    images(two, 0)
    assert torch.equal(first, images(two, 1))  # the same workers, an epoch later
    assert not torch.equal(first, images(alone, 2))
    assert not torch.equal(first, images(batches(data.train, seed=4), 1))


def test_ranks_share_an_epoch(data: dataset.DataSet) -> None:
    whole = list(batches(data.train).epoch(0))
    parts = [list(batches(data.train, shard=Shard(rank, 2, 2)).epoch(0)) for rank in range(2)]
    for (x, y), (x0, y0), (x1, y1) in zip(whole, *parts, strict=True):
        assert torch.equal(x, torch.cat([x0, x1])) and torch.equal(y, torch.cat([y0, y1]))


def test_about_half_are_mirrored(data: dataset.DataSet) -> None:
    split = data.train.take(torch.zeros(4, dtype=torch.int64))
    flat = PHOTOS.model_copy(update={"min_area": 1.0})
    subject = PhotoBatches(split, 4, flat, seed=0, train=True, flip=True)
    straight = PhotoBatches(split, 4, flat, seed=0, train=True, flip=False)
    same = mirrored = 0
    for epoch in range(12):
        for x, y in zip(images(subject, epoch), images(straight, epoch), strict=True):
            same += torch.equal(x, y)
            mirrored += torch.equal(x, y.flip(2))
    assert same + mirrored == 48 and 14 <= mirrored <= 34


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.05, 1), st.integers(0, 1000))
def test_cuts_lie_within_the_image(height: int, width: int, min_area: float, seed: int) -> None:
    top, left, h, w = random_resized_crop(height, width, min_area, generator(seed))
    assert min(top, left) >= 0 and min(h, w) > 0 and top + h <= height and left + w <= width
    # Rounding moves a side by half a pixel.
    assert (w - 0.5) / (h + 0.5) <= 4 / 3 and (w + 0.5) / (h - 0.5) >= 3 / 4
    if 3 / 4 <= width / height <= 4 / 3:
        assert (h + 0.5) * (w + 0.5) >= min_area * height * width


@pytest.mark.parametrize(("height", "width"), [(1000, 1000), (375, 500)])
def test_cuts_are_spread_as_torchvision_s(height: int, width: int) -> None:
    image = torch.zeros(3, height, width)
    torch.manual_seed(0)
    theirs = [transforms.RandomResizedCrop.get_params(image, [0.2, 1], [3 / 4, 4 / 3]) for _ in range(3000)]
    ours = [random_resized_crop(height, width, 0.2, generator(seed)) for seed in range(3000)]
    values: dict[str, Callable[[tuple[int, int, int, int]], float]] = {
        "area": lambda box: box[2] * box[3] / (height * width),
        "stretch": lambda box: math.log(box[3] / box[2]),
        "top": lambda box: box[0] / height,
        "left": lambda box: box[1] / width,
    }
    for name, value in values.items():
        found = torch.tensor([[value(box) for box in boxes] for boxes in (ours, theirs)])
        means, spreads = found.mean(1).tolist(), found.std(1).tolist()
        assert means[0] == pytest.approx(means[1], abs=5 * max(spreads) / 3000**0.5), name
        assert spreads[0] == pytest.approx(spreads[1], rel=0.1), name


LOSING = """
import sys, time
from pathlib import Path
import psutil
from psap.data import dataset
from psap.data.photo_batches import PhotoBatches, lost_workers
from psap.data.schema import Photos
from psap.errors import PsapError
data = dataset.load(Path(sys.argv[1]), Path(sys.argv[2]))
photos = Photos(size=32, min_area=0.2, mean=(0.5,) * 3, std=(0.5,) * 3)
try:
    with lost_workers():
        epoch = PhotoBatches(data.train, 4, photos, train=True, workers=2).epoch(0)
        next(epoch)
        psutil.Process().children()[0].kill()
        time.sleep(20)
        list(epoch)
except PsapError as error:
    print(error)
"""


def test_a_worker_that_is_killed_is_one_line(folder: Path, tmp_path: Path) -> None:
    prepare("folder", str(folder), tmp_path / "p.safetensors", as_photos=True)
    command = [sys.executable, "-c", LOSING, str(tmp_path / "p.safetensors"), str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert said.startswith("a process that decodes images was killed (") and said.count("\n") == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_went_bad_is_named(workers: int, folder: Path, data: dataset.DataSet) -> None:
    file = folder / "train" / "a" / "3.jpg"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    try:
        with pytest.raises(PsapError, match=r"3\.jpg: not as it was when the data were prepared") as caught:
            images(batches(data.train, workers=workers))
        assert "\n" not in str(caught.value)
    finally:
        file.write_bytes(whole)
