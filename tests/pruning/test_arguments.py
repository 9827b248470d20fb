"""Wrong arguments and calls out of order are one line, before anything of the network is changed."""

import copy
import re
from typing import Any

import pytest
import torch
from architectures_helpers import Flattened
from small_helpers import Small, X, iterate, start
from torch import nn

from psap.errors import PsapError
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.utils.mappings import JsonObject

HARD = Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


class Lazy(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))


def sparse() -> nn.Module:
    model = Small()
    model.head.weight = nn.Parameter(model.head.weight.detach().to_sparse())
    return model


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters())


NO_METHODS: tuple[object, ...] = ("psap", {}, Method, 1)
NO_OPTIMIZERS: tuple[object, ...] = ("adam", [], torch.optim.Adam)
WRONG = [
    *(("target", value, "target is .*; give the share to remove, between 0 and 1")
      for value in (0, 0.0, 1, 1.5, -0.5, float("nan"), float("inf"), "0.5", None, True, 0.5j)),
    *(("epochs", value, "epochs is .*; give the number of times that step is called")
      for value in (0, -1, 2.0, "3", None, True, 10**11, float("nan"))),
    *(("seed", value, "seed is .*; give a whole number") for value in (0.5, "1", None, 2**64, -(2**64), True)),
    *(("measure", value, "measure is .*; known: macs, params") for value in ("flops", None, ("macs",), "")),
    ("measure", "mac", "measure is 'mac'; did you mean 'macs'"),
    *(("steps_per_epoch", value, "steps_per_epoch is .*; give the optimiser's steps") for value in (0, -1, 2.5, "9")),
    *(("method", value, "method is an? .*; give a psap.Method") for value in NO_METHODS),
    *(("optimizer", value, "optimizer is an? .*; give a torch.optim") for value in NO_OPTIMIZERS),
    ("optimizer", adam(Small()), "optimizer trains none of the parameters of this Small"),
    ("model", "resnet20", "model is no network, but an object of type str"),
    ("model", Small, "model is no network, but an object of type type"),
    ("model", nn.Sequential(nn.ReLU()), "Sequential has no parameters"),
    ("model", Small().to("meta"), "Small cannot be pruned: conv1.weight is on the meta device"),
    ("model", Lazy(), "Lazy cannot be pruned: 0.weight has no shape yet"),
    ("model", sparse(), "Small cannot be pruned: head.weight is stored as torch.sparse_coo"),
    ("model", nn.DataParallel(Small()), "DataParallel wraps the network to train it"),
    ("example_inputs", "images", "example_inputs: no tensor in this str"),
    ("example_inputs", X[:, :2], "cannot be traced for pruning on the example input"),
    ("groups", find_prunable_groups(Flattened(), torch.ones(1, 3, 16, 16)), "of another network: Small has no conv of"),
    ("groups", [], "Small has no group of filters that can be pruned"),
    ("groups", "all", "groups is not a list of groups"),
    ("groups", ["conv1"], "groups is not a list of groups"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=lambda value: str(value)[:30])
def test_a_wrong_argument_is_one_line_and_nothing_changes(name: str, value: Any, said: str) -> None:
    model = Small()
    before = copy.deepcopy(model.state_dict())
    arguments: JsonObject = {"model": model, "example_inputs": X, "target": 0.5, "epochs": 3, "optimizer": None} | {
        name: value
    }
    with pytest.raises(PsapError, match=said) as error:
        Pruner(**arguments)
    assert "\n" not in str(error.value)
    assert model.training and not any(module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(now, before[key]) for key, now in model.state_dict().items())


def test_groups_of_a_network_of_other_widths_are_refused() -> None:
    other = Small()
    other.conv1, other.norm1, other.conv2 = nn.Conv2d(3, 12, 3), nn.BatchNorm2d(12), nn.Conv2d(12, 8, 3)
    with pytest.raises(PsapError, match="groups are of another network: Small has no conv1 of that kind and size"):
        Pruner(Small(), X, 0.5, 3, groups=find_prunable_groups(other, X))


def test_an_optimizer_of_some_of_the_parameters_and_of_others_is_taken() -> None:
    model, beside = Small(), nn.Linear(2, 2)
    Pruner(model, X, 0.5, 3, torch.optim.Adam([*model.conv1.parameters(), *beside.parameters()]))


@pytest.mark.parametrize("wrong", [0, 2, -1, 3, 0.0, "1", None, True], ids=str)
def test_epochs_come_once_each_and_in_order(wrong: Any) -> None:
    pruner, _ = start(Small(), epochs=3, reconstruction="hard")
    pruner.step(0)
    before = pruner.masks
    with pytest.raises(PsapError, match=re.escape(f"step({wrong!r}): epoch 1 is next, of 3 counted from 0")):
        pruner.step(wrong)
    assert all(torch.equal(a, b) for a, b in zip(pruner.masks, before, strict=True))
    pruner.step(1)
    pruner.step(2)
    with pytest.raises(PsapError, match=r"step\(3\): all have begun, of 3"):
        pruner.step(3)


def test_the_first_epoch_is_the_first() -> None:
    with pytest.raises(PsapError, match=r"step\(1\): epoch 0 is next"):
        start(Small())[0].step(1)


def test_calls_left_out_are_told_when_the_next_epoch_begins() -> None:
    pruner, _ = start(Small(), protection={"when": "before"})
    pruner.step(0)
    with pytest.raises(PsapError, match="after_backward was not called in epoch 0"):
        pruner.step(1)
    model = Small()
    pruner, _ = start(model)
    pruner.step(0)
    model(X).sum().backward()
    pruner.after_backward()
    with pytest.raises(PsapError, match="after_step was not called in epoch 0"):
        pruner.step(1)


def test_gradients_that_are_not_there_are_told() -> None:
    model = Small()
    pruner, optimizer = start(model)
    pruner.step(0)
    with pytest.raises(PsapError, match="there are no gradients; call it after backward and before zero_grad"):
        pruner.after_backward()
    model(X).sum().backward()
    for scale in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(PsapError, match="give the loss scale"):
            pruner.after_backward(scale)
    iterate(model, optimizer, pruner)


def test_compaction_refused_changes_nothing_and_can_be_repeated() -> None:
    model = Small()
    pruner, optimizer = start(model, epochs=3, window=5, protection={"signal": "gate_gradient"})
    pruner.step(0)
    iterate(model, optimizer, pruner)
    before = copy.deepcopy(pruner.state_dict())
    for _ in range(2):
        with pytest.raises(PsapError, match="the masks are not final"):
            pruner.compact()
    assert str(pruner.state_dict()) == str(before) and model.conv2._forward_pre_hooks, "the window is open still"
    for epoch in (1, 2):
        pruner.step(epoch)
        iterate(model, optimizer, pruner)
    one, two = pruner.compact(), pruner.compact()
    assert one is not two
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


@pytest.mark.parametrize("state", [{}, {"_pruned": []}], ids=str)
def test_a_foreign_state_is_refused(state: dict[str, Any]) -> None:
    pruner, _ = start(Small())
    with pytest.raises(PsapError, match="the state is not one of this pruner"):
        pruner.load_state_dict(state)
    own = pruner.state_dict()
    for part in own:
        with pytest.raises(PsapError, match="the state is not one of this pruner"):
            pruner.load_state_dict({name: value for name, value in own.items() if name != part})
    with pytest.raises(PsapError, match="the state is not one of this pruner"):
        pruner.load_state_dict(own | {"more": 1})
    wider = Flattened()
    with pytest.raises(PsapError, match="the state is not one of this pruner"):
        pruner.load_state_dict(Pruner(wider, torch.randn(1, 3, 16, 16), 0.3, 3, method=HARD).state_dict())
