"""Learning from the dense network is the formula of its paper, and the mean of the weights is that of torch."""

import copy
import math
from functools import partial

import pytest
import torch
from batches_helpers import batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from psap.models import build
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.loop import run_epoch
from psap.training.recovery import Objective
from psap.training.schema import Distillation, Recipe, TrainConfig
from psap.training.train_state import TrainState

EPOCHS = 4


def config(**recipe: object) -> TrainConfig:
    return TrainConfig(label_smoothing=0.1, recipe=Recipe(**{"epochs": EPOCHS, "lr": 0.05} | recipe))


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build("resnet8", 10)


class Fixed(nn.Module):
    """A teacher with an opinion of its own on every image, whatever it is."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores


@given(st.floats(0.01, 1), st.floats(0.5, 20), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_the_loss_is_the_formula(weight: float, temperature: float, seed: int) -> None:
    numbers = torch.Generator().manual_seed(seed)
    logits, wanted = 3 * torch.randn(2, 5, 7, generator=numbers, dtype=torch.float64)
    labels = torch.randint(0, 7, (5,), generator=numbers)
    logits.requires_grad_()
    teacher = Fixed(wanted)
    distill = Distillation(weight=weight, temperature=temperature)
    loss = Objective(config(distill=distill), teacher)(logits, torch.zeros(5), labels)
    together = 0.0
    for own, its, label in zip(logits.tolist(), wanted.tolist(), labels.tolist(), strict=True):
        q, p = ([math.exp(z / temperature) for z in scores] for scores in (own, its))
        q, p = ([share / sum(shares) for share in shares] for shares in (q, p))
        far = sum(b * (math.log(b) - math.log(a)) for a, b in zip(q, p, strict=True))
        logs = [z - math.log(sum(math.exp(other) for other in own)) for z in own]
        labelled = -0.9 * logs[label] - 0.1 * sum(logs) / 7
        together += ((1 - weight) * labelled + weight * temperature**2 * far) / 5
    assert float(loss.detach()) == pytest.approx(together, rel=1e-9)
    loss.backward()
    assert logits.grad is not None and teacher.scores.grad is None


def test_off_it_is_the_loss_of_the_labels_bit_for_bit() -> None:
    logits, labels = torch.randn(64, 10), torch.arange(64) % 10
    loss = Objective(config(), None)(logits, torch.zeros(64), labels)
    assert torch.equal(loss, F.cross_entropy(logits, labels, label_smoothing=0.1))
    state = TrainState(network(0), config())
    assert state.average is None and state.current() is state.model
    assert state.state_dict().keys() == {"compacted", "model", "optimizer", "scaler", "pruner"}
    assert config().recipe.described().keys() == {"epochs", "lr", "schedule", "milestones", "gamma"}


def test_the_teacher_stays_what_it_was() -> None:
    teacher = network(1)
    before = copy.deepcopy(teacher.state_dict())
    subject = TrainState(network(0), config(distill=Distillation()), teacher=teacher)
    run_epoch(subject, batches(), config(distill=Distillation()), 0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())


@pytest.mark.parametrize("freeze", [None, 0.0, 0.3])
def test_the_mean_of_the_weights_is_that_of_torch(freeze: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first step, or from the epoch after the freeze, in the compacted network."""
    training = config(ema=0.8)
    pruning = partial(
        Pruner,
        example_inputs=torch.zeros(1, 3, 8, 8),
        target=0.5,
        epochs=EPOCHS,
        method=Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": freeze or 0.0}),
    )
    theirs: list[AveragedModel] = []

    def follow(subject: TrainState) -> None:
        if freeze is None or subject.compacted:
            if not theirs:
                decaying = get_ema_multi_avg_fn(0.8)
                theirs.append(AveragedModel(subject.model, multi_avg_fn=decaying, use_buffers=True))
            theirs[0].update_parameters(subject.model)

    def trained() -> TrainState:
        subject = TrainState(network(0), training, None if freeze is None else pruning)
        for epoch in range(EPOCHS):
            subject.begin_epoch(epoch)
            run_epoch(subject, batches(), training, epoch)
        return subject

    ours = trained()
    monkeypatch.setattr(TrainState, "finish_step", follow)
    trained()
    assert ours.average and ours.network() is ours.average.module
    found, expected = ours.average.state_dict(), theirs[0].state_dict()
    steps = {None: 4, 0.0: 3, 0.3: 2}[freeze] * 3
    assert int(found["n_averaged"]) == steps and found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not torch.equal(next(ours.network().parameters()), next(ours.model.parameters()))
