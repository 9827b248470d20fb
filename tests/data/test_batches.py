"""Batches against a loop over single images, bit for bit, and the properties an epoch must have."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from psap.data.batches import Batches
from psap.data.dataset import Split
from psap.data.seeds import generator

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]


def random_split(count: int, height: int = 6, width: int = 5, channels: int = 3) -> Split[torch.Tensor]:
    images = torch.randint(256, (count, height, width, channels), dtype=torch.uint8, generator=generator(7))
    return Split(images, torch.arange(count))


def all_of(batches: Batches, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
    xs, ys = zip(*batches.epoch(epoch), strict=True)
    return torch.cat(xs), torch.cat(ys)


def naive(split: Split[torch.Tensor], seed: int, epoch: int, pad: int, flip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The whole epoch, one image and one pixel row at a time."""
    count, height, width, channels = split.images.shape
    numbers = generator(seed, epoch)
    order = torch.randperm(count, generator=numbers)
    down, right = torch.randint(2 * pad + 1, (2, count), generator=numbers)
    mirrored = torch.randint(2 if flip else 1, (count,), generator=numbers)
    mean = 255 * torch.tensor(MEAN[:channels])
    scale = 1 / (255 * torch.tensor(STD[:channels]))
    images = []
    for place, i in enumerate(order.tolist()):
        padded = torch.zeros(height + 2 * pad, width + 2 * pad, channels, dtype=torch.uint8)
        padded[pad : pad + height, pad : pad + width] = split.images[i]
        if mirrored[place]:
            padded = torch.stack([padded[:, column] for column in reversed(range(width + 2 * pad))], 1)
        y, x = int(down[place]), int(right[place])
        crop = padded[y : y + height, x : x + width]
        images.append(((crop.float() - mean) * scale).permute(2, 0, 1))
    return torch.stack(images), split.labels[order]


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("pad", "flip"), [(0, False), (0, True), (2, False), (4, True)])
def test_an_epoch_equals_the_loop_over_single_images(pad: int, flip: bool, channels: int, device: str) -> None:
    split = random_split(24, channels=channels)
    mean, std = MEAN[:channels], STD[:channels]
    batches = Batches(split, 8, mean, std, seed=3, train=True, pad=pad, flip=flip, device=device)
    for epoch in (0, 5):
        x, y = (part.cpu() for part in all_of(batches, epoch))
        expected_x, expected_y = naive(split, 3, epoch, pad, flip)
        assert torch.equal(x, expected_x)
        assert torch.equal(y, expected_y)


def test_evaluation_is_in_order_unaugmented_and_normalised() -> None:
    split = random_split(10)
    x, y = all_of(Batches(split, 4, MEAN, STD, train=False, pad=4, flip=True), 0)
    expected = (split.images / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.equal(y, split.labels)
    torch.testing.assert_close(x, expected.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_form_of_a_batch(dtype: torch.dtype) -> None:
    x, y = next(Batches(random_split(9), 4, MEAN, STD, train=True, pad=1, dtype=dtype).epoch(0))
    assert x.shape == (4, 3, 6, 5) and x.dtype == dtype
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert y.shape == (4,) and y.dtype == torch.int64


@given(count=st.integers(1, 40), batch_size=st.integers(1, 45), seed=st.integers(0, 2**40), epoch=st.integers(0, 999))
def test_training_shows_every_image_at_most_once_and_drops_only_an_incomplete_batch(
    count: int, batch_size: int, seed: int, epoch: int
) -> None:
    batches = Batches(random_split(count), batch_size, MEAN, STD, seed=seed, train=True, pad=1, flip=True)
    labels = [y for _, y in batches.epoch(epoch)]
    seen = torch.cat(labels).tolist()
    assert len(labels) == len(batches)
    assert len(set(seen)) == len(seen)
    assert len(seen) == (count if count < batch_size else count - count % batch_size)
    assert all(len(y) == min(batch_size, count) for y in labels)


@given(count=st.integers(1, 40), batch_size=st.integers(1, 45))
def test_evaluation_covers_everything_once(count: int, batch_size: int) -> None:
    batches = Batches(random_split(count), batch_size, MEAN, STD, train=False)
    labels = [y for _, y in batches.epoch(0)]
    assert torch.cat(labels).tolist() == list(range(count))
    assert len(labels) == len(batches)
    assert all(len(y) == batch_size for y in labels[:-1])


def test_an_epoch_depends_on_seed_and_epoch_only() -> None:
    split = random_split(64)

    def epochs(seed: int, *which: int) -> list[torch.Tensor]:
        batches = Batches(split, 16, MEAN, STD, seed=seed, train=True, pad=2, flip=True)
        return [all_of(batches, epoch)[0] for epoch in which]

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = epochs(0, 0, 1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, resumed = epochs(0, 1)[0], epochs(0, 0)[0]
    assert torch.equal(again, second) and torch.equal(resumed, first)
    assert not torch.equal(first, second)
    assert not torch.equal(epochs(1, 0)[0], second)


def test_two_epochs_at_once_do_not_disturb_each_other() -> None:
    batches = Batches(random_split(12), 4, MEAN, STD, train=True, pad=2, flip=True)
    one, other = batches.epoch(0), batches.epoch(1)
    mixed = [(next(one)[1], next(other)[1]) for _ in range(3)]
    for epoch in (0, 1):
        assert torch.equal(torch.cat([pair[epoch] for pair in mixed]), all_of(batches, epoch)[1])


def test_all_crops_and_both_directions_occur_equally_often() -> None:
    # One bright pixel in the middle: where it lands tells the crop, and its neighbour's side the direction.
    images = torch.zeros(1, 9, 9, 1, dtype=torch.uint8)
    images[0, 4, 4], images[0, 4, 5] = 255, 100
    split = Split(images.repeat(4050, 1, 1, 1), torch.zeros(4050, dtype=torch.int64))
    x, _ = all_of(Batches(split, 4050, [0.0], [1 / 255], seed=1, train=True, pad=2, flip=True), 0)
    places = (x == 255).flatten(1).float().argmax(1)
    right = (x == 100).flatten(1).float().argmax(1) > places
    counts = torch.bincount(places * 2 + right)
    assert (counts > 0).sum() == 5 * 5 * 2
    assert counts.sum() == 4050 and counts[counts > 0].min() > 81 - 5 * 9  # expected 81 each, deviation 9


def test_near_seeds_and_epochs_give_unrelated_streams() -> None:
    pairs = [(seed, epoch) for seed in range(40) for epoch in range(40)]
    draws = [int(torch.randint(2**31, (1,), generator=generator(*pair))) for pair in pairs]
    assert len(set(draws)) == len(draws)
    # Increments between neighbours in the grid would repeat if seeds were merely added or multiplied.
    assert len({b - a for a, b in pairwise(draws)}) == len(draws) - 1


def test_generator_is_the_same_on_every_machine() -> None:
    assert torch.randint(1000, (4,), generator=generator(0, 0)).tolist() == [811, 699, 347, 497]
