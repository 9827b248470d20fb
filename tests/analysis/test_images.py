"""Which images a run classified rightly, and the interval over seeds and images that follows."""

from pathlib import Path

import numpy as np
import pytest
from fixture_types import Build
from scipy import stats

from psap.analysis.claims import judge
from psap.analysis.images import DRAWS, bootstrap
from psap.analysis.results import collect
from psap.errors import PsapError
from psap.utils.mappings import JsonObject

IMAGES, SEEDS = 403, 5


def packed(right: np.ndarray) -> bytes:
    return len(right).to_bytes(4, "little") + np.packbits(right).tobytes()


@pytest.fixture
def root(tmp_path: Path, build: Build) -> Path:
    """psap is right where the other is, and of the rest on one image in eight more."""
    rng = np.random.default_rng(5)
    base = rng.random((SEEDS, IMAGES)) < 0.7
    bits = {"psap_hard": base, "psap": base | (rng.random((SEEDS, IMAGES)) < 0.125)}
    top1 = lambda model, init, method, target, seed: 100 * bits[method][seed].mean()  # noqa: E731
    grid = {"methods": list(bits), "inits": ["pretrained"], "targets": [0.5], "epochs": 2, "seeds": SEEDS, "top1": top1}
    root = build(tmp_path, dense=lambda model, seed: 90.0, **grid)
    for method, rows in bits.items():
        for seed, right in enumerate(rows):
            (root / f"resnet8/pretrained/{method}/0.5/seed{seed}/correct.bin").write_bytes(packed(right))
    return root


def s3b(root: Path) -> JsonObject:
    [claim] = [claim for claim in judge(collect(root)) if claim["id"] == "S3b"]
    comparison: JsonObject = claim["comparisons"][0]
    return comparison


def test_the_interval_lies_around_the_effect_and_is_the_same_each_time(root: Path) -> None:
    comparison = s3b(root)
    assert comparison["low_images"] < comparison["effect"] < comparison["high_images"]
    assert s3b(root) == comparison


def test_it_is_told_only_where_every_run_has_it(root: Path) -> None:
    next(root.rglob("psap/0.5/seed0/correct.bin")).unlink()
    comparison = s3b(root)
    assert comparison["low_images"] is comparison["high_images"] is None


def test_the_spread_is_that_of_two_crossed_samples() -> None:
    """Of seed effects and image effects that add up, the variance of the mean is the sum of both."""
    rng = np.random.default_rng(0)
    seeds, images = rng.normal(0, 1, (12, 1)), rng.normal(0, 3, (1, 300))
    means = bootstrap(seeds + images)
    assert len(means) == DRAWS and means.mean() == pytest.approx(float((seeds + images).mean()), abs=0.05)
    assert means.std() == pytest.approx(float(np.sqrt(seeds.var() / 12 + images.var() / 300)), rel=0.05)
    only_images = bootstrap(np.repeat(images, 4, axis=0))
    assert stats.norm.fit(only_images)[1] == pytest.approx(float(images.std() / np.sqrt(300)), rel=0.05)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes are not those of 0 images"),
        (packed(np.ones(IMAGES, bool))[:-1], "are not those of 403 images"),
        (packed(np.ones(IMAGES, bool)), "100.00 % of the images are right, and top1_last of its row is"),
    ],
)
def test_a_broken_file_or_another_runs_is_told(root: Path, data: bytes, said: str) -> None:
    file = next(root.rglob("psap/0.5/seed0/correct.bin"))
    file.write_bytes(data)
    with pytest.raises(PsapError) as caught:
        collect(root)
    assert str(caught.value).startswith(str(file)) and said in str(caught.value)
