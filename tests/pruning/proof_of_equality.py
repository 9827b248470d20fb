"""Prove that an edit of the pruning code changes nothing: train small networks in every way, digest every iteration.

    python tests/pruning/proof_of_equality.py --write before.json     # before the edit
    python tests/pruning/proof_of_equality.py --compare before.json   # after it, on the same machine

The digest of a case covers weights, buffers, optimiser state, masks and history after each of its iterations.
"""

import argparse
import copy
import hashlib
import io
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psap import Group, Method, Pruner

EPOCHS, ITERATIONS, TARGET = 6, 3, 0.4
CRITERIA = ("l1", "l2", "fpgm", "bn_scale", "taylor", "random")
# Every parameter that decides is given, so that a new default is no difference.
SPARSITY = {"weights": "raw", "quantile": 0.5, "multiple": 0.5}
ALLOCATIONS: dict[str, dict[str, Any]] = {
    "uniform": {"allocation": "uniform"},
    "global": {"allocation": "global"},
    "sparsity-group": {
        "allocation": "sparsity",
        "sparsity": SPARSITY | {"scale": "group", "alpha": 1.0, "live_only": True},
    },
    "sparsity-model": {
        "allocation": "sparsity",
        "sparsity": SPARSITY | {"scale": "model", "alpha": 0.5, "live_only": False},
    },
}
PROTECTION = {"scope": "group", "quantile": 0.7, "share": 0.3, "pulse": 0.0, "immunity": 1}
RECONSTRUCTIONS: dict[str, dict[str, Any]] = {
    "hard": {"reconstruction": "hard"},
    "soft": {"reconstruction": "soft"},
    **{
        f"{when}-{rest}-{signal}": {
            "reconstruction": "protective",
            "protection": PROTECTION | {"when": when, "rest": rest, "signal": signal},
        }
        for when, rest, signal in (
            ("before", "hold", "weight_gradient"),
            ("before", "free", "weight_gradient"),
            ("after", "hold", "weight_gradient"),
            ("after", "free", "weight_gradient"),
            ("after", "hold", "gate_gradient"),
            ("after", "free", "gate_gradient"),
        )
    },
}
WINDOWS, MOMENTUM = (1, 2, 3), ("clear", "keep")
# A column added to history changes nothing that was there.
COLUMNS = ("step", "epoch", "group", "channels", "target", "ratio", "sparsity", "pruned", "restored", "churn", "pulse")
# A training that is resumed goes on here, in the middle of a window; one that overflows loses these steps.
RESUMED_AFTER, LOST = 4, (3, 7, 8)


class Net(nn.Module):
    """A stem, a residual block with a depthwise convolution, two branches with one norm behind them, a flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.inner, self.inner_norm = nn.Conv2d(8, 10, 1, bias=False), nn.BatchNorm2d(10)
        self.depthwise, self.depthwise_norm = nn.Conv2d(10, 10, 3, padding=1, groups=10), nn.BatchNorm2d(10)
        self.outer, self.outer_norm = nn.Conv2d(10, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 6, 3, stride=2), nn.Conv2d(8, 7, 3, stride=2)
        self.joined_norm = nn.BatchNorm2d(13)
        self.hidden, self.head = nn.Linear(13 * 4, 9), nn.Linear(9, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem_norm(self.stem(x)).relu()
        y = self.inner_norm(self.inner(x)).relu()
        y = self.depthwise_norm(self.depthwise(y)).relu()
        x = (x + self.outer_norm(self.outer(y))).relu()
        x = self.joined_norm(torch.cat([self.left(x), self.right(x)], 1)).relu()
        out: Tensor = self.head(self.hidden(x.flatten(1)).relu())
        return out


def cases() -> Iterator[tuple[str, dict[str, Any], int | None, tuple[int, ...]]]:
    """Name, method, iteration to resume after (or None), lost iterations: every combination, settings in turn."""
    settings = itertools.cycle(itertools.product(WINDOWS, MOMENTUM))
    names = itertools.product(CRITERIA, ALLOCATIONS, RECONSTRUCTIONS)
    for i, (criterion, allocation, reconstruction) in enumerate(names):
        for repeat in range(1 + i % 2):
            window, momentum = next(settings)
            resumed = RESUMED_AFTER if (i + repeat) % 2 else None
            lost = LOST if (i + repeat) % 3 == 0 else ()
            name = f"{criterion} {allocation} {reconstruction} window={window} {momentum}"
            name += " resumed" * (resumed is not None) + " lost" * bool(lost)
            method = ALLOCATIONS[allocation] | RECONSTRUCTIONS[reconstruction]
            method |= {"criterion": criterion, "window": window, "momentum": momentum}
            method |= {
                "schedule": {"kind": "cubic", "freeze": 0.7},
                "bn_penalty": 1e-3 if criterion == "bn_scale" else 0,
            }
            yield name, method, resumed, lost


class Training:
    """A network in prune-training; `state` is what a checkpoint holds."""

    def __init__(self, method: dict[str, Any], groups: list[Group], network: nn.Module) -> None:
        torch.manual_seed(1)
        self.x, self.y = torch.randn(ITERATIONS, 12, 3, 6, 6), torch.randint(5, (ITERATIONS, 12))
        self.model = copy.deepcopy(network)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
        chosen = Method.model_validate(method)
        self.pruner = Pruner(self.model, self.x[0], TARGET, EPOCHS, self.optimizer, chosen, groups=groups)

    def iterate(self, iteration: int, lost: bool) -> None:
        epoch, batch = divmod(iteration, ITERATIONS)
        if batch == 0:
            self.pruner.step(epoch)
        F.cross_entropy(self.model(self.x[batch]), self.y[batch]).backward()
        self.pruner.after_backward(1.0, not lost)
        if not lost:
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.pruner.after_step()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "pruner": self.pruner.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.pruner.load_state_dict(state["pruner"])

    def seen(self) -> list[Any]:
        """All that an iteration leaves behind."""
        momenta = [self.optimizer.state[p].get("momentum_buffer") for p in self.model.parameters()]
        rows = [{column: row[column] for column in COLUMNS} for row in self.pruner.history.rows]
        return [*self.model.state_dict().values(), *momenta, *self.pruner.masks, rows]


def digest(
    method: dict[str, Any], resumed: int | None, lost: tuple[int, ...], groups: list[Group], network: nn.Module
) -> str:
    """SHA-256 over what every iteration of a training leaves behind, and over the compacted network."""
    training, total = Training(method, groups, network), hashlib.sha256()
    for iteration in range(EPOCHS * ITERATIONS):
        training.iterate(iteration, iteration in lost)
        for value in training.seen():
            total.update(value.numpy().tobytes() if isinstance(value, Tensor) else json.dumps(value).encode())
        if iteration == resumed:
            file = io.BytesIO()
            torch.save(training.state(), file)
            file.seek(0)
            training = Training(method, groups, network)
            training.load(torch.load(file, weights_only=True))
    for tensor in training.pruner.compact().state_dict().values():
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def start() -> tuple[list[Group], nn.Module]:
    """The network that every case trains, and its groups."""
    torch.manual_seed(0)
    network = Net()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    pruner = Pruner(network, torch.randn(2, 3, 6, 6), TARGET, EPOCHS)
    return pruner.groups, network


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path, help="File for the digest of every case.")
    parser.add_argument("--compare", type=Path, help="File of an earlier --write.")
    options = parser.parse_args()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    began, (groups, network) = time.perf_counter(), start()
    digests = {name: digest(method, at, lost, groups, network) for name, method, at, lost in cases()}
    overall = hashlib.sha256("".join(digests.values()).encode()).hexdigest()
    print(f"{len(digests)} trainings in {time.perf_counter() - began:.0f} s: {overall}")
    if options.write:
        options.write.write_text(json.dumps(digests, indent=1))
    if options.compare:
        before = json.loads(options.compare.read_text())
        changed = [name for name in before if before[name] != digests.get(name)]
        print("\n".join(changed[:20]) or "all equal")
        sys.exit(bool(changed))


if __name__ == "__main__":
    main()
