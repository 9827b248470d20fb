"""One rank of trainings in float64: `-m torch.distributed.run ... together_helpers.py <methods> <folder>`, or alone.

Writes <folder>/<method>-<rank>-of-<ranks>.pt: the parameters after 30 steps, the masks after each, the bank after each
epoch.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from psap.data.batches import Batches
from psap.data.dataset import Split
from psap.data.sharding import Shard
from psap.models import build
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.training.loop import run_epoch
from psap.training.schema import Recipe, TrainConfig
from psap.training.train_state import TrainState
from psap.utils import distributed

EPOCHS, STEPS = 6, 5
RECIPE = Recipe(epochs=EPOCHS, lr=0.05)
TRAINING = TrainConfig(weight_decay=1e-3, label_smoothing=0.1, clip_norm=1.0, recipe=RECIPE)


def data(shard: Shard) -> Batches:
    numbers = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (128 * STEPS, 8, 8, 3), generator=numbers, dtype=torch.uint8)
    split = Split(images, torch.randint(0, 10, (len(images),), generator=numbers))
    mean, std = (0.5,) * 3, (0.25,) * 3
    return Batches(split, 128, mean, std, train=True, flip=True, pad=1, dtype=torch.float64, shard=shard)


def network() -> nn.Module:
    torch.manual_seed(0)
    model = build("resnet8", 10).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model


class Watched(Pruner):
    """Keeps its masks after every step."""

    seen: list[list[torch.Tensor]]

    def after_step(self) -> None:
        super().after_step()
        self.seen.append(self.masks)


def train(method: Method) -> dict[str, Any]:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    pruning = partial(Watched, example_inputs=images, target=0.5, epochs=EPOCHS, method=method)
    train_state = TrainState(network(), TRAINING, pruning)
    pruner = train_state.pruner
    assert isinstance(pruner, Watched)
    pruner.seen = []
    batches = data(Shard(distributed.rank(), distributed.world_size(), 64))
    losses, banks = [], []
    for epoch in range(EPOCHS):
        train_state.begin_epoch(epoch)
        losses.append(run_epoch(train_state, batches, TRAINING, epoch)[0])
        backup = pruner.state_dict()["reconstruction"].get("backup", {"values": {}})  # hard has none
        banks.append({f"{name}.{slot}": kept for name, of in backup["values"].items() for slot, kept in of.items()})
    found = {"parameters": dict(train_state.model.named_parameters()), "masks": pruner.seen}
    return found | {"losses": losses, "banks": banks}


def main(methods: str, folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.process_group(torch.device("cpu")):
        for name, method in json.loads(methods).items():
            found = train(Method.model_validate(method))
            torch.save(found, folder / f"{name}-{distributed.rank()}-of-{distributed.world_size()}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
