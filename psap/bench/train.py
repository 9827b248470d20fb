"""`psap bench train`: our training loop against the bare limit and against the conventional way."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap.bench.timing import Timing, interleaved, ratios
from psap.data.batches import Batches
from psap.data.dataset import Split
from psap.models import build
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.loop import run_epoch
from psap.training.optim import sgd
from psap.training.precision import has_bfloat16
from psap.training.schema import Recipe, TrainConfig
from psap.training.train_state import TrainState
from psap.utils.launches import launches
from psap.utils.text import table

_BATCH = 128
_MEAN, _STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10's training images
_TRAINING = TrainConfig(batch_size=_BATCH, recipe=Recipe(epochs=1000, lr=0.01))


def bench_train(name: str, size: int, iterations: int, repetitions: int, device: torch.device, compile: bool) -> str:
    """Train the network `name` on `iterations` batches of 128 images by each way in turns; returns a table.

    The images have `size` x `size` pixels and ten classes.

    `compile` adds our loop under torch.compile, a device with arithmetic for bfloat16 our loop in that; where there are
    both, also the two at once. Images are random: their content does not change how long anything takes.
    """
    numbers = np.random.default_rng(0)
    images = numbers.integers(0, 256, (_BATCH * iterations, size, size, 3), dtype=np.uint8)
    labels = numbers.integers(0, 10, len(images))
    split = Split(torch.from_numpy(images), torch.from_numpy(labels))
    ways = {
        "bare: forward, backward, step on one batch": _bare(name, size, iterations, device),
        "our loop, plain": _ours(name, split, device, _TRAINING),
        "our loop, PSAP": _ours(name, split, device, _TRAINING, prune=True),
    }
    for options, training in _options(device, compile).items():
        ways[f"our loop, {options}"] = _ours(name, split, device, _TRAINING.model_copy(update=training))
    for workers in (0, 2):
        ways[f"conventional, {workers} workers"] = _conventional(name, images, labels, workers, device)
    plain, held = (_launches(name, split, device, prune) for prune in (False, True))
    timings = interleaved(ways, repetitions, device)
    slow = [way for way in timings if way.startswith("conventional")]
    dropped = max(slow, key=lambda way: timings[way].median)
    counted = f"Operators in an optimiser's step: {plain}; with pruned channels held, {held} ({held / plain:.3f})."
    return _table({way: timing for way, timing in timings.items() if way != dropped}, len(images)) + f"\n\n{counted}"


def _options(device: torch.device, compile: bool) -> dict[str, dict[str, object]]:
    """What a training can ask for to be faster on `device`, by name."""
    compiled: dict[str, object] = {"compile": True}
    bfloat16: dict[str, object] = {"precision": "bfloat16"}
    options = {"compiled": compiled} if compile else {}
    if has_bfloat16(device):
        options["bfloat16"] = bfloat16
    if len(options) == 2:
        options["bfloat16, compiled"] = compiled | bfloat16
    return options


def _table(timings: dict[str, Timing], images: int) -> str:
    ways = list(timings)
    rows = []
    for i, way in enumerate(ways):
        cells = [way, f"{images / timings[way].median:.0f}", f"{timings[way].memory_mb:.0f}"]
        for reference in (ways[0], ways[max(i - 1, 0)], ways[-1]):
            middle, low, high = ratios(timings[way], timings[reference])
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})" if reference != way else "1")
        rows.append(cells)
    header = (
        "way",
        "images/s",
        "peak memory, MiB",
        "speed over the bare",
        "over the row above",
        "over the conventional",
    )
    return table(header, rows)


def _model(name: str, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    return build(name, 10).to(device, memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


def _bare(name: str, size: int, iterations: int, device: torch.device) -> Callable[[], None]:
    model = _model(name, device, torch.channels_last)
    optimizer = sgd(model, _TRAINING)
    x = torch.randn(_BATCH, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (_BATCH,), device=device)

    def action() -> None:
        _train(model, optimizer, ((x, y) for _ in range(iterations)))

    return action


def _ours(
    name: str, split: Split[Tensor], device: torch.device, training: TrainConfig, prune: bool = False
) -> Callable[[], None]:
    """Our loop; with `prune`, a pruning step before every epoch that is timed, and never the freeze."""
    batches, train_state = _batches(split, device), _train_state(name, split.images.shape[1], device, training, prune)
    epoch = iter(range(training.recipe.epochs))

    def action() -> None:
        at = next(epoch)
        train_state.begin_epoch(at)
        run_epoch(train_state, batches, training, at)

    return action


def _batches(split: Split[Tensor], device: torch.device) -> Batches:
    return Batches(split, _BATCH, _MEAN, _STD, train=True, pad=4, flip=True, device=device)


def _train_state(name: str, size: int, device: torch.device, training: TrainConfig, prune: bool) -> TrainState:
    example, epochs = torch.zeros(1, 3, size, size, device=device), training.recipe.epochs
    pruning = partial(Pruner, example_inputs=example, target=0.5, epochs=epochs) if prune else None
    return TrainState(_model(name, device, torch.channels_last), training, pruning)


def _launches(name: str, split: Split[Tensor], device: torch.device, prune: bool) -> int:
    """Operators of an optimiser's step of our loop; with `prune`, while channels are held at zero."""
    train_state = _train_state(name, split.images.shape[1], device, _TRAINING, prune)
    one_batch = _batches(Split(split.images[:8], split.labels[:8]), device)  # their number decides nothing here
    train_state.begin_epoch(0)
    steps = Method().window + 1  # the window of the pruning step is over
    for epoch in range(steps):
        run_epoch(train_state, one_batch, _TRAINING, epoch)
    return launches(lambda: run_epoch(train_state, one_batch, _TRAINING, steps))


def _conventional(
    name: str, images: np.ndarray, labels: np.ndarray, workers: int, device: torch.device
) -> Callable[[], None]:
    """PIL images, torchvision's transforms one image at a time, a DataLoader, float32, contiguous."""
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    transform = transforms.Compose(
        [
            transforms.RandomCrop(images.shape[1], padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )

    class Images(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return transform(Image.fromarray(images[index])), int(labels[index])

    model = _model(name, device, torch.contiguous_format)
    optimizer = sgd(model, _TRAINING)
    loader = DataLoader(Images(), _BATCH, shuffle=True, drop_last=True, num_workers=workers)

    def action() -> None:
        _train(model, optimizer, ((x.to(device), y.to(device)) for x, y in loader))

    return action


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    model.train()
    for x, y in batches:
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
