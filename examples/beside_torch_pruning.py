"""PSAP next to Torch-Pruning's MagnitudePruner: one network, one target, one fine-tuning; and what a step costs.

    PSAP_WEIGHTS=<folder> python examples/beside_torch_pruning.py <folder of images>

EfficientNet-Lite0 with its ImageNet weights (examples/lite0_weights.py), 30 % fewer multiply-adds by PyTorch's counter,
fine-tuned on images of ten of its classes (train/<synset>/*, val/<synset>/*). Torch-Pruning prunes in one shot before
the fine-tuning, PSAP, with its defaults, during it. `dense` is the whole network, fine-tuned alike. Every arm is a
process of its own, timed in CPU seconds, which a busy machine changes least. Second table: timm's ResNet-50, in turns.
"""

import argparse
import copy
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from psap.bench.timing import interleaved
from psap.data import dataset
from psap.data.photo_batches import PhotoBatches
from psap.data.schema import Photos
from psap.data.sources import prepare
from psap.models import build, published_weights
from psap.pruning.cost import count_macs
from psap.pruning.method import Method
from psap.pruning.method_sections import Schedule
from psap.pruning.pruner import Pruner
from psap.training.evaluation import accuracy, peak_memory_mb
from psap.training.loop import run_epoch
from psap.training.schema import Recipe, TrainConfig
from psap.training.train_state import TrainState
from psap.utils.text import table

NETWORK, TARGET, IMAGES = "timm:tf_efficientnet_lite0", 0.3, 800
PHOTOS = Photos(size=96, classes=10, min_area=0.35, mean=(0.5,) * 3, std=(0.5,) * 3)
BATCH, HALVINGS = 32, 7
TRAINING = TrainConfig(batch_size=BATCH, recipe=Recipe(epochs=2, lr=0.01))
ARMS = ("PSAP", "Torch-Pruning", "dense")


def magnitude_pruner(network: nn.Module, example: Tensor, last: nn.Module, ratio: float, steps: int = 1) -> Any:
    """Torch-Pruning's, group L2 norms and one ratio for every layer, as it comes; `last` keeps its outputs."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    return torch_pruning.pruner.MagnitudePruner(
        network, example, importance, pruning_ratio=ratio, iterative_steps=steps, ignored_layers=[last]
    )


def one_shot(network: nn.Module, example: Tensor, macs: float) -> nn.Module:
    """Prune `network` by the smallest ratio that leaves at most `macs`: Torch-Pruning takes ratios, not targets."""
    low, high, small = 0.0, 0.5, network
    for _ in range(HALVINGS):
        trial, ratio = copy.deepcopy(network), (low + high) / 2
        magnitude_pruner(trial, example, trial.get_submodule("classifier"), ratio).step()
        if count_macs(trial, example) > macs:
            low = ratio
        else:
            high, small = ratio, trial
    return small


def arm(name: str, seed: int, file: Path, root: Path) -> dict[str, float]:
    """Prune and fine-tune; returns accuracy and counted reduction in percent, CPU seconds, peak memory in MiB."""
    data = dataset.load(file, root)
    network = published_weights.load(NETWORK, len(data.classes), PHOTOS).network
    train = dataset.subset(data.train, IMAGES, seed)
    batches = PhotoBatches(train, BATCH, PHOTOS, seed=seed, train=True, flip=True)
    example = torch.randn(1, 3, PHOTOS.size, PHOTOS.size)
    macs = count_macs(network, example)
    torch.manual_seed(seed)
    start = time.process_time()
    if name == "Torch-Pruning":
        network = one_shot(network, example, (1 - TARGET) * macs)
    before = time.process_time() - start
    epochs = TRAINING.recipe.epochs
    pruning = partial(Pruner, example_inputs=example, target=TARGET, epochs=epochs, seed=seed)
    train_state = TrainState(network, TRAINING, pruning if name == "PSAP" else None)
    for epoch in range(epochs):
        train_state.begin_epoch(epoch)
        run_epoch(train_state, batches, TRAINING, epoch)
    small = train_state.network()
    seconds = time.process_time() - start
    memory = peak_memory_mb(torch.device("cpu"))
    top1 = accuracy(small, PhotoBatches(data.test, 50, PHOTOS, train=False).epoch(0)).top1
    reduction = 100 * (1 - count_macs(small, example) / macs)
    return {"top1": top1, "reduction": reduction, "before": before, "seconds": seconds, "memory": memory}


def compared(seeds: int, file: Path, root: Path) -> str:
    """The first table: a row for each arm, its numbers seed by seed."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        for seed in range(seeds):
            for name in ARMS:
                found[name].append(alone.submit(arm, name, seed, file, root).result())
                print(name, seed, found[name][-1], flush=True)
    header = ("arm", "top-1, %", "multiply-adds, %", "CPU seconds", "of these before fine-tuning", "peak memory, MiB")
    digits = {"top1": 1, "reduction": 1, "seconds": 0, "before": 0, "memory": 0}
    cells = {
        name: [", ".join(f"{run[key]:.{n}f}" for run in runs) for key, n in digits.items()]
        for name, runs in found.items()
    }
    return table(header, [[name, *row] for name, row in cells.items()])


def steps_of(repetitions: int) -> str:
    """The second table: seconds to prepare, and of one pruning step without the training iterations around it."""
    torch.manual_seed(0)
    example = torch.randn(1, 3, 224, 224)
    ours, theirs = build("timm:resnet50", 1000), build("timm:resnet50", 1000)
    constant = Method(schedule=Schedule(kind="constant", freeze=1.0))
    pruner = Pruner(ours, example, 0.3, repetitions + 2, torch.optim.SGD(ours.parameters(), lr=0.1), constant)
    other = magnitude_pruner(theirs, example, theirs.get_submodule("fc"), 0.3, repetitions + 1)
    ours(torch.randn(2, 3, 64, 64)).sum().backward()  # gradients for the window
    epochs = iter(range(repetitions + 2))

    def step() -> None:
        pruner.step(next(epochs))
        for _ in range(pruner.method.window):
            pruner.after_backward()
            pruner.after_step()

    actions = {
        "PSAP, prepare": lambda: Pruner(ours, example, 0.3, 1, method=constant),
        "Torch-Pruning, prepare": lambda: magnitude_pruner(
            theirs, example, theirs.get_submodule("fc"), 0.3, repetitions + 1
        ),
        "PSAP, step": step,
        "Torch-Pruning, step": other.step,
    }
    timings = interleaved(actions, repetitions, torch.device("cpu"))
    rows = [
        [name, f"{statistics.median(t.seconds):.2f}", f"{min(t.seconds):.2f} to {max(t.seconds):.2f}"]
        for name, t in timings.items()
    ]
    return table(("timm:resnet50", "median, s", "smallest to largest"), rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, help="Folder with train/ and val/.")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=5, help="Number of repetitions of a step on ResNet-50.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder, "data.safetensors")
        prepare("imagenet", str(given.images), index)
        print(compared(given.seeds, index, given.images))
    print(steps_of(given.repetitions))
