"""What `psap prune` checks before any work, and what it tells of the work to come."""

import copy
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from psap.data import sources
from psap.errors import PsapError
from psap.models import check_name
from psap.models.open import Network
from psap.planning.workload import Images, images_of
from psap.pruning.cost import count_params
from psap.pruning.graph.verify import usable_groups
from psap.pruning.inspect import inspect_network
from psap.pruning.pruner import Pruner
from psap.standalone.initial import Start, starting
from psap.standalone.request import Order, data_of, in_words, kept_in_words, runs_of
from psap.suites.grid import Run
from psap.suites.schema import Data
from psap.training.evaluation import peak_memory_mb
from psap.training.trainer import Job

_KEPT = 4  # float32 copies of the weights that training adds to a step's memory: gradients, momentum, bank, checkpoint


class Plan(NamedTuple):
    """An order that can be carried out.

    `network`: the one to start from, in evaluation mode, on the
    processor; `groups`: its rows of `inspect_network`; `macs` and `params`: its cost.
    """

    order: Order
    data: Data
    images: Images
    start: Start
    dense: Run
    pruned: Run
    network: Network
    groups: list[dict[str, Any]]
    macs: int
    params: int


def planned(order: Order) -> Plan:
    """Check all that can be checked without reading an image.

    Raises PsapError: unknown network or data, weights of another network, nothing to prune, a target out of reach.
    """
    check_name(order.model)
    data = data_of(order)
    sources.check_source(data.source, data.path)
    images = images_of(data)
    start = starting(order, images.classes, images.shape[0])
    dense, pruned = runs_of(order, data, start.fits)
    model, example = copy.deepcopy(start.model).eval(), torch.zeros(1, *images.shape)
    _check_takes(order, model, example)
    network = Network(order.model, images.classes, model, example)
    groups = usable_groups(model, example)
    rows = inspect_network(network.model, network.images, order.method, groups)
    pruner = Pruner(
        model, example, order.target, order.epochs, method=order.method, measure=order.measure, groups=groups
    )
    return Plan(order, data, images, start, dense, pruned, network, rows, pruner.cost.macs, count_params(model))


def _check_takes(order: Order, model: nn.Module, example: torch.Tensor) -> None:
    try:
        with torch.no_grad():
            model(example)
    except (AssertionError, RuntimeError, ValueError) as error:
        size = " x ".join(map(str, example.shape[1:]))
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PsapError(f"{order.model} does not take images of {size} (channels, height, width): {reason}") from None


def summary(plan: Plan) -> list[tuple[str, str]]:
    """The plan in lines of a name and what is said of it."""
    order, images = plan.order, plan.images
    before, pruning = (run.config["training"]["recipe"] for run in (plan.dense, plan.pruned))
    first = f"{before['epochs']} dense at lr {before['lr']:g}, then " if before["epochs"] else ""
    amount, measure = {"macs": (plan.macs, "multiply-adds"), "params": (plan.params, "parameters")}[order.measure]
    millions = [amount / 1e6, (1 - order.target) * amount / 1e6]
    prunable = sum(not row["reason"] for row in plan.groups)
    return [
        ("network", f"{order.model}, {plan.macs / 1e6:,.1f} M multiply-adds, {plan.params / 1e6:,.2f} M parameters"),
        ("weights", plan.start.told),
        (
            "data",
            f"{order.data}: {images.train:,} images to train on, {images.test:,} held out, {images.classes} classes",
        ),
        ("images", " x ".join(map(str, images.shape))),
        ("target", f"-{100 * order.target:g} % {measure}: {millions[0]:,.2f} M to {millions[1]:,.2f} M"),
        ("method", in_words(order.method)),
        *([("kept", kept)] if (kept := kept_in_words(order.method)) else []),
        ("groups", f"{prunable} of {len(plan.groups)} can lose channels (above)"),
        ("epochs", f"{first}{pruning['epochs']} of pruning at lr {pruning['lr']:g}; {order.batch_size} images a step"),
        ("out", str(Path(order.out))),
    ]


def estimated(plan: Plan, job: Job) -> tuple[float, float]:
    """Seconds that both trainings take and MiB that they need, from two steps of a copy of the network as it is now.

    Pruning makes the network faster on the way, which is left out.
    """
    model, seconds = copy.deepcopy(job.learner.model).train(), []
    for _ in range(2):  # the first chooses kernels
        begin = time.perf_counter()
        x, y = next(iter(job.batches.epoch(0)))
        F.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        seconds.append(time.perf_counter() - begin)
    epochs = sum(run.config["training"]["recipe"]["epochs"] for run in (plan.dense, plan.pruned))
    scoring = plan.images.test / 3  # a forward pass is a third of a step
    images = epochs * (job.images_per_epoch + scoring) + 2 * scoring
    return min(seconds) / len(x) * images, peak_memory_mb(x.device) + _KEPT * 4 * plan.params / 2**20
