"""What `psap prune` checks before any work, and what it tells of the work to come."""

import copy
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from psap.data import sources
from psap.data.schema import Data
from psap.errors import PsapError
from psap.models import check_name
from psap.models.open import Network
from psap.planning.workload import Images, images_of
from psap.pruning.cost import count_params
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.inspect import INEXACT, inspect_network
from psap.pruning.pruner import Pruner
from psap.standalone.initial import Start, initial_model
from psap.standalone.request import (
    PruneRequest,
    data_of,
    in_words,
    kept_in_words,
    recovery_in_words,
    runs_of,
)
from psap.suites.grid import Run
from psap.training.evaluation import peak_memory_mb
from psap.training.trainer import Trainer
from psap.utils.mappings import JsonObject

_KEPT = 4  # float32 copies of the weights that training adds to a step's memory: gradients, momentum, bank, checkpoint


class Plan(NamedTuple):
    """A request that can be carried out.

    `network`: the one to start from, in evaluation mode, on the
    processor; `groups`: its rows of `inspect_network`; `macs` and `params`: its cost.
    """

    request: PruneRequest
    data: Data
    images: Images
    start: Start
    dense: Run
    pruned: Run
    network: Network
    groups: list[JsonObject]
    macs: int
    params: int


def make_plan(request: PruneRequest) -> Plan:
    """Check all that can be checked without reading an image.

    Raises PsapError: unknown network or data, weights of another network, nothing to prune, a target out of reach.
    """
    check_name(request.model)
    data = data_of(request)
    sources.check_source(data.source, data.path)
    images = images_of(data)
    start = initial_model(request, images.classes, images.shape[0])
    dense, pruned = runs_of(request, data, start.fits)
    model, example = copy.deepcopy(start.model).eval(), torch.zeros(1, *images.shape)
    _check_takes(request, model, example)
    network = Network(request.model, images.classes, model, example)
    groups = find_prunable_groups(model, example, request.method.through_norms)
    rows = inspect_network(network.model, network.images, request.method, groups)
    pruner = Pruner(
        model, example, request.target, request.epochs, method=request.method, measure=request.measure, groups=groups
    )
    return Plan(request, data, images, start, dense, pruned, network, rows, pruner.cost.macs, count_params(model))


def _check_takes(request: PruneRequest, model: nn.Module, example: torch.Tensor) -> None:
    try:
        with torch.no_grad():
            model(example)
    except (AssertionError, RuntimeError, ValueError) as error:
        size = " x ".join(map(str, example.shape[1:]))
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PsapError(f"{request.model} does not take images of {size} (channels, height, width): {reason}") from None


def summary(plan: Plan) -> list[tuple[str, str]]:
    """The plan in lines of a name and what is said of it."""
    request, images = plan.request, plan.images
    before, pruning = (run.config.training.recipe for run in (plan.dense, plan.pruned))
    first = f"{before.epochs} dense at lr {before.lr:g}, then " if before.epochs else ""
    amount, measure = {"macs": (plan.macs, "multiply-adds"), "params": (plan.params, "parameters")}[request.measure]
    millions = [amount / 1e6, (1 - request.target) * amount / 1e6]
    prunable = sum(not row["reason"] for row in plan.groups)
    inexact = [row["group"] for row in plan.groups if not row["exact"] and not row["reason"]]
    return [
        ("network", f"{request.model}, {plan.macs / 1e6:,.1f} M multiply-adds, {plan.params / 1e6:,.2f} M parameters"),
        ("weights", plan.start.description),
        (
            "data",
            f"{request.data}: {images.train:,} images to train on, {images.test:,} held out, {images.classes} classes",
        ),
        ("images", " x ".join(map(str, images.shape))),
        ("target", f"-{100 * request.target:g} % {measure}: {millions[0]:,.2f} M to {millions[1]:,.2f} M"),
        ("method", in_words(request.method)),
        ("rounding", _rounding_in_words(plan)),
        *([("recovery", recovery)] if (recovery := recovery_in_words(request.method)) else []),
        *([("kept", kept)] if (kept := kept_in_words(request.method)) else []),
        *([("norms", f"{', '.join(inexact)} {INEXACT}")] if inexact else []),
        ("groups", f"{prunable} of {len(plan.groups)} can lose channels (above)"),
        (
            "epochs",
            f"{first}{pruning.epochs} of pruning at lr {pruning.lr:g}; {request.batch_size} images a step",
        ),
        ("out", str(Path(request.out))),
    ]


def _rounding_in_words(plan: Plan) -> str:
    """What `round_to` does to channel counts, and by how much a target may be missed for it: one step of a group."""
    to = plan.request.method.round_to
    if to == 1:
        return "none: exact channel counts"
    steps = [row["most_macs"] * min(1, to / row["most"]) for row in plan.groups if row["most"]]
    more = f", for which up to about {100 * max(steps):.0f} % more may go" if plan.request.measure == "macs" else ""
    return f"what remains of a group is a multiple of {to} channels{more}; exact counts: --round-to 1"


def estimated(plan: Plan, trainer: Trainer) -> tuple[float, float]:
    """Seconds that both trainings take and MiB that they need, from two steps of a copy of the network as it is now.

    Pruning makes the network faster on the way, which is left out.
    """
    model, seconds = copy.deepcopy(trainer.train_state.model).train(), []
    for _ in range(2):  # the first chooses kernels
        begin = time.perf_counter()
        x, y = next(iter(trainer.data.training.epoch(0)))
        F.cross_entropy(model(x), y).backward()
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds.append(time.perf_counter() - begin)
    epochs = sum(run.config.training.recipe.epochs for run in (plan.dense, plan.pruned))
    scoring = plan.images.test / 3  # a forward pass is a third of a step
    images = epochs * (trainer.data.images_per_epoch + scoring) + 2 * scoring
    if (pruning := plan.pruned.config.training.recipe).distill:  # a forward pass of the dense network, too
        images += pruning.epochs * trainer.data.images_per_epoch / 3
    return min(seconds) / len(x) * images, peak_memory_mb(x.device) + _KEPT * 4 * plan.params / 2**20
