"""Networks of one's own class: written only if they can be laid into a fresh one, which then is the same."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch
from fixture_types import Psap
from torch import Tensor, nn

import psap
from psap import Method, Pruner
from psap.errors import PsapError

X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
AT_ONCE = Method(allocation="uniform", reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


class Mine(nn.Module):
    act: str
    parts: int

    def __init__(self, width: int = 16, act: str = "relu") -> None:
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.b, self.norm = nn.Conv2d(width, 8, 1), nn.GroupNorm(2, 8)
        self.head, self.act, self.parts = nn.Linear(8, 5), act, 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.bn(self.a(x)).relu()).relu()
        out: Tensor = self.head(self.norm(self.b(x)).mean((2, 3)))
        return out


class Sized(Mine):
    def __init__(self, width: int) -> None:
        super().__init__(width)


Network = TypeVar("Network", bound=nn.Module)


def pruned(model: Network) -> Network:
    pruner = Pruner(model, X, 0.4, 1, method=AT_ONCE)
    pruner.step(0)
    small = pruner.compact().eval()
    assert isinstance(small, type(model))
    return small


@pytest.mark.parametrize(("make", "given"), [(Mine, False), (lambda: Mine(24), True), (lambda: Sized(12), True)])
def test_what_is_saved_comes_back_into_a_fresh_one(make: Callable[[], Mine], given: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = pruned(make())
    psap.save(small, tmp_path / "net", *([make()] if given else []))
    into = make()
    again = psap.load(tmp_path / "net", into=into)
    assert again is into and into.a.out_channels == again.bn.num_features == small.a.out_channels
    with torch.no_grad():
        assert torch.equal(again.eval()(X), small(X))
    again.train()(X).sum().backward()
    assert {file.name for file in (tmp_path / "net").iterdir()} == {"architecture.json", "model.safetensors"}


def test_numbers_that_shapes_do_not_tell_come_back(tmp_path: Path) -> None:
    small = pruned(Mine())
    small.parts, small.b.stride, small.norm.eps = 3, (2, 2), 1e-3
    psap.save(small, tmp_path)
    again = psap.load(tmp_path, into=Mine())
    assert isinstance(again, Mine)
    assert (again.parts, again.b.stride, again.norm.eps, again.norm.num_groups) == (3, (2, 2), 1e-3, 2)
    with torch.no_grad():
        assert torch.equal(again.eval()(X), small(X))


def other_layer(model: nn.Module) -> None:
    model.norm = nn.BatchNorm2d(8)


def one_more(model: nn.Module) -> None:
    model.more = nn.Linear(2, 2)


def other_word(model: Mine) -> None:
    model.act = "gelu"


def in_halves(model: nn.Module) -> None:
    model.half()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_layer, "Mine is made with other layers; give one as it is before pruning: psap.save"),
        (one_more, "Mine is made with other layers"),
        (other_word, "not written, for it could not be loaded: act is 'gelu', and would come back as 'relu'"),
        (in_halves, "is torch.float16, and would come back as torch.float32"),
    ],
)
def test_what_cannot_be_loaded_is_not_written(change: Callable[[Mine], None], says: str, tmp_path: Path) -> None:
    small = pruned(Mine())
    change(small)
    with pytest.raises(PsapError, match=says) as caught:
        psap.save(small, tmp_path / "net")
    assert "\n" not in str(caught.value) and not (tmp_path / "net").exists()


def test_a_class_that_needs_arguments_needs_one_given(tmp_path: Path) -> None:
    small = pruned(Sized(12))
    with pytest.raises(PsapError, match=r"Sized cannot be made without arguments .*psap.save\(model, folder, into="):
        psap.save(small, tmp_path / "net")
    psap.save(small, tmp_path / "net", into=Sized(12))
    for wrong, says in (
        (None, r"of your own class Sized; psap.load\(folder, into=Sized"),
        (nn.Linear(2, 2), "missing|no"),
    ):
        with pytest.raises(PsapError, match=says):
            psap.load(tmp_path / "net", into=wrong)


def test_other_commands_say_what_such_a_folder_is(tmp_path: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch) -> None:
    from psap import save

    monkeypatch.chdir(tmp_path)
    save(pruned(Mine()), "net")
    for command in (("inspect", "net"), ("export", "net")):
        code, _, err = psap(*command)
        assert code == 2 and "of your own class Mine" in err and err.count("\n") == 1
