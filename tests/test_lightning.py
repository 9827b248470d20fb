"""Lightning with the callback is the plain loop with the Pruner, bit for bit; a resumed fit is an uninterrupted one."""

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from fixture_types import Randomise
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional as F

from psap import Method, Pruner
from psap.errors import PsapError
from psap.lightning import PruningCallback
from psap.utils.mappings import JsonObject

EPOCHS, BATCHES = 5, 7
X = torch.randn(BATCHES, 6, 3, 10, 10, generator=torch.Generator().manual_seed(5))
Y = torch.arange(BATCHES * 6).reshape(BATCHES, 6) % 4
BEFORE = Method.model_validate({"schedule": {"freeze": 0.6}, "window": 3})
AFTER = Method.model_validate(
    {
        "allocation": "uniform",
        "schedule": {"kind": "constant", "freeze": 0.6},
        "protection": {"when": "after", "signal": "gate_gradient", "rest": "free", "quantile": 0.5, "share": 0.5},
        "window": 2,
    }
)


class Net(nn.Module):
    """Two convolutions with batch-norm, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm1 = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12)
        self.conv2, self.norm2 = nn.Conv2d(12, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        out: Tensor = self.head(self.norm2(self.conv2(x)).relu().mean((2, 3)))
        return out


def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)


class Module(LightningModule):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self)


class Loader:
    """The batches in their order; it can go on in the middle."""

    def __init__(self) -> None:
        self.position = 0

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(self.position, BATCHES):
            self.position = (i + 1) % BATCHES
            yield X[i], Y[i]

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


def scaler() -> torch.amp.GradScaler:
    """One whose scale overflows at first, and grows again on the way."""
    return torch.amp.GradScaler("cpu", init_scale=2.0**24, growth_interval=3)


def fit(
    net: nn.Module, method: Method, checkpoint: Path | None = None, callbacks: Sequence[Callback] = (), **settings: Any
) -> PruningCallback:
    callback = PruningCallback(X[0], target=0.5, method=method, network="net")
    quiet: JsonObject = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    saving: JsonObject = {"enable_checkpointing": any(isinstance(other, ModelCheckpoint) for other in callbacks)}
    trainer = Trainer(
        accelerator="cpu", max_epochs=EPOCHS, callbacks=[callback, *callbacks], **quiet, **saving, **settings
    )
    trainer.fit(Module(net), Loader(), ckpt_path=checkpoint)
    return callback


def plain(net: nn.Module, method: Method, every: int, clip: float, half: bool) -> Pruner:
    """The loop of the README, with all that a Trainer can add to it."""
    optimizer, scale, left_out = optimizer_of(net), scaler() if half else None, 0
    pruner = Pruner(net, X[0], 0.5, EPOCHS, optimizer, method, steps_per_epoch=-(-BATCHES // every))
    for epoch in range(EPOCHS):
        pruner.step(epoch)
        for i, (x, y) in enumerate(zip(X, Y, strict=True)):
            with torch.autocast("cpu", torch.half, enabled=half, cache_enabled=False):
                loss = F.cross_entropy(net(x), y) / every
            (scale.scale(loss) if scale else loss).backward()
            if (i + 1) % every and i + 1 < BATCHES:
                continue
            if scale:
                scale.unscale_(optimizer)
                finite = all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
                pruner.after_backward(scale.get_scale(), finite)
                left_out += not finite
            else:
                pruner.after_backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            if scale:
                scale.step(optimizer)
                scale.update()
            else:
                optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
    assert (left_out > 0) == half, "the loss scale overflows on the way"
    return pruner


def everything(net: nn.Module, pruner: Pruner | PruningCallback) -> dict[str, Tensor]:
    return {**net.state_dict(), **{f"small.{name}": value for name, value in pruner.compact().state_dict().items()}}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("method", [BEFORE, AFTER], ids=["before", "after"])
@pytest.mark.parametrize(("every", "clip", "half"), [(1, 0.0, False), (3, 0.2, False), (2, 0.2, True)])
def test_lightning_is_the_plain_loop(method: Method, every: int, clip: float, half: bool, randomise: Randomise) -> None:
    one, two = randomise(Net()), randomise(Net())
    settings: dict[str, Any] = {"accumulate_grad_batches": every, "gradient_clip_val": clip or None}
    if half:
        settings["plugins"] = [MixedPrecision("16-mixed", "cpu", scaler())]
    callback = fit(one, method, **settings)
    pruner = plain(two, method, every, clip, half)
    assert callback.pruner.history.rows == pruner.history.rows
    assert same(everything(one, callback), everything(two, pruner))
    assert callback.pruner.reduction() == pruner.reduction() >= 0.5


@pytest.mark.parametrize("method", [BEFORE, AFTER], ids=["before", "after"])
def test_a_resumed_fit_is_an_uninterrupted_one(method: Method, tmp_path: Path, randomise: Randomise) -> None:
    """From checkpoints between any two steps, windows open, and from the one at the end, when nothing is left."""
    net = randomise(Net())
    keep = ModelCheckpoint(dirpath=tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    expected = fit(net, method, callbacks=[keep])
    whole, rows = everything(net, expected), expected.pruner.history.rows
    assert any(row["restored"] for row in rows) or method is BEFORE
    for step in (1, 9, 15, 21, 30, EPOCHS * BATCHES):
        again = randomise(Net(), 1)
        found = fit(again, method, tmp_path / f"step={step}.ckpt")
        assert found.pruner.history.rows == rows and same(everything(again, found), whole), step


def test_what_cannot_be_pruned_is_one_line_before_any_training(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = PruningCallback(X[0], target=0.5, network="net")
    with pytest.raises(PsapError, match="nothing is pruned yet: the pruner is made when trainer"):
        callback.compact()
    trainer = Trainer(accelerator="cpu", max_epochs=-1, callbacks=[callback], logger=False, enable_checkpointing=False)
    with pytest.raises(PsapError, match="give Trainer a max_epochs"):
        trainer.fit(Module(Net()), Loader())
    by_hand = Module(Net())
    by_hand.automatic_optimization = False
    with pytest.raises(PsapError, match="Module optimises by hand"):
        trainer.fit(by_hand, Loader())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target": 0}, "target is 0; give the share to remove"),
        ({"method": "psap"}, "method is a str; give a psap.Method"),
        ({"measure": "flops"}, "measure is 'flops'"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line_when_the_callback_is_made(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(PsapError, match=said):
        PruningCallback(**{"example_inputs": X[0], "target": 0.5, **settings})


def trainer_of(*callbacks: Callback, **settings: Any) -> Trainer:
    return Trainer(accelerator="cpu", callbacks=list(callbacks), logger=False, enable_checkpointing=False, **settings)


def giving(value: object) -> Callable[[], object]:
    return lambda: value


def test_a_training_that_leaves_no_room_for_pruning_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PsapError, match="Module has no network 'nett'; did you mean 'net'"):
        trainer_of(PruningCallback(X[0], 0.5, network="nett"), max_epochs=2).fit(Module(Net()), Loader())
    module = Module(Net())
    for nothing, said in (
        (None, "optimizer trains none of the parameters of this Net"),
        ([], "Module has no optimiser"),
    ):
        monkeypatch.setattr(module, "configure_optimizers", giving(nothing))
        with pytest.raises(PsapError, match=said):
            trainer_of(PruningCallback(X[0], 0.5, network="net"), max_epochs=2).fit(module, Loader())
    short = trainer_of(PruningCallback(X[0], 0.5, network="net", method=BEFORE), max_epochs=5, max_steps=21)
    with pytest.raises(
        PsapError, match=r"max_steps=21\) ends the training before its last pruning step, in epoch 3 of 7"
    ):
        short.fit(Module(Net()), Loader())


@pytest.mark.parametrize(("epochs", "every"), [(1, 1), (1, 3), (3, 1)])
def test_a_window_longer_than_an_epoch_ends_with_it(epochs: int, every: int, randomise: Randomise) -> None:
    """The first epoch too, since Lightning knows its length: the last step comes in its last iteration."""
    method = Method.model_validate({"schedule": {"kind": "one_shot", "freeze": 0}, "window": 50, "criterion": "taylor"})
    callback = PruningCallback(X[0], 0.5, method, network="net")
    seen: list[bool] = []

    class Watch(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            seen.append(callback.pruner.frozen)

    trainer = trainer_of(callback, Watch(), max_epochs=epochs, accumulate_grad_batches=every)
    trainer.fit(Module(randomise(Net())), Loader())
    assert seen == [False] * BATCHES + [True] * (epochs - 1) * BATCHES and callback.pruner.frozen
    assert callback.pruner.reduction() >= 0.5 and callback.compact()


def test_the_module_itself_can_be_the_network(randomise: Randomise) -> None:
    class Whole(Module):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.net(x)
            return out

    callback = PruningCallback(X[0], target=0.5, method=BEFORE)
    module = Whole(randomise(Net()))
    trainer = Trainer(
        accelerator="cpu", max_epochs=EPOCHS, callbacks=[callback], logger=False, enable_checkpointing=False
    )
    trainer.fit(module, Loader())
    small = callback.compact().eval()
    module.eval()
    with torch.no_grad():
        assert isinstance(small, Whole) and torch.allclose(small(X[0]), module(X[0]), atol=1e-5)


def test_without_lightning_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "psap.lightning")
    monkeypatch.setitem(sys.modules, "lightning.fabric.utilities", None)
    with pytest.raises(PsapError, match=r"needs the package lightning: pip install lightning$"):
        import_module("psap.lightning")
