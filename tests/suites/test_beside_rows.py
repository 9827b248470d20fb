"""What lies next to rows comes back as it was written, and a broken file is refused by name."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from psap.errors import PsapError
from psap.suites.beside_rows import read_correct, read_sensitivity, write_correct, write_sensitivity

GROUPS = st.dictionaries(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.booleans(), min_size=1, max_size=100), GROUPS)
def test_comes_back_as_written(right: list[bool], changes: dict[str, float]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "correct.bin")
        write_correct(file, np.array(right))
        assert file.stat().st_size == 4 + -(-len(right) // 8)
        read = read_correct(file, 100 * float(np.mean(right)))
        assert read is not None and read.tolist() == right
        write_sensitivity(Path(folder, "sensitivity.json"), changes)
        assert read_sensitivity(Path(folder, "sensitivity.json")) == changes


@pytest.mark.parametrize("data", [b"", b"\x08\0\0", b"\x08\0\0\0", b"\0\0\0\0", b"\x08\0\0\0\xff\xff"])
def test_broken_bits_are_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "correct.bin").write_bytes(data)
    with pytest.raises(PsapError, match=r"correct\.bin.*restore it"):
        read_correct(tmp_path / "correct.bin", 100.0)


def test_bits_of_another_run_are_named(tmp_path: Path) -> None:
    write_correct(tmp_path / "correct.bin", np.array([True] * 8))
    with pytest.raises(PsapError, match=r"100\.00 % of the images are right, and top1_last of its row is 87\.50"):
        read_correct(tmp_path / "correct.bin", 87.5)


def test_nothing_there_is_nothing_known(tmp_path: Path) -> None:
    assert read_correct(tmp_path / "correct.bin", 50.0) is None
    assert read_sensitivity(tmp_path / "sensitivity.json") == {}
