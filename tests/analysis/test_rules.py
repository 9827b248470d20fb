"""The rules are data: their file says what the code has by default, and a mistake in it is one clear line."""

from pathlib import Path

import pytest
from fixture_types import Build

from psap.analysis import analyse
from psap.analysis.rules import Rules, load
from psap.errors import PsapError


def test_the_file_and_what_is_shipped_agree(root: Path, tmp_path: Path) -> None:
    assert load(root / "params" / "verdicts.yaml") == Rules() == load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alpah: 0.1", "alpah: unknown key; did you mean 'alpha'?"),
        ("smallest_effect: {top1: 0}", "smallest_effect.top1: "),
        ("min_seeds: 1", "min_seeds: "),
        ("alpha: 1e-300", "alpha: "),
        ("hierarchy: [[S2, S3]]", "hierarchy: S3b must be in one level, and is in none"),
        ("hierarchy: [[S2, S2, S3, S3b], [S5a, S5b, S5c, S5d, S5e, S5f]]", "hierarchy: S2 must be in one level"),
        ("hierarchy: [[S9]]", "hierarchy.0.0: "),
        ("[1]", "must be a mapping"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(tmp_path: Path, build: Build, text: str, said: str) -> None:
    root = build(tmp_path, seeds=1, epochs=2)
    file = tmp_path / "verdicts.yaml"
    file.write_text(text)
    with pytest.raises(PsapError) as caught:
        analyse(root, None, file)
    assert str(caught.value).startswith(str(file)) and said in str(caught.value)
    assert not (root / "claims.json").exists()


def test_what_is_printed_follows_the_values() -> None:
    told = " ".join(load_from(alpha=0.01, confidence=0.99, min_seeds=5, smallest_effect={"top1": 0.7}).told())
    for words in ("99 % t-interval", "is at most 0.01", "fewer than 5 seeds", "0.7 points of top-1", "or 2 percentage"):
        assert words in told
    assert "S3, S3b, S2; S5a, S5c, S5d, S5b; S5e, S5f." in told


def load_from(**values: object) -> Rules:
    return Rules.model_validate(values)
