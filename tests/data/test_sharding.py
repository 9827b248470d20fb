"""What the processes that train one network take of an epoch: together everything, each image once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psap.data.sharding import Shard
from psap.errors import PsapError


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 8), st.integers(1, 5), st.integers(0, 40))
def test_training_shares(ranks: int, accumulation_steps: int, micro: int, steps: int, more: int) -> None:
    batch = ranks * accumulation_steps * micro
    count = batch * steps + more % batch
    shards = [Shard(rank, ranks, micro) for rank in range(ranks)]
    taken = [shard.training(count, batch) for shard in shards]
    for step in range(steps):
        of_step = [
            part for parts in taken for part in parts[step * accumulation_steps : (step + 1) * accumulation_steps]
        ]
        images = sorted(image for part in of_step for image in range(part.start, part.stop))
        assert images == list(range(step * batch, (step + 1) * batch))
    assert {shard.accumulation_steps(batch) for shard in shards} == {accumulation_steps}
    assert {len(parts) for parts in taken} == {steps * accumulation_steps}
    alone = Shard(micro_batch=micro).training(count, batch)
    assert sorted(part.start for parts in taken for part in parts) == [part.start for part in alone]
    assert {part.stop - part.start for part in alone} == {micro}


@given(st.integers(1, 4), st.integers(1, 50), st.integers(1, 200))
def test_evaluation_shares(ranks: int, batch: int, count: int) -> None:
    parts = [part for rank in range(ranks) for part in Shard(rank, ranks).evaluation(count, batch)]
    assert sorted(image for part in parts for image in range(part.start, part.stop)) == list(range(count))
    assert max(part.stop - part.start for part in parts) <= batch


def test_one_process_takes_what_there_is() -> None:
    assert Shard().training(7, 10) == [slice(0, 7)]
    assert Shard().training(25, 10) == [slice(0, 10), slice(10, 20)]


@pytest.mark.parametrize(
    ("shard", "count", "says"),
    [
        (Shard(0, 3), 100, "3 processes need training: .micro_batch: .... in the suite, such as 3"),
        (Shard(0, 2, 4), 100, "by 2 processes that take 4 images at a time"),
        (Shard(0, 20, 1), 100, "a batch of 10 images cannot be shared by 20 processes"),
        (Shard(0, 2, 5), 9, "9 training images do not fill a batch of 10"),
        (Shard(0, 1, 5), 9, "9 training images do not fill a batch of 10"),
    ],
)
def test_what_cannot_be_shared(shard: Shard, count: int, says: str) -> None:
    with pytest.raises(PsapError, match=says):
        shard.training(count, 10)
