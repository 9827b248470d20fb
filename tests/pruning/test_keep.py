"""Layers that a user keeps whole, or within bounds of their own, lose what they may and no more."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from psap import Method, Pruner
from psap.errors import PsapError
from psap.models import build
from psap.pruning.graph.groups import Group
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.inspect import inspect_network
from psap.utils.globs import last_of, means
from psap.utils.mappings import JsonObject

X = torch.zeros(1, 3, 16, 16)
ONE_SHOT = {"reconstruction": "hard", "schedule": {"kind": "one_shot", "freeze": 0.0}}


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("resnet8", 10)


@pytest.fixture(scope="module")
def groups(network: torch.nn.Module) -> list[Group]:
    return find_prunable_groups(network, X)


def pruned(
    network: torch.nn.Module, groups: list[Group], target: float, method: JsonObject, **kept: Any
) -> dict[str, float]:
    """The ratio that each group loses at once."""
    pruner = Pruner(network, X, target, 1, method=Method(**ONE_SHOT, **method), groups=groups, **kept)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    pruner.step(0)
    network.load_state_dict(before)
    return {group.name: float(mask.float().mean()) for group, mask in zip(pruner.groups, pruner.masks, strict=True)}


@pytest.mark.parametrize(
    ("glob", "layer", "said"),
    [
        ("stem", "stem.conv1", True),
        ("stem", "stem2.conv1", False),
        ("head.*", "head.fc", True),
        ("head.*", "head", False),
        ("layer4.*", "layer4.0.conv1", True),
        ("*.conv1", "layer1.0.conv1", True),
        ("*.conv1", "conv1", False),
        ("layer[12]", "layer2.0.bn1", True),
        ("layer1.0", "layer1.0.conv1", True),
        ("layer1.0", "layer1.01", False),
    ],
)
def test_a_glob_means_layers_and_all_within_a_module(glob: str, layer: str, said: bool) -> None:
    assert means(glob, layer) is said


def test_what_is_special_follows_what_is_general() -> None:
    assert last_of(["*", "layer4.*", "nothing"], "layer4.conv") == "layer4.*"
    assert last_of(["layer4.*", "*"], "layer4.conv") == "*" and last_of(["a"], "b") == ""


def test_kept_layers_stay_whole_with_all_that_goes_with_them(network: torch.nn.Module, groups: list[Group]) -> None:
    lost = pruned(network, groups, 0.3, {}, ignore=["layer1.0.bn2", "layer3.0.conv1"])
    assert (
        set(lost) == {"layer1.0.conv1", "layer2.0.conv1", "layer2.0.conv2", "layer3.0.conv2"} and min(lost.values()) > 0
    ), "layer1.0.bn2 is behind conv2, which goes together with conv1"
    pruner = Pruner(network, X, 0.3, 2, ignore=["conv1"], groups=groups)
    assert {group.name: group.reason for group in pruner.unprunable}["conv1"] == "kept by ignore 'conv1'"


@given(
    st.dictionaries(
        st.sampled_from(["*", "layer2.*", "layer3.0.conv1", "*.conv2", "conv1"]),
        st.tuples(st.floats(0, 0.3), st.floats(0.4, 0.95)),
        max_size=4,
    ),
    st.floats(0, 1),
    st.sampled_from([1, 4]),
)
@settings(max_examples=25, deadline=None)
def test_every_layer_stays_within_the_bounds_of_its_last_glob(
    network: torch.nn.Module, groups: list[Group], ratios: dict[str, tuple[float, float]], where: float, round_to: int
) -> None:
    method = Method(ratios=ratios, round_to=round_to, **ONE_SHOT)
    rows = [row for row in inspect_network(network.eval(), X, method, groups) if not row["reason"]]
    try:
        lost = pruned(network, groups, 0.3 + 0.4 * where, {"ratios": ratios, "round_to": round_to})
    except PsapError as error:
        assert "cannot be met" in str(error)
        return
    for group in groups:
        for member in () if group.reason else [*group.producers, *group.norms]:
            low, high = ratios.get(last_of(ratios, member.name), (0.0, 0.9))
            ratio = lost[group.name]
            assert ratio <= high + 1e-9 and (ratio >= low - 1e-9 or round_to > 1)
    for row in rows:
        assert row["least"] <= lost[row["group"]] * row["channels"] <= row["most"]


def test_the_whole_ratio_is_given_where_it_is_a_round_number(network: torch.nn.Module, groups: list[Group]) -> None:
    """0.3 of 10 channels are 3, whichever way the product is rounded."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 10, 3), torch.nn.Flatten(), torch.nn.Linear(10 * 14 * 14, 5))
    row = inspect_network(model, X, Method(ratios={"0": (0.3, 0.3)}))[0]
    assert (row["least"], row["most"]) == (3, 3)


@pytest.mark.parametrize(
    ("kept", "says"),
    [
        ({"ignore": ["steem"]}, r"ignore: 'steem' means no layer that makes channels; psap inspect shows their names"),
        (
            {"ignore": ["layer9.*"]},
            r"ignore: 'layer9\.\*' means no layer that makes channels; did you mean 'layer\d'\?",
        ),
        ({"ignore": ["relu"]}, "ignore: 'relu' means no layer"),
        (
            {"ratios": {"layr1": (0, 0.5)}},
            r"ratios: 'layr1' means no layer that makes channels; did you mean 'layer1'\?",
        ),
        ({"ratios": {"linear": (0, 0.5)}}, "ratios: 'linear' bounds nothing: linear stays whole"),
        ({"ignore": ["conv1"], "ratios": {"conv1": (0, 0.5)}}, r"stays whole \(kept by ignore 'conv1'\)"),
        ({"ratios": {"conv1": (0, 0.1), "layer1.0.conv2": (0.5, 0.6)}}, "leave no ratio for conv1"),
        (
            {"ratios": {"conv1": (0.5, 0.1)}},
            "Pruner: ratios.conv1: the least ratio 0.5 is larger than the largest, 0.1",
        ),
        ({"ratios": {"conv1": (0, 1)}}, "Pruner: ratios.conv1.1: Input should be less than 1"),
        ({"ignore": "conv1"}, "Pruner: ignore: Input should be a valid tuple"),
        ({"ignore": ["*"]}, "no group of filters that can be pruned"),
        ({"ratios": {"*": (0, 0.05)}}, "target 0.5 of the multiply-adds cannot be met.*ratios"),
    ],
)
def test_a_mistake_is_told_before_anything_is_changed(
    network: torch.nn.Module, groups: list[Group], kept: Any, says: str
) -> None:
    with pytest.raises(PsapError, match=says):
        Pruner(network, X, 0.5, 2, groups=groups, **kept)


def test_nothing_set_leaves_the_identity_of_runs_as_it_was() -> None:
    assert not {"ignore", "ratios"} & Method().identity().keys()
    told = Method(ignore=["stem"], ratios={"a": (0, 0.5)}).identity()
    assert told["ignore"] == ["stem"] and told["ratios"] == {"a": [0, 0.5]}
    assert Method.model_validate(told) == Method(ignore=["stem"], ratios={"a": (0, 0.5)})


def test_arguments_stand_in_place_of_the_methods_own(network: torch.nn.Module, groups: list[Group]) -> None:
    method = Method(ignore=["conv1"], ratios={"layer2.*": (0, 0.5)})
    pruner = Pruner(network, X, 0.3, 2, method=method, groups=groups, ignore=["layer3.*"])
    assert pruner.method.ignore == ("layer3.*",) and pruner.method.ratios == {"layer2.*": (0, 0.5)}
