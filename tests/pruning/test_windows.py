"""Windows end with their epoch, so that masks are final in that of the freeze; a loss scale changes nothing."""

from typing import Any

import pytest
import torch
from small_helpers import ACROSS, Small, X, Y, iterate, start
from torch import Tensor
from torch.nn import functional as F

from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

KINDS: list[dict[str, Any]] = [
    {"protection": {"when": "before", "rest": "hold"}},
    {"protection": {"when": "after", "signal": "gate_gradient"}},
    {"criterion": "taylor", "protection": {"when": "after"}},
    {"criterion": "taylor", "reconstruction": "soft"},
]


@pytest.mark.parametrize("freeze", [0.4, 1.0])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("parameters", KINDS, ids=str)
def test_the_freeze_lies_in_its_epoch_whatever_the_window(
    parameters: dict[str, Any], iterations: int, freeze: float
) -> None:
    model = Small()
    schedule = {"kind": "cubic", "freeze": freeze}
    pruner, optimizer = start(model, epochs=5, window=50, schedule=schedule, **parameters)
    for epoch in range(5):
        pruner.step(epoch)
        for _ in range(iterations):
            iterate(model, optimizer, pruner)
        assert pruner.frozen == (epoch >= pruner.last_epoch), epoch
    small = pruner.compact()
    assert pruner.reduction() >= 0.5 and pruner.max_output_difference <= 1e-9 and small is not model


@pytest.mark.parametrize("steps", [None, 4])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a_freeze_in_the_first_epoch(epochs: int, steps: int | None) -> None:
    """Known or not, the last step comes in the training: with its length known, in the last iteration of the epoch."""
    model = Small()
    method = Method(criterion="taylor", schedule={"kind": "one_shot", "freeze": 0.0}, window=50)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    pruner = Pruner(model, X, 0.5, epochs, optimizer, method, steps_per_epoch=steps)
    frozen = []
    for epoch in range(epochs):
        pruner.step(epoch)
        for _ in range(4):
            frozen.append(pruner.frozen)
            iterate(model, optimizer, pruner)
    first = 4 if steps or epochs > 1 else 1
    assert frozen == [False] * first + [True] * (4 * epochs - first) and pruner.frozen
    pruner.compact()


@pytest.mark.parametrize("iterations", [2, 5])
@pytest.mark.parametrize("steps_known", [True, False])
def test_a_window_before_a_step_leaves_the_pulse_its_iteration(iterations: int, steps_known: bool) -> None:
    model = Small()
    method = Method.model_validate(ACROSS | {"window": 50, "protection": ACROSS["protection"] | {"pulse": 0.2}})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    pruner = Pruner(model, X, 0.5, 5, optimizer, method, steps_per_epoch=iterations if steps_known else None)
    for epoch in range(5):
        pruner.step(epoch)
        for _ in range(iterations):
            iterate(model, optimizer, pruner)
        if epoch < pruner.last_epoch and (steps_known or epoch):
            assert pruner.restored > 0
    assert pruner.frozen


def scaled(
    protection: dict[str, Any], scaler: torch.amp.GradScaler | None
) -> tuple[list[Any], list[Tensor], set[float]]:
    """History, weights, and scales of a training whose loss is scaled, by powers of two, without half precision."""
    model = Small()
    scales: set[float] = set()
    signals: list[Tensor] = []
    pruner, optimizer = start(model, epochs=3, window=3, protection=protection)
    for epoch in range(3):
        pruner.step(epoch)
        for _ in range(4):
            loss = F.cross_entropy(model(X), Y)
            if scaler is None:
                loss.backward()
                pruner.after_backward()
                optimizer.step()
            else:
                scales.add(scaler.get_scale())
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                pruner.after_backward(scaler.get_scale())
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
            pruner.after_step()
            window = pruner.state_dict()["window"] or {"signals": []}
            signals.extend(signal.clone() for signal in window["signals"])
    return pruner.history.rows, [*signals, *model.parameters()], scales


@pytest.mark.parametrize(
    "protection",
    [
        {"when": "before"},
        {"when": "after", "signal": "weight_gradient", "quantile": 0.5, "share": 0.5},
        {"when": "after", "signal": "gate_gradient", "quantile": 0.5, "share": 0.5},
    ],
    ids=str,
)
def test_a_loss_scale_that_changes_within_a_window_changes_nothing(protection: dict[str, Any]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4, growth_interval=1)
    rows, tensors, scales = scaled(protection, scaler)
    expected, plain, _ = scaled(protection, None)
    assert len(scales) > 4 and rows == expected
    assert all(torch.equal(a, b) for a, b in zip(tensors, plain, strict=True))
    assert any(row["restored"] for row in rows) == (protection["when"] == "after")
