"""What is counted of a piece of work: whatever computes, on any device."""

import torch
from torch import nn

from psap.utils.launches import launches


def test_views_and_allocations_launch_nothing() -> None:
    x = torch.ones(4, 4)
    assert launches(lambda: x.t()[1:].reshape(-1).unsqueeze(0).detach().view(2, 6)) == 1  # reshape copies
    assert launches(lambda: torch.empty(3)) == 0
    assert launches(lambda: x + x.mul(2)) == 2


def test_many_tensors_at_once_are_one_launch() -> None:
    tensors = [torch.ones(3) for _ in range(10)]
    assert launches(lambda: torch._foreach_mul_(tensors, 2.0)) == 1


def test_it_is_the_same_on_every_device() -> None:
    def step(device: str) -> int:
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36 * 4, 2))
        network.to(device)
        images = torch.zeros(2, 3, 8, 8, device=device)
        return launches(lambda: network(images).sum().backward())

    assert step("cpu") == step("meta") >= 12
