import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from psap.data.dataset import Split, cut_validation, load, subset
from psap.data.prepared import Arrays, Raw, write
from psap.errors import PsapError


def split_of(labels: list[int]) -> Split[torch.Tensor]:
    """Images that are their own number, so that a subset shows which it took."""
    numbers = torch.arange(len(labels))
    return Split(numbers[:, None, None, None].to(torch.uint8), torch.tensor(labels))


def numbers(split: Split[torch.Tensor]) -> list[int]:
    found: list[int] = split.images.flatten().tolist()
    return found


labels_of_classes = st.lists(st.integers(3, 25), min_size=1, max_size=5).flatmap(
    lambda sizes: st.permutations([label for label, size in enumerate(sizes) for _ in range(size)])
)


@given(labels=labels_of_classes, share=st.integers(1, 3), seed=st.integers(0, 99))
def test_a_subset_is_balanced_ordered_and_fixed_by_its_seed(labels: list[int], share: int, seed: int) -> None:
    split = split_of(labels)
    classes = len(set(labels))
    taken = subset(split, share * classes, seed)
    assert torch.bincount(taken.labels).tolist() == [share] * classes
    assert numbers(taken) == sorted(set(numbers(taken)))
    assert [labels[i] for i in numbers(taken)] == taken.labels.tolist()
    assert numbers(subset(split, share * classes, seed)) == numbers(taken)


@given(labels=labels_of_classes, share=st.sampled_from([0.2, 0.25, 0.5]), seed=st.integers(0, 99))
def test_validation_is_stratified_disjoint_ordered_and_complete(labels: list[int], share: float, seed: int) -> None:
    split = split_of(labels)
    rest, validation = cut_validation(split, share, seed)
    assert sorted(numbers(rest) + numbers(validation)) == list(range(len(labels)))
    for part in (rest, validation):
        assert numbers(part) == sorted(numbers(part))
        assert [labels[i] for i in numbers(part)] == part.labels.tolist()
    sizes, taken = torch.bincount(split.labels), torch.bincount(validation.labels)
    assert taken.tolist() == [round(share * int(size)) for size in sizes]
    assert numbers(cut_validation(split, share, seed)[1]) == numbers(validation)


def test_other_seeds_cut_otherwise() -> None:
    split = split_of([0, 1] * 100)
    assert len({tuple(numbers(subset(split, 20, seed))) for seed in range(20)}) == 20
    assert len({tuple(numbers(cut_validation(split, 0.1, seed)[1])) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    ("count", "says"), [(5, "not a multiple of the 2 classes"), (0, "not a multiple"), (8, "has 3")]
)
def test_impossible_subsets(count: int, says: str) -> None:
    with pytest.raises(PsapError, match=says):
        subset(split_of([0, 0, 0, 1, 1, 1, 1]), count, 0)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 1.0])
def test_impossible_validation_shares(share: float) -> None:
    with pytest.raises(PsapError, match=f"a validation share of {share}"):
        cut_validation(split_of([0, 0, 0, 1, 1, 1, 1]), share, 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = Arrays(
        rng.integers(256, size=(9, 4, 5, 3), dtype=np.uint8),
        np.arange(9, dtype=np.int64) % 3,
        rng.integers(256, size=(3, 4, 5, 3), dtype=np.uint8),
        np.arange(3, dtype=np.int64),
    )
    out = tmp_path / "tiny.v1.safetensors"
    write(Raw(arrays, ["a", "b", "ü"], "tiny", "made up", "none"), "folder", out)
    return out


def test_what_was_written_is_loaded(file: Path) -> None:
    data = load(file)
    images = np.random.default_rng(0).integers(256, size=(9, 4, 5, 3), dtype=np.uint8)
    assert np.array_equal(data.train.images.numpy(), images)
    assert data.train.labels.tolist() == [0, 1, 2] * 3 and data.test.labels.tolist() == [0, 1, 2]
    assert data.train.images.dtype == torch.uint8 and data.test.labels.dtype == torch.int64
    assert data.classes == ["a", "b", "ü"] and data.label == "tiny" and len(data.test) == 3
    assert data.mean == pytest.approx((images / 255).mean((0, 1, 2)), abs=1e-12)
    assert data.std == pytest.approx((images / 255).std((0, 1, 2)), abs=1e-12)
    assert sorted(p.name for p in file.parent.iterdir()) == ["tiny.v1.json", "tiny.v1.safetensors"]


@pytest.mark.parametrize("position", [8, 100, 300, -1])
def test_a_flipped_bit_is_noticed(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
    with pytest.raises(PsapError, match=r"tiny\.v1\.safetensors: .*prepare the data set again"):
        load(file)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 30, -20])
def test_a_truncated_file_is_noticed(file: Path, suffix: str, keep: int) -> None:
    broken = file.with_suffix(suffix)
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(PsapError, match=rf"tiny\.v1\{suffix}: damaged") as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_missing_file_is_named(file: Path, suffix: str) -> None:
    file.with_suffix(suffix).unlink()
    with pytest.raises(PsapError, match=rf"tiny\.v1\{suffix}: missing"):
        load(file)


def test_other_class_names_are_other_data(file: Path) -> None:
    described = file.with_suffix(".json")
    manifest = json.loads(described.read_text())
    described.write_text(json.dumps(manifest | {"classes": ["b", "a", "ü"]}))
    with pytest.raises(PsapError, match="digests differ"):
        load(file)


def test_a_constant_channel_cannot_be_normalised(tmp_path: Path) -> None:
    images, labels = np.full((2, 2, 2, 1), 9, np.uint8), np.arange(2)
    with pytest.raises(PsapError, match="channel 0 of the training images is constant"):
        write(
            Raw(Arrays(images, labels, images, labels), ["a", "b"], "flat", "", ""),
            "folder",
            tmp_path / "x.safetensors",
        )
    assert list(tmp_path.iterdir()) == []
