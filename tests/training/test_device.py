"""Training and pruning are the same on every device, and no step of it waits for a GPU."""

from collections.abc import Iterator
from functools import partial

import pytest
import torch
from batches_helpers import batches
from torch import Tensor, nn

from psap.models import build
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.loop import run_epoch
from psap.training.schema import Recipe, TrainConfig
from psap.training.train_state import TrainState

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]
EPOCHS = 5
TRAINING = TrainConfig(recipe=Recipe(epochs=EPOCHS, lr=0.05))


def train_state(device: str, precision: str = "float32") -> TrainState:
    torch.manual_seed(0)
    images = torch.zeros(1, 3, 8, 8, device=device)
    method = Method(schedule={"freeze": 0.8})
    pruning = partial(Pruner, example_inputs=images, target=0.6, epochs=EPOCHS, method=method)
    model: nn.Module = build("resnet8", 10).to(device)
    return TrainState(model, TRAINING.model_copy(update={"precision": precision}), pruning)


def train(subject: TrainState, device: str, epochs: range, precision: str = "float32") -> list[float]:
    losses, training = [], TRAINING.model_copy(update={"precision": precision})
    for epoch in epochs:
        subject.begin_epoch(epoch)
        losses.append(run_epoch(subject, batches(device=device), training, epoch)[0])
    return losses


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_what_is_compacted_is_what_was_trained(device: str, precision: str) -> None:
    subject = train_state(device, precision)
    assert len(train(subject, device, range(EPOCHS), precision)) == EPOCHS and not subject.compacted
    x = torch.randn(8, 3, 8, 8, device=device)
    with torch.no_grad():
        small = subject.network().double().eval()
        masked = subject.model.double().eval()
        torch.testing.assert_close(small(x.double()), masked(x.double()), rtol=1e-9, atol=1e-9)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_it_resumes_from_what_it_saved(device: str) -> None:
    whole, first, second = (train_state(device) for _ in range(3))
    losses = train(whole, device, range(EPOCHS))
    train(first, device, range(2))
    second.load_state_dict(first.state_dict())
    close = 1e-12 if device == "cpu" else 1e-3  # a GPU adds in another order each time
    assert train(second, device, range(2, EPOCHS)) == pytest.approx(losses[2:], rel=close)


@NO_GPU
def test_no_step_waits_for_the_device() -> None:
    """Where channels are held at zero and no window is open; a pruning step may look at numbers."""
    subject = train_state("cuda")
    subject.begin_epoch(0)
    for epoch in range(10):  # over the window, and all that is made at a first call
        run_epoch(subject, batches(device="cuda"), TRAINING, epoch)
    ready = list(batches(device="cuda").epoch(0))

    class Ready:
        accumulation_steps = 1

        def __len__(self) -> int:
            return len(ready)

        def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            torch.cuda.set_sync_debug_mode("error")
            yield from ready
            torch.cuda.set_sync_debug_mode("default")

    try:
        run_epoch(subject, Ready(), TRAINING, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
