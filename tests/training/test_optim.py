"""Learning-rate schedules, by hand."""

import math

import pytest
import torch

from psap.training.optim import learning_rate, sgd
from psap.training.schema import Recipe, TrainConfig

STEP = Recipe(epochs=1, lr=0.1, schedule="step", milestones=(0.3, 0.6, 0.8), gamma=0.2)


@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0), (0.299, 0), (0.3, 1), (0.59, 1), (0.6, 2), (0.99, 3)])
def test_step(progress: float, factor: int) -> None:
    assert learning_rate(STEP, progress) == pytest.approx(0.1 * 0.2**factor)


def test_cosine_and_one_cycle() -> None:
    cosine = Recipe(epochs=1, lr=0.2)
    assert learning_rate(cosine, 0.0) == 0.2
    assert learning_rate(cosine, 0.25) == pytest.approx(0.1 * (1 + math.sqrt(0.5)))
    cycle = Recipe(epochs=1, lr=0.3, schedule="one_cycle")
    assert learning_rate(cycle, 0.0) == pytest.approx(0.03)
    assert learning_rate(cycle, 1 / 3) == pytest.approx(0.3)
    assert learning_rate(cycle, 2 / 3) == pytest.approx(0.15)
    assert learning_rate(cycle, 1 / 6) == pytest.approx(0.165)


def test_sgd_is_nesterov_unless_there_is_no_momentum() -> None:
    training = TrainConfig(recipe=Recipe(epochs=1, lr=0.1))
    model = torch.nn.Linear(2, 2)
    assert sgd(model, training).defaults["nesterov"]
    assert not sgd(model, training.model_copy(update={"momentum": 0.0})).defaults["nesterov"]
