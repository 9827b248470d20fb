"""Groups are tried before any training: what their graph does not tell is found on a copy of the network."""

import copy

import torch
from architectures_helpers import Flattened, Offset, Remembered, Shifted
from fixture_types import Randomise
from layer_helpers import layer
from torch import nn

from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

IMAGE = torch.randn(2, 3, 16, 16)


def test_what_the_graph_does_not_tell_is_found_by_trial_before_any_training() -> None:
    reasons = {group.name: group.reason for group in find_prunable_groups(Shifted(), IMAGE)}
    assert "still have a say" in reasons["a"], "sigmoid(0) is not 0"
    assert reasons["b"] == ""


def test_only_the_groups_to_blame_are_refused() -> None:
    model = Remembered()
    reasons = {group.name: group.reason for group in find_prunable_groups(model, IMAGE)}
    assert "counts on their number" in reasons["fixed"]
    assert [name for name, reason in reasons.items() if not reason] == ["before", "after"]
    pruner = Pruner(model, IMAGE, 0.3, 1, method=Method(reconstruction="hard", schedule={"kind": "one_shot"}))
    assert {group.name for group in pruner.unprunable} == {"fixed", "head"}
    pruner.step(0)
    assert layer(pruner.compact(), "fixed", nn.Conv2d).out_channels == 8


def test_a_fresh_network_is_tried_as_a_trained_one() -> None:
    """An offset of 0 hides that the channels behind it would speak; the trial gives it another value."""
    model = Offset()
    before = copy.deepcopy(model.state_dict())
    reasons = {group.name: group.reason for group in find_prunable_groups(model, IMAGE)}
    assert reasons["a"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items()), "left as it was"


def test_groups_found_once_serve_for_every_copy(randomise: Randomise) -> None:
    model = randomise(Flattened())
    groups = find_prunable_groups(model, IMAGE)
    method = Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})
    for target in (0.2, 0.5):
        masked = copy.deepcopy(model)
        pruner = Pruner(masked, IMAGE, target, 1, method=method, groups=groups)
        pruner.step(0)
        assert not layer(masked, "conv", nn.Conv2d).weight.detach()[pruner.masks[0]].any()
        assert pruner.reduction() >= target and pruner.compact()
    weight = layer(model, "conv", nn.Conv2d).weight.detach()
    assert weight.abs().sum((1, 2, 3)).all(), "the network that they were found in stays as it was"
