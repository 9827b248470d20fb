"""Files of weights: tensors alone are read, and all else is refused in our own words."""

import os
import pickle
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from psap.errors import PsapError
from psap.models.state_dicts import fill, read


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


NETWORK = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
STATE = NETWORK.state_dict()
CHECKPOINTS: dict[str, object] = {
    "plain": STATE,
    "model": {"model": STATE, "epoch": 3, "args": Namespace(lr=0.1, name="x")},
    "state_dict": {"state_dict": STATE, "optimizer": {"state": {}, "param_groups": []}, "best": 0.5},
    "ddp": {f"module.{key}": tensor for key, tensor in STATE.items()},
    "state_dict of ddp": {"state_dict": {f"module.{key}": tensor for key, tensor in STATE.items()}},
    "compiled": {f"_orig_mod.{key}": tensor for key, tensor in STATE.items()},
    "compiled ddp": {"model": {f"module._orig_mod.{key}": tensor for key, tensor in STATE.items()}},
    "nested": {"model": {"state_dict": STATE}},
    "psap": {"train_state": {"model": STATE}, "progress": {}},
    "module with a loss": {
        "state_dict": {f"net.{key}": t for key, t in STATE.items()} | {"loss.weight": torch.ones(3)}
    },
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_weights_as_people_have_them(kind: str, tmp_path: Path) -> None:
    torch.save(CHECKPOINTS[kind], tmp_path / "w.ckpt")
    other = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3))
    fill(other, read(tmp_path / "w.ckpt"), "net", "w.ckpt")
    assert all(torch.equal(tensor, STATE[key]) for key, tensor in other.state_dict().items())


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters({"lr": 0.1})
            self.model, self.loss = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3)), nn.CrossEntropyLoss(torch.ones(3))

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            loss: torch.Tensor = self.loss(self.model(batch[0]), batch[1])
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=0.1)

    module = Module()
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = Trainer(max_epochs=1, default_root_dir=tmp_path, accelerator="cpu", enable_checkpointing=False, **quiet)
    data = torch.utils.data.TensorDataset(torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))
    trainer.fit(module, torch.utils.data.DataLoader(data, 2))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    fill(other := nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 3)), read(tmp_path / "last.ckpt"), "net", "last.ckpt")
    assert all(map(torch.equal, other.state_dict().values(), module.model.state_dict().values()))


def test_of_two_networks_none_is_guessed(tmp_path: Path) -> None:
    both = {f"{name}.{key}": tensor for name in ("student", "teacher") for key, tensor in STATE.items()}
    torch.save({"state_dict": both}, tmp_path / "w.ckpt")
    with pytest.raises(PsapError, match=r"w.ckpt: holds 2 such networks \(student., teacher.\); save the state_dict"):
        fill(NETWORK, read(tmp_path / "w.ckpt"), "net", "w.ckpt")


def test_a_prefix_hides_no_misfit(tmp_path: Path) -> None:
    strange = {f"module.{key}": tensor for key, tensor in STATE.items()} | {"module.2.weight": torch.ones(2)}
    with pytest.raises(PsapError, match=r"not the weights of net \(2.weight is not in this network\)"):
        fill(NETWORK, strange, "net", "w.ckpt")
