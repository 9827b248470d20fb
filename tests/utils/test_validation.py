"""Files that are not what they should be, and values past all bounds: one line, at once."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from psap.errors import PsapError, one_line, suggestion
from psap.utils import bounds
from psap.utils.files import sha256
from psap.utils.validation import checked, content, read_json, read_rows, text
from psap.utils.yaml_files import read_mapping


class Shape(BaseModel):
    name: str
    numbers: list[int] = []


READERS = {
    "YAML": read_mapping,
    "JSON": lambda path: read_json(path, Shape, "write it again"),
    "CSV": lambda path: read_rows(path, ["a"], "write it again"),
    "text": text,
    "bytes": content,
    "digest": sha256,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device", "long name", "below a file"])
def test_what_is_no_file_is_told_at_once(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / kind
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path.name)
        case "device":
            path.symlink_to("/dev/zero")
        case "long name":
            path = tmp_path / ("x" * 300)
        case "below a file":
            (tmp_path / "file").touch()
            path = tmp_path / "file" / "x"
    start = time.monotonic()
    with pytest.raises(PsapError, match=kind if kind in ("pipe", "folder", "device") else "cannot be read"):
        READERS[reader](path)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("reader", ["YAML", "JSON", "CSV", "text", "bytes"])
def test_what_is_too_large_is_not_read(tmp_path: Path, reader: str) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(PsapError, match="larger than"):
        READERS[reader](tmp_path / "x")


NESTED = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"\xff\xfea", "not a text in UTF-8"),
        ("a: Größe".encode("latin-1"), "not a text in UTF-8"),
        (b"[" * 100_000, "levels deep"),
        (b"{a: " * 40 + b"1" + b"}" * 40, "levels deep"),
        (NESTED.encode(), "more than 20,000 values"),
        (b"a: &a [*a]", "holds itself"),
        (b"a: &a {b: *a}", "holds itself"),
        (b"{[1]: 2}", "a key that is not text"),
        (b"1: 2", "a key that is not text"),
        (b"a: {true: 2}", "a key that is not text"),
        (b"a: 1\na: 2", "'a' is given twice"),
        (b"a: " + b"9" * 5000, "number of more than"),
        (b"a: 0x" + b"f" * 5000, "number of more than"),
        (b"a: 2026-13-45", "month"),
        (b"a: !!int x", "invalid literal"),
        (b'a: "\\ud800"', "cannot be printed"),
        (b'a: "\\0"', "cannot be printed"),
        (b"a: " + b"x" * 30_000, "more than 20,000 characters"),
        (b"a: \0", "special characters"),
        (b"[1]", "must be a mapping"),
        (b"", "must be a mapping"),
    ],
)
def test_yaml_that_is_none_of_ours_is_one_line(tmp_path: Path, written: bytes, says: str) -> None:
    (tmp_path / "x.yaml").write_bytes(written)
    start = time.monotonic()
    with pytest.raises(PsapError, match=says) as error:
        read_mapping(tmp_path / "x.yaml")
    assert time.monotonic() - start < 5
    assert "x.yaml" in str(error.value) and "\n" not in str(error.value)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False)
    | st.text("ab0:#-\n\t'é–\x1b", max_size=9)
)
NAMES = st.text("abcdef", min_size=1, max_size=4)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES))
def test_whatever_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "x.yaml"
    file.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    try:
        assert read_mapping(file) == values
    except PsapError as error:
        assert "cannot be printed" in str(error)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text("{}[]:,-&*!<? \n\"'ab1", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, written: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "x"
    file.write_bytes(written)
    for reader in READERS.values():
        try:
            reader(file)
        except PsapError as error:
            assert "\n" not in one_line(error)


@pytest.mark.parametrize(
    "written", [b"", b"{", b"[]", b"null", b'{"name": 3}', b'{"name": "\\ud800"}', b"\xff", b"[" * 10**5]
)
def test_json_of_another_shape_is_one_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "x.json").write_bytes(written)
    with pytest.raises(PsapError, match=r"x\.json: damaged, or of another kind \(.*; write it again$"):
        read_json(tmp_path / "x.json", Shape, "write it again")


@pytest.mark.parametrize("written", [b'a,b\n"1,2\n', b"b\n1\n", b"b,a\n1\n", b"\xff"])
def test_csv_of_another_shape_is_one_line(tmp_path: Path, written: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(written)
    with pytest.raises(PsapError, match=r"x\.csv: "):
        read_rows(tmp_path / "x.csv", ["a"], "write it again")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "/etc/passwd", "~x", "-x", "a b", "a\n", "x" * 101, 3, None, ["x"]]
)
def test_what_is_no_name(name: Any) -> None:
    with pytest.raises(PsapError, match=r"^here: "):
        checked(bounds.Name, name, "here")


@pytest.mark.parametrize("kind", ["Count", "Epochs", "Batch", "Classes", "Pixels", "Seed", "Rate", "Penalty"])
@pytest.mark.parametrize("number", [-1, 2**64, 10**400, 1e308, float("inf"), float("nan"), None, "x", []])
def test_numbers_past_all_bounds(kind: str, number: Any) -> None:
    with pytest.raises(PsapError, match=r"^here: ") as error:
        checked(getattr(bounds, kind), number, "here")
    assert len(str(error.value)) < 300


def test_a_line_is_one_line_without_escapes_or_passwords() -> None:
    assert one_line("a\nb\x1b[31m\udc80") == "a b\\x1b[31m\\udc80"
    assert one_line("at https://user:p/w@d@host/x, 'postgresql://u:p@h'") == "at https://host/x, 'postgresql://h'"
    assert one_line("sqlite:////home/a@b/x.db") == "sqlite:////home/a@b/x.db"
    assert len(one_line("x" * 10**6)) < 2100


def test_a_long_word_is_compared_at_once() -> None:
    start = time.monotonic()
    assert suggestion("x" * 10**6, ["psap", "l1"] * 200).startswith("; known: ")
    assert time.monotonic() - start < 1
