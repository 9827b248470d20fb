"""Files of weights: tensors alone are read, and all else is refused in our own words."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from psap.errors import PsapError
from psap.models.state_dicts import read


class Strikes:
    """A pickle that runs code when it is read."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.system, ("touch struck",)


def save(value: object) -> Callable[[Path], None]:
    return lambda file: torch.save(value, file)


UNSAFE = "no tensors, or more than tensors: that could run code, and is not read"
PLAIN = "is sparse, quantised, complex or without values; save dense real numbers"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "code": (save({"w": Strikes()}), UNSAFE),
    "module": (save(nn.Linear(2, 2)), UNSAFE),
    "old pickle": (lambda file: file.write_bytes(pickle.dumps({"w": Strikes()})), UNSAFE),
    "numbers": (save({"w": [1.0]}), "not a file of weights alone, name by name"),
    "no names": (save({1: torch.ones(2), "w": torch.ones(2)}), "not a file of weights alone, name by name"),
    "one tensor": (save(torch.ones(2)), "not a file of weights alone, name by name"),
    "meta": (save({"w": torch.ones(2, device="meta")}), f"w {PLAIN}"),
    "sparse": (save({"v": torch.ones(2), "w": torch.eye(2).to_sparse()}), f"w {PLAIN}"),
    "complex": (save({"w": torch.ones(2, dtype=torch.complex64)}), f"w {PLAIN}"),
    "text": (lambda file: file.write_text("no weights"), "not a file of weights"),
    "empty": (lambda file: file.write_bytes(b""), "not a file of weights"),
    "pipe": (lambda file: os.mkfifo(file), "no such file of weights"),
    "nothing": (lambda file: None, "no such file of weights"),
    "loop": (lambda file: file.symlink_to(file), "no such file of weights"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_weights_alone_is_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, says = REFUSED[kind]
    file = tmp_path / "w.pt"
    make(file)
    with pytest.raises(PsapError) as caught:
        read(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: ") and says in said and "\n" not in said and "\x1b" not in said
    assert "weights_only" not in said and "option" not in said, "no advice to read it unsafely"
    assert not (tmp_path / "struck").exists()


def test_a_name_that_is_too_long() -> None:
    with pytest.raises(PsapError, match="cannot be read \\(File name too long\\)"):
        read(Path("w" * 300))


def test_weights_are_read_as_they_were_saved(tmp_path: Path) -> None:
    state = {key: tensor.half() for key, tensor in nn.Linear(2, 3).state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        found = read(tmp_path / name)
        assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)
