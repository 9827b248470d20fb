"""Checkpoints: whole, verified, never unpickled; and one writer to a run."""

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from psap.errors import PsapError
from psap.training.checkpoint import Checkpoints, single_writer
from psap.utils.files import sha256, write_bytes
from psap.utils.mappings import StateDict


def state(epoch: int) -> StateDict:
    return {"epoch": epoch, "weights": torch.full((3,), float(epoch)), "rows": [{"top1": 1.5}]}


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "a run")
    assert checkpoints.load() is None
    for epoch in (1, 2, 10):
        checkpoints.save(epoch, state(epoch))
    assert [file.name[:11] for file in sorted(tmp_path.iterdir())] == ["epoch-00002", "epoch-00010"]
    loaded = checkpoints.load()
    assert loaded
    assert loaded["epoch"] == 10 and torch.equal(loaded["weights"], state(10)["weights"])


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_one_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path, "a run")
    for epoch in (1, 2):
        checkpoints.save(epoch, state(epoch))
    newest = max(tmp_path.iterdir())
    data = bytearray(newest.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        data[100] ^= 4
    newest.write_bytes(bytes(data))
    loaded = checkpoints.load()
    assert loaded and loaded["epoch"] == 1
    assert f"{newest}: damaged" in capsys.readouterr().err
    assert not newest.exists()


def test_one_of_another_run_is_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, other = Checkpoints(tmp_path / "own", "seed0 0f"), Checkpoints(tmp_path / "other", "seed1 0f")
    own.save(1, state(1))
    other.save(2, state(2))
    (foreign,) = (tmp_path / "other").iterdir()
    shutil.copy(foreign, tmp_path / "own")
    loaded = own.load()
    assert loaded and loaded["epoch"] == 1
    assert f"own/{foreign.name}: damaged, or of another run" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "other", "seed1 1a").load() is None, "nor one of other settings, data or code"


def test_a_state_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    match = r"state/run/lock: cannot be written \(Not a directory\)"
    with pytest.raises(PsapError, match=match), single_writer(tmp_path / "state" / "run"):
        pass


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return (Path.touch, (self.mark,))


def test_a_pickle_with_a_right_digest_is_not_run(tmp_path: Path) -> None:
    data = pickle.dumps(Payload(tmp_path / "ran"))
    write_bytes(tmp_path / f"epoch-00003-{sha256(b'a run' + bytes([10]) + data)[:16]}.pt", data)
    with pytest.raises(Exception, match=r"(?i)weights.only|unsupported"):
        Checkpoints(tmp_path, "a run").load()
    assert not (tmp_path / "ran").exists()


def test_a_second_writer_waits_and_says_so(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from psap.training.checkpoint import single_writer
with single_writer(Path({str(tmp_path)!r})):
    print("mine", flush=True)
"""
    with single_writer(tmp_path):
        second = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr
        assert "another process works on this run" in second.stderr.readline()
        assert second.poll() is None
    out, _ = second.communicate(timeout=60)
    assert out == "mine\n" and second.returncode == 0
