"""What a pruner keeps: resume between any two iterations, windows, history, and no compaction too early."""

from pathlib import Path

import pytest
import torch
from small_helpers import ACROSS, Small, iterate, start
from torch import Tensor

from psap.errors import PsapError
from psap.utils.mappings import JsonObject


@pytest.mark.parametrize("signal", ["weight_gradient", "gate_gradient"])
def test_windows_longer_than_an_epoch_end_with_it(signal: str) -> None:
    """Gathering for the choice takes the whole epoch, so that the window after it sees nothing and restores nothing."""
    model = Small()
    pruner, optimizer = start(model, epochs=6, criterion="taylor", protection={"signal": signal}, window=50)
    for epoch in range(6):
        pruner.step(epoch)
        for _ in range(2):
            iterate(model, optimizer, pruner)
    assert pruner.compact() is not model and pruner.max_output_difference < 1e-9
    assert not model.conv2._forward_pre_hooks, "no gate is left behind"


def test_compact_before_the_freeze_is_refused() -> None:
    pruner, _ = start(Small())
    with pytest.raises(PsapError, match="the last pruning step belongs to epoch 8"):
        pruner.compact()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"reconstruction": "soft", "momentum": "keep"},
        {"reconstruction": "hard", "criterion": "fpgm"},
        {"criterion": "taylor", "allocation": "global", "window": 3},
        {"protection": {"signal": "gate_gradient"}, "window": 5},
        {"protection": {"when": "before"}, "window": 3},
        {"protection": {"rest": "hold"}, "window": 3},
        {"protection": {"rest": "hold", "when": "before"}, "window": 2},
        {"protection": {"rest": "hold", "signal": "gate_gradient"}, "window": 2},
        {"protection": {"rest": "fix", "scope": "network"}, "window": 2},
        {"protection": {"rest": "fix", "signal": "gate_gradient"}, "window": 2},
        {"protection": {"rest": "fix", "when": "before", "signal": "gate_gradient", "scope": "network"}, "window": 3},
        {"protection": {"rest": "fix", "when": "before", "scope": "network", "pulse": 0.3}, "window": 3},
        {"protection": {"rest": "hold", "when": "before", "signal": "gate_gradient", "pulse": 0.3}, "window": 2},
        {"allocation": "sparsity", "sparsity": {"weights": "folded", "scale": "model"}},
        ACROSS,
        {"criterion": "random", "allocation": "sparsity", "sparsity": {"scale": "group"}},
        {"allocation": "sparsity", "sparsity": {"live_only": False}},
    ],
    ids=str,
)
def test_resumed_at_any_iteration_equals_uninterrupted(parameters: JsonObject, tmp_path: Path) -> None:
    """State saved between any two iterations, windows half open included, and read back without pickles."""

    def run(stop: int | None) -> tuple[dict[str, Tensor], list[JsonObject]]:
        model = Small()
        pruner, optimizer = start(model, epochs=5, **parameters)
        for iteration in range(5 * 4):
            if iteration == stop:
                states = model.state_dict(), optimizer.state_dict(), pruner.state_dict()
                torch.save(states, tmp_path / "state.pt")
                model = Small(beta=0.1)
                pruner, optimizer = start(model, epochs=5, **parameters)
                loaded = torch.load(tmp_path / "state.pt", weights_only=True)
                model.load_state_dict(loaded[0])
                optimizer.load_state_dict(loaded[1])
                pruner.load_state_dict(loaded[2])
            if iteration % 4 == 0:
                pruner.step(iteration // 4)
            iterate(model, optimizer, pruner)
        small = pruner.compact()
        return {**model.state_dict(), **{f"small.{k}": v for k, v in small.state_dict().items()}}, pruner.history.rows

    expected, history = run(None)
    for stop in (1, 6, 11, 17):
        found, rows = run(stop)
        assert rows == history
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_history_tells_what_happened() -> None:
    model = Small()
    pruner, optimizer = start(model, epochs=5, allocation="sparsity", protection={"quantile": 0.5, "share": 0.5})
    for epoch in range(5):
        pruner.step(epoch)
        for _ in range(2):
            iterate(model, optimizer, pruner)
    rows = pruner.history.rows
    assert [row["step"] for row in rows] == [s for s in range(5) for _ in pruner.groups]
    first, last = rows[0], rows[-1]
    assert first["churn"] is None and last["churn"] is not None
    assert first["pulse"] > 5, "the first batch-norm has a positive shift"
    assert 0 < first["sparsity"] < 1 and first["ratio"] == first["pruned"] / first["channels"]
    assert last["target"] == 0.5 and last["restored"] == 0
    assert sum(row["restored"] for row in rows) > 0
