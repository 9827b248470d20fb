"""Training on in the compacted network is training the masked one, and the other arithmetics train the same network."""

import shutil
from functools import partial

import pytest
import torch
from batches_helpers import batches
from torch import nn

from psap.data.batches import Batches
from psap.data.dataset import Split
from psap.data.sharding import Shard
from psap.models import build
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.suites.provenance import arithmetic, provenance
from psap.training.loop import run_epoch
from psap.training.schema import Recipe, TrainConfig
from psap.training.train_state import TrainState
from psap.utils.bounds import Precision

CPU = torch.device("cpu")
EPOCHS = 5
RECIPE = Recipe(epochs=EPOCHS, lr=0.05)
TRAINING = TrainConfig(weight_decay=1e-3, label_smoothing=0.1, recipe=RECIPE)


def changed(**training: object) -> TrainConfig:
    return TRAINING.model_copy(update=training)


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    """A network past its first steps: batch-norm statistics, scales and shifts are not those of a fresh one."""
    torch.manual_seed(0)
    model = build("resnet8", 10).to(dtype)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            assert module.running_mean is not None and module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def train_state(dtype: torch.dtype = torch.float32, method: Method | None = None, **training: object) -> TrainState:
    method = method or Method(schedule={"freeze": 0.4})
    images = torch.zeros(1, 3, 8, 8, dtype=dtype)
    pruning = partial(Pruner, example_inputs=images, target=0.6, epochs=EPOCHS, method=method)
    return TrainState(network(dtype), changed(**training), pruning)


def trained(subject: TrainState, data: Batches, training: TrainConfig = TRAINING) -> list[float]:
    losses = []
    for epoch in range(EPOCHS):
        subject.begin_epoch(epoch)
        losses.append(run_epoch(subject, data, training, epoch)[0])
    return losses


@pytest.mark.parametrize(
    "method",
    [
        Method(schedule={"freeze": 0.4}),
        Method(criterion="fpgm", allocation="uniform", reconstruction="hard", schedule={"kind": "constant"}),
        Method(criterion="taylor", allocation="global", reconstruction="hard", window=2),
    ],
    ids=["psap", "fpgm", "taylor"],
)
def test_the_compacted_network_trains_as_the_masked_one_would(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    data = batches(torch.float64)
    small = train_state(torch.float64, method)
    losses = trained(small, data)
    assert small.compacted
    assert sum(p.numel() for p in small.model.parameters()) < 0.7 * sum(p.numel() for p in network().parameters())

    monkeypatch.setattr(TrainState, "_compact", lambda self: None)
    masked = train_state(torch.float64, method)
    assert trained(masked, data) == pytest.approx(losses, rel=1e-9)
    assert not masked.compacted
    x = torch.randn(8, 3, 8, 8, dtype=torch.float64)
    for a, b in ((small.network(), masked.network()), (small.network(), masked.model)):
        torch.testing.assert_close(a.eval()(x), b.eval()(x), rtol=1e-8, atol=1e-10)


def test_bfloat16_computes_in_it_and_keeps_float32_weights() -> None:
    data = batches()
    exact, half = train_state(), train_state()
    losses = trained(exact, data)
    rounded = trained(half, data, changed(precision="bfloat16"))
    assert rounded != losses and rounded == pytest.approx(losses, rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())


def test_auto_is_bfloat16_where_the_device_multiplies_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batches()
    known: list[tuple[dict[str, bool], Precision]] = [({"avx512_bf16": True}, "bfloat16"), ({}, "float32")]
    for capability, same_as in known:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda capability=capability: capability)
        auto, named = (trained(train_state(), data, changed(precision=name)) for name in ("auto", same_as))
        assert auto == named and provenance(torch.device("cpu"), "auto")["precision"] == same_as
        assert arithmetic(torch.device("cpu"), "auto") == arithmetic(torch.device("cpu"), same_as)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a processor")
def test_a_compiled_network_takes_the_same_path() -> None:
    data, losses = batches(), []
    for compiled in (False, True):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten()]
        model = nn.Sequential(*layers, nn.Linear(16 * 16, 10))
        pruning = partial(Pruner, example_inputs=torch.zeros(1, 3, 8, 8), target=0.6, epochs=EPOCHS)
        subject = TrainState(model, changed(compile=compiled), pruning)
        losses.append(trained(subject, data))
        assert subject.compacted and (subject.forward is subject.model) is not compiled
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def plain(training: TrainConfig = TRAINING) -> TrainState:
    """A network without batch-norm, whose batches can be taken in parts."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 10)]
    return TrainState(nn.Sequential(*layers).double(), training)


def in_parts(micro_batch: int | None) -> Batches:
    numbers = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (96, 8, 8, 3), generator=numbers, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (96,), generator=numbers))
    shard = Shard(micro_batch=micro_batch)
    return Batches(split, 48, (0.5,) * 3, (0.25,) * 3, train=True, flip=True, pad=1, dtype=torch.float64, shard=shard)


def test_a_batch_taken_in_parts_is_the_same_batch() -> None:
    whole, parts = plain(), plain()
    losses = trained(whole, in_parts(None)), trained(parts, in_parts(12))
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_norm_of_a_gradient_is_bounded() -> None:
    constant = RECIPE.model_copy(update={"lr": 1.0, "schedule": "step"})
    still = changed(momentum=0.0, weight_decay=0.0, recipe=constant)
    for clip, moved in ((None, pytest.approx(0.5, abs=0.4)), (1e-3, pytest.approx(1e-3, rel=1e-5))):
        training = still.model_copy(update={"clip_norm": clip})
        subject, data = plain(still), in_parts(None)
        before = [p.detach().clone() for p in subject.model.parameters()]
        data._slices = data._slices[:1]  # a single step
        run_epoch(subject, data, training, 0)
        changes = [a - b.detach() for a, b in zip(before, subject.model.parameters(), strict=True)]
        assert float(torch.stack([change.norm() for change in changes]).norm()) == moved


def set_scale(of: TrainState, scale: float) -> None:
    of.scaler._lazy_init_scale_growth_tracker(torch.device("cpu"))
    assert of.scaler._scale is not None
    of.scaler._scale.fill_(scale)


@pytest.mark.parametrize(
    "method",
    [
        Method(schedule={"freeze": 0.4}, window=2, protection={"pulse": 0.0}),
        Method(schedule={"freeze": 0.4}, window=2, protection={"when": "after", "signal": "gate_gradient"}),
    ],
    ids=["weights", "gates"],
)
def test_float16_leaves_out_steps_that_overflow_and_signals_with_them(method: Method) -> None:
    data = batches()
    exact, half = train_state(method=method), train_state(method=method, precision="float16")
    training = changed(precision="float16")
    set_scale(half, 2.0**127)
    half.begin_epoch(0)
    before = [p.detach().clone() for p in half.model.parameters()]
    run_epoch(half, data, training, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, half.model.parameters(), strict=True))
    assert half.pruner and half.pruner._cycle.window
    assert half.scaler.get_scale() == 2.0**124 and half.pruner._cycle.window.seen == 0

    half = train_state(method=method, precision="float16")
    set_scale(half, 2.0**10)
    losses = trained(exact, data)
    assert trained(half, data, training) == pytest.approx(losses, rel=0.2)
    assert all(bool(p.isfinite().all()) for p in half.model.parameters())
    assert half.compacted
    pruners = [each.pruner for each in (exact, half) if each.pruner]
    restored = [sum(row["restored"] for row in pruner.history.rows) for pruner in pruners]
    assert (restored[0] > 0) is (restored[1] > 0) is (method.protection.when == "after")

    again = train_state(method=method, precision="float16")
    again.load_state_dict(half.state_dict())
    assert again.scaler.get_scale() == half.scaler.get_scale()
