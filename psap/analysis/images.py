"""Intervals over seeds and images at once, from which images each run classified rightly (correct.bin)."""

from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from psap.analysis.results import Results

DRAWS = 2000
_SEED = 0
_BLOCK = 100  # draws at a time


def interval_over_images(results: Results, pairs: pd.DataFrame) -> tuple[float, float] | None:
    """The percentile interval of the mean difference in points, when seeds and images are drawn again independently.

    None where a run has no correct.bin, or runs have other numbers of images.
    """
    right = results.correct
    runs = [*pairs["run_x"], *pairs["run_y"]]
    if pairs.empty or any(run not in right for run in runs) or len({right[run].size for run in runs}) > 1:
        return None
    by_seed = [
        np.mean([right[x].astype(float) - right[y] for x, y in zip(part["run_x"], part["run_y"], strict=True)], axis=0)
        for _, part in pairs.groupby("seed")
    ]
    tail = 50 * (1 - results.rules.confidence)
    low, high = np.percentile(bootstrap(np.stack(by_seed)), [tail, 100 - tail])
    return round(100 * float(low), 6), round(100 * float(high), 6)


def bootstrap(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of `differences` (seeds, images) in DRAWS draws with replacement of seeds and, the same for all, of images.

    The draws are the same for the same numbers of seeds and images.
    """
    seeds, images = differences.shape
    generator = np.random.default_rng(_SEED)
    weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS) / seeds
    drawn = _drawn(images)
    means: NDArray[np.float64] = np.empty(DRAWS)
    for start in range(0, DRAWS, _BLOCK):
        block = slice(start, start + _BLOCK)
        means[block] = np.einsum("ds,sd->d", weights[block], differences @ drawn[block].T.astype(float))
    means /= images
    return means


@cache
def _drawn(images: int) -> NDArray[np.uint8]:
    """How often each draw has each image (DRAWS, images); more than 255 times never happens."""
    generator = np.random.default_rng([_SEED, images])
    counts = [np.bincount(generator.integers(images, size=images), minlength=images) for _ in range(DRAWS)]
    return np.stack(counts).astype(np.uint8)
