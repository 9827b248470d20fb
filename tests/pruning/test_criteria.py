"""Criteria against their definitions, written out again channel by channel."""

import math

import pytest
import torch
from small_helpers import Small, X, Y

from psap.pruning.criteria import CRITERIA, Channels
from psap.pruning.graph.find import trace_groups

WEIGHTS = torch.randn(7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
GRADIENTS = torch.randn(7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
GATES = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
SCALES = torch.rand(7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def by_hand(name: str, c: int) -> float:
    every: list[list[float]] = WEIGHTS.tolist()
    w, g = every[c], [float(x) for x in GRADIENTS[c]]
    if name == "l1":
        return sum(abs(x) for x in w)
    if name == "l2":
        return math.sqrt(sum(x * x for x in w))
    if name == "fpgm":
        return sum(math.dist(w, o) for o in every)
    if name == "taylor_bn":
        return float(GATES[c]) ** 2
    if name == "taylor":
        return sum(x * y for x, y in zip(w, g, strict=True)) ** 2
    return float(SCALES[c])


@pytest.mark.parametrize("name", ["l1", "l2", "fpgm", "taylor", "taylor_bn", "bn_scale"])
def test_scores(name: str) -> None:
    scores = CRITERIA[name].score(Channels(WEIGHTS, GRADIENTS, SCALES, GATES))
    # A filter's distance to itself, computed by a matrix product, is a rounding error's square root instead of 0.
    tolerance = 1e-7 if name == "fpgm" else 1e-12
    assert scores.tolist() == pytest.approx([by_hand(name, c) for c in range(7)], rel=tolerance)


def test_random_follows_its_generator_only() -> None:
    def draw(seed: int) -> list[float]:
        torch.manual_seed(99)
        channels = Channels(WEIGHTS, generator=torch.Generator().manual_seed(seed))
        return CRITERIA["random"].score(channels).tolist()

    assert draw(1) == draw(1) != draw(2)


def test_without_batch_norm_nothing_can_be_judged_by_its_scale() -> None:
    assert torch.isinf(CRITERIA["bn_scale"].score(Channels(WEIGHTS))).all()


def test_without_batch_norm_the_filters_say_what_a_gate_would() -> None:
    channels = Channels(WEIGHTS, GRADIENTS)
    assert torch.equal(CRITERIA["taylor_bn"].score(channels), CRITERIA["taylor"].score(channels))


def test_behind_batch_norm_weights_are_silent_and_gates_are_not() -> None:
    """The derivative by a gate, taken by autograd on the activations themselves, and the silence of the weights."""
    torch.manual_seed(0)
    model = Small().double()
    images, labels = X.double(), Y
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    group = trace_groups(model, images)[0]
    gate = torch.ones(group.channels, dtype=torch.float64, requires_grad=True)
    handle = model.norm1.register_forward_hook(lambda _m, _i, out: out * gate[:, None, None])
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    handle.remove()
    gates = group.gate_gradients()
    assert gates is not None and gate.grad is not None
    assert gates.tolist() == pytest.approx(gate.grad.tolist(), rel=1e-9)
    silent = (group.filters() * group.filters(gradients=True)).sum(1)
    assert silent.abs().max() < 1e-3 * gates.abs().max()
