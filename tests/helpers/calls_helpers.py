"""The library's `Pruner` with every argument of the corpus: refused, or a network that computes what it should."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from arena_helpers import Case
from corpus_helpers import VALUES

from psap import Method, Pruner
from psap.models import build
from psap.pruning.method_sections import Schedule
from psap.utils.validation import validated

ONCE = Schedule(kind="constant", freeze=0.0)


def prune(**changes: Any) -> None:
    """Prune a small network through all its epochs, and hold the compacted one against it."""
    torch.manual_seed(0)
    model, images = build("resnet8", 10), torch.randn(4, 3, 16, 16)
    method = changes.pop("method", Method(schedule=ONCE, window=1))
    values: dict[str, Any] = {"target": 0.3, "epochs": 1, "seed": 0, "example_inputs": images[:1]} | changes
    if isinstance(method, dict):
        method = validated(Method, {"schedule": {"kind": "constant", "freeze": 0.0}, "window": 1} | method, "method")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    pruner = Pruner(model, optimizer=optimizer, method=method, **values)
    for epoch in range(min(values["epochs"], 3)):
        pruner.step(epoch)
        for _ in range(2):
            optimizer.zero_grad()
            model(images).square().mean().backward()
            pruner.after_backward()
            optimizer.step()
            pruner.after_step()
    if values["epochs"] > 3 or not pruner.frozen:
        return
    small = pruner.compact().eval()
    assert torch.allclose(small(images), model.eval()(images), atol=1e-3)
    assert pruner.reduction(values.get("measure", "macs")) > 0


def compact(device: str) -> None:
    """A network that is not where networks are."""
    with torch.device(device):
        model = build("resnet8", 10)
    Pruner(model, torch.randn(1, 3, 16, 16), 0.3, 1, method=Method(schedule=ONCE, window=1))


def calls() -> Iterator[Case]:
    """Every argument, and every parameter of a method, with every value."""
    for name in ("target", "epochs", "seed", "measure", "example_inputs", "groups"):
        for value in VALUES:
            yield Case(f"Pruner({name}={shown(value)})", call=partial(prune, **{name: value}))
    for field in Method.model_fields:
        for value in VALUES:
            yield Case(f"Method({field}={shown(value)})", call=partial(prune, method={field: value}))
    yield Case("Pruner of a network on meta", call=partial(compact, "meta"))


def shown(value: Any) -> str:
    """`value` for a message; Python writes no number of more than 4,300 digits, or of its own will."""
    return "10**400" if isinstance(value, int) and value > 10**300 else repr(value)[:200]
