"""The folder of `psap prune`: whose it is, and what may be written to it and deleted in it."""

import os
from pathlib import Path

import pytest
from fixture_types import Psap

from psap.errors import PsapError
from psap.standalone.folder import MARKER, claim, clear, is_finished
from psap.standalone.request import PruneRequest
from psap.utils.validation import validated


def request(out: str, **values: object) -> PruneRequest:
    return validated(
        PruneRequest, {"model": "resnet8", "data": "digits", "target": 0.5, "out": out} | values, "options"
    )


def tree(folder: Path) -> dict[str, bytes | str]:
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() or path.is_symlink()
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a folder `state` of its own, which is none of ours."""
    (tmp_path / "mine" / "state").mkdir(parents=True)
    (tmp_path / "mine" / "state" / "thesis.txt").write_text("years of work")
    (tmp_path / "mine" / "README.md").write_text("by hand")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    return tmp_path


THEIRS = "exists already, and was not made by psap prune"
REFUSED = {
    "": "at least 1 character",
    "  ": "no name of a folder",
    "a\0b": "no name of a folder",
    ".": "the folder in which psap runs, or one above it",
    "..": "the folder in which psap runs, or one above it",
    "empty/..": "the folder in which psap runs, or one above it",
    "/": "the folder in which psap runs, or one above it",
    "mine": THEIRS,
    "mine/state": THEIRS,
    "file": THEIRS,
    "link": THEIRS,
    "dangling": THEIRS,
    "loop": THEIRS,
    "file/new": "file is not a folder that can be written to",
    "/proc/new": "/proc is not a folder that can be written to",
    "n" * 300: "cannot be written",
}


@pytest.mark.parametrize("out", REFUSED, ids=lambda out: repr(out[:20]))
def test_what_is_not_ours_is_refused_and_left_alone(out: str, place: Path) -> None:
    if out.startswith("/proc") and os.access("/proc", os.W_OK):
        pytest.skip("/proc says that it can be written to")
    before = tree(place)
    with pytest.raises(PsapError) as caught:
        is_finished(request(out))
    assert REFUSED[out] in str(caught.value) and "\n" not in str(caught.value)
    assert tree(place) == before


def test_the_command_refuses_before_any_work(place: Path, psap: Psap) -> None:
    before = tree(place)
    for out in ("", ".", "mine"):
        code, said, err = psap("prune", "--model=resnet8", "--data=digits", "--target=0.5", f"--out={out}")
        assert code == 2 and not said and err.startswith("psap: ") and err.count("\n") == 1
    assert tree(place) == before


@pytest.mark.parametrize("part", ["state", "dense"])
def test_a_part_that_leads_elsewhere_is_refused(part: str, place: Path) -> None:
    claim(place / "own")
    assert not is_finished(request("own")), "marked, and nothing done yet"
    (place / "own" / part).symlink_to(place / "mine")
    with pytest.raises(PsapError, match=rf"own/{part}: not a folder that psap prune made"):
        is_finished(request("own"))


def test_nothing_is_put_among_the_images(place: Path) -> None:
    (place / "photos" / "ant").mkdir(parents=True)
    for out in ("photos/new", "photos/ant/new"):
        with pytest.raises(PsapError, match="lies in the folder of the images"):
            is_finished(request(out, data="photos"))
    assert not is_finished(request("photos-pruned", data="photos"))


@pytest.mark.parametrize("text", ["", "[1]", '{"request": 3}', "{}", "[" * 9000])
def test_a_result_that_is_none_is_one_line(text: str, place: Path) -> None:
    claim(place / "own")
    (place / "own" / "result.json").write_text(text)
    with pytest.raises(PsapError, match=r"own/result\.json: damaged, or of another kind") as caught:
        is_finished(request("own"))
    assert "\n" not in str(caught.value)


def test_only_what_it_wrote_is_deleted(place: Path) -> None:
    own = place / "own"
    claim(own)
    for name in ("lock", "data.safetensors", "data.json", "start/model.safetensors", "0123456789abcdef/epoch-1.pt"):
        (own / "state" / name).parent.mkdir(parents=True, exist_ok=True)
        (own / "state" / name).touch()
    (own / "state" / "fedcba9876543210").symlink_to(place / "mine")
    (own / "state" / "notes.txt").write_text("mine")
    clear(own)
    assert tree(own / "state") == {"notes.txt": b"mine"} and (place / "mine" / "README.md").exists()
    (own / "state" / "notes.txt").unlink()
    clear(own)
    assert [file.name for file in own.iterdir()] == [MARKER]
