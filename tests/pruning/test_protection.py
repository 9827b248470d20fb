"""Protective reconstruction: what the gradients see, what comes back, and what must not move."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from psap.errors import PsapError
from psap.models import build
from psap.pruning.discover import find_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.pruning.reconstruction import order, protect
from psap.pruning.signals import Gates, weight_gradient

X = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(5))
Y = torch.arange(16) % 5
CONSTANT = {"kind": "constant", "start": 0.0, "freeze": 0.8, "interval": 1}


class Small(nn.Module):
    """Convolution, batch-norm, ReLU, twice, and a classifier; `beta` is the shift of the first batch-norm."""

    def __init__(self, beta: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm1 = nn.Conv2d(3, 10, 3, bias=False), nn.BatchNorm2d(10)
        self.conv2, self.norm2 = nn.Conv2d(10, 8, 3), nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        nn.init.constant_(self.norm1.bias, beta)
        nn.init.uniform_(self.norm1.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(self.conv1(x)).relu()
        return self.head(self.norm2(self.conv2(x)).relu().mean((2, 3)))


def iterate(model: nn.Module, optimizer: torch.optim.Optimizer, pruner: Pruner) -> None:
    F.cross_entropy(model(X), Y).backward()
    pruner.after_backward()
    optimizer.step()
    optimizer.zero_grad()
    pruner.after_step()


def start(
    model: nn.Module, epochs: int = 10, target: float = 0.5, **parameters
) -> tuple[Pruner, torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    method = Method.model_validate({"schedule": CONSTANT, "allocation": "uniform", **parameters})
    return Pruner(model, X, target, epochs, optimizer, method), optimizer


@pytest.mark.parametrize("beta", [0.5, -5.0, 0.0])
def test_both_extremes_of_a_zeroed_filter(beta: float) -> None:
    """Behind batch-norm a zeroed filter's gradient is magnified by scale / sqrt(eps) where the shift is positive, and
    exactly zero where it is not: a filter that weights alone can never bring back."""
    model = Small(beta)
    group = find_groups(model, X)[0]
    with torch.no_grad():
        model.conv1.weight[:3] = 0
    F.cross_entropy(model(X), Y).backward()
    signal = weight_gradient(group)
    if beta > 0:
        assert signal[:3].min() > 20 * signal[3:].max(), "the pulse"
    else:
        assert not signal[:3].any(), "the silence"
        assert signal[3:].all() or beta < -1, "the kept ones do learn unless the shift silences them too"


@pytest.mark.parametrize("beta", [0.5, -0.5])
def test_gates_see_where_weights_are_blind(beta: float) -> None:
    """The gate's gradient equals the derivative of the loss by a factor on the channel's activation, at factor 0."""
    model = Small(beta).double().eval()
    x = X.double()
    group = find_groups(model, x)[0]
    mask = torch.zeros(10, dtype=torch.bool)
    mask[[1, 4]] = True
    gates = Gates()
    gates.close([group], [mask])
    loss = F.cross_entropy(model(x), Y)
    loss.backward()
    read = gates.read()[0]
    gates.remove()

    def loss_at(channel: int, factor: float) -> float:
        factors = (~mask).double()
        factors[channel] = factor
        hook = model.conv2.register_forward_pre_hook(lambda _, inputs: (inputs[0] * factors[:, None, None],))
        with torch.no_grad():
            value = F.cross_entropy(model(x), Y).item()
        hook.remove()
        return value

    assert loss_at(0, 1.0) == pytest.approx(loss.item(), rel=1e-12), "a closed gate is a zeroed channel"
    for channel in (1, 4):
        slope = (loss_at(channel, 1e-5) - loss_at(channel, -1e-5)) / 2e-5
        assert read[channel].item() == pytest.approx(abs(slope), rel=1e-4)
    assert read[mask].all()
    assert not model.conv2._forward_pre_hooks


@pytest.mark.parametrize("signal", ["weight_gradient", "gate_gradient"])
def test_restored_bit_for_bit_and_not_without_protection(signal: str) -> None:
    protection = {"signal": signal, "quantile": 0.5, "share": 0.5, "immunity": 2}
    model = Small()
    pruner, optimizer = start(model, protection=protection)
    iterate(model, optimizer, pruner)  # some momentum, and batch-norm statistics
    before = copy.deepcopy(model.state_dict())
    pruner.step(0)
    chosen = pruner.pruned
    iterate(model, optimizer, pruner)
    back = [was & ~now for was, now in zip(chosen, pruner.pruned, strict=True)]
    assert pruner.restored == sum(int(mask.sum()) for mask in back) > 0
    names = (
        ("conv1.weight", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"),
        ("conv2.weight",),
    )
    for group_names, mask in zip(names, back, strict=True):
        for name in group_names:
            assert torch.equal(model.state_dict()[name][mask], before[name][mask]), name
    momentum = optimizer.state[model.conv1.weight]["momentum_buffer"]
    assert not momentum[back[0]].any(), "a restored channel starts without momentum"

    soft = Small()
    pruner, optimizer = start(soft, reconstruction="soft")
    iterate(soft, optimizer, pruner)
    before = copy.deepcopy(soft.state_dict())
    pruner.step(0)
    iterate(soft, optimizer, pruner)
    assert pruner.restored == 0
    for name, mask in zip(("conv1.weight", "conv2.weight"), pruner.pruned, strict=True):
        now = soft.state_dict()[name][mask]
        assert not torch.isclose(now, before[name][mask], rtol=0.2).all(dim=1).any(), "nothing comes back by itself"


def test_soft_filters_regrow_and_hard_ones_do_not() -> None:
    for reconstruction, regrows in (("soft", True), ("hard", False)):
        model = Small()
        pruner, optimizer = start(model, reconstruction=reconstruction)
        pruner.step(0)
        for _ in range(3):
            iterate(model, optimizer, pruner)
        assert bool(model.conv1.weight[pruner.pruned[0]].any()) is regrows


def test_immune_channels_are_chosen_last() -> None:
    model = Small()
    pruner, optimizer = start(model, target=0.4, protection={"quantile": 0.5, "share": 0.5, "immunity": 1})
    pruner.step(0)
    chosen = pruner.pruned
    iterate(model, optimizer, pruner)
    back = [was & ~now for was, now in zip(chosen, pruner.pruned, strict=True)]
    pruner.step(1)
    assert not any((mask & now).any() for mask, now in zip(back, pruner.pruned, strict=True))


def test_protection_before_the_choice_keeps_the_strongest_gradients() -> None:
    model = Small()
    pruner, optimizer = start(model, protection={"when": "before", "quantile": 0.7, "share": 0.3}, window=2)
    pruner.step(0)
    assert not any(mask.any() for mask in pruner.pruned), "gradients are gathered first"
    total = torch.zeros(10)
    for _ in range(2):
        F.cross_entropy(model(X), Y).backward()
        total += model.conv1.weight.grad.flatten(1).norm(dim=1)
        pruner.after_backward()
        optimizer.step()
        optimizer.zero_grad()
        pruner.after_step()
    assert pruner.pruned[0].any()
    assert not pruner.pruned[0][total.argsort(descending=True)[:3]].any()
    assert pruner.restored == 0


@pytest.mark.parametrize("momentum", ["clear", "keep"])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
def test_frozen_channels_stay_exactly_zero(make, momentum: str) -> None:
    model = build("resnet8", 5)
    kwargs = {"momentum": 0.9} if make is torch.optim.SGD else {}
    optimizer = make(model.parameters(), lr=0.05, weight_decay=1e-2, **kwargs)
    method = Method.model_validate({"momentum": momentum, "schedule": {"kind": "cubic", "freeze": 0.5}})
    pruner = Pruner(model, X, 0.5, 4, optimizer, method)
    for epoch in range(4):
        pruner.step(epoch)
        for _ in range(3):
            iterate(model, optimizer, pruner)
    assert pruner.frozen and pruner.reduction() >= 0.5
    for group, mask in zip(pruner.groups, pruner.pruned, strict=True):
        for slot in [*group.weights, *group.others]:
            if slot.attribute != "running_var":
                assert not slot.tensor[slot.member.positions(mask)].any(), slot.name
            for value in optimizer.state.get(slot.tensor, {}).values():
                if isinstance(value, Tensor) and value.shape == slot.tensor.shape:
                    assert not value[slot.member.positions(mask)].any(), "nor is anything remembered of them"
    small = pruner.compact()
    assert pruner.difference < 1e-5
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("signal", ["weight_gradient", "gate_gradient"])
def test_windows_longer_than_an_epoch_end_with_it(signal: str) -> None:
    """Gathering for the choice takes the whole epoch, so that the window after it sees nothing and restores nothing."""
    model = Small()
    pruner, optimizer = start(model, epochs=6, criterion="taylor", protection={"signal": signal}, window=50)
    for epoch in range(6):
        pruner.step(epoch)
        for _ in range(2):
            iterate(model, optimizer, pruner)
    assert pruner.compact() is not model and pruner.difference < 1e-9
    assert not model.conv2._forward_pre_hooks, "no gate is left behind"


def test_slimming_adds_the_subgradient_of_its_penalty() -> None:
    model = Small()
    pruner, _ = start(
        model, criterion="bn_scale", reconstruction="hard", bn_penalty=0.01, schedule=CONSTANT | {"start": 0.5}
    )
    F.cross_entropy(model(X), Y).backward()
    before = model.norm1.weight.grad.clone()
    pruner.after_backward()
    assert torch.allclose(model.norm1.weight.grad, before + 0.01 * model.norm1.weight.sign())


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
        {"criterion": "random", "allocation": "sparsity", "sparsity": {"scale": "group"}},
        {"allocation": "sparsity", "sparsity": {"live_only": False}},
    ],
    ids=str,
)
def test_resumed_at_any_iteration_equals_uninterrupted(parameters, tmp_path) -> None:
    """State saved between any two iterations, windows half open included, and read back without pickles."""

    def run(stop: int | None) -> tuple[dict[str, Tensor], list]:
        model = Small()
        pruner, optimizer = start(model, epochs=5, **parameters)
        for iteration in range(5 * 4):
            if iteration == stop:
                states = model.state_dict(), optimizer.state_dict(), pruner.state_dict()
                torch.save(states, tmp_path / "state.pt")
                model = Small(beta=0.1)
                pruner, optimizer = start(model, epochs=5, **parameters)
                loaded = torch.load(tmp_path / "state.pt", weights_only=True)
                for part, state in zip((model, optimizer, pruner), loaded, strict=True):
                    part.load_state_dict(state)
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


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.data())
def test_order_and_protect(values, data) -> None:
    scores = torch.tensor(values, dtype=torch.float64)
    masks = st.lists(st.booleans(), min_size=len(values), max_size=len(values)).map(torch.tensor)
    first, last, candidates = data.draw(masks), data.draw(masks), data.draw(masks)
    ranked = order(scores, first, last)
    assert sorted(ranked.tolist()) == list(range(len(values)))
    kinds = [0 if first[c] else 2 if last[c] else 1 for c in ranked.tolist()]
    assert kinds == sorted(kinds)
    for kind in (0, 1, 2):
        inside = [values[c] for c, k in zip(ranked.tolist(), kinds, strict=True) if k == kind]
        assert inside == sorted(inside)
    quantile, share = data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1))
    kept = protect(scores, candidates, quantile, share)
    assert not (kept & ~candidates).any() and (scores[kept] > 0).all()
    assert int(kept.sum()) <= share * len(values) + 1e-9
    assert int(kept.sum()) <= round((1 - quantile) * int(candidates.sum()))
    if kept.any() and (candidates & ~kept).any():
        assert scores[kept].min() >= scores[candidates & ~kept].max()
