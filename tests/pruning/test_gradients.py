"""What supervised gradients see: the pulse, the silence, and gates that see through it."""

import pytest
import torch
from small_helpers import Small, X, Y
from torch.nn import functional as F

from psap.pruning.gradients import Gates, gradient_norms
from psap.pruning.graph.find import trace_groups


@pytest.mark.parametrize("beta", [0.5, -5.0, 0.0])
def test_both_extremes_of_a_zeroed_filter(beta: float) -> None:
    """Behind batch-norm a zeroed filter's gradient is magnified by scale / sqrt(eps) where the shift is positive, and
    exactly zero where it is not: a filter that weights alone can never bring back."""
    model = Small(beta)
    group = trace_groups(model, X)[0]
    with torch.no_grad():
        model.conv1.weight[:3] = 0
    F.cross_entropy(model(X), Y).backward()
    signal = gradient_norms(group)
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
    group = trace_groups(model, x)[0]
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
