"""Whatever a network takes, returns or is: it is pruned right, or refused in one line with reason and remedy."""

import collections
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from architectures_helpers import Layered
from small_helpers import X
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, weight_norm

from psap.errors import PsapError
from psap.pruning.graph.masked import compact_masked
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner

AT_ONCE = Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


@dataclass
class Output:
    logits: Tensor
    loss: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()


class Pair(NamedTuple):
    logits: Tensor
    feature: Tensor


class Returning(Layered):
    """Returns what `output` makes of its features."""

    def __init__(self, output: Callable[..., Any]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Any:
        return self.output(*self.features(x))


class Named(Layered):
    def forward(self, pixels: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(pixels if mask is None else pixels * mask)


class OfMapping(Layered):
    def forward(self, batch: Tensor | dict[str, Tensor]) -> Tensor:
        assert isinstance(batch, dict)
        return super().forward(batch["x"])


def pruned(model: nn.Module, inputs: Any) -> set[str]:
    """The groups that are pruned, in a network that is compacted right."""
    pruner = Pruner(model, inputs, 0.1, 1, method=AT_ONCE)
    pruner.step(0)
    pruner.compact()
    assert pruner.max_output_difference <= 1e-12
    return {group.name for group in pruner.groups}


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (lambda a, b, c, out: [out], "abc"),
        (lambda a, b, c, out: Output(out), "abc"),
        (lambda a, b, c, out: {"out": out, "nothing": None, "number": 3}, "abc"),
        (lambda a, b, c, out: (out, {"classes": out.argmax(1), "sure": out > 0}), "abc"),
        (lambda a, b, c, out: [b, out], "ac"),
        (lambda a, b, c, out: Output(out, hidden=(b,)), "ac"),
        (lambda a, b, c, out: Pair(out, b), "ac"),
        (lambda a, b, c, out: collections.OrderedDict(out=out, maps=[a, b]), "c"),
    ],
)
def test_outputs_of_any_nesting(output: Callable[..., Any], expected: str) -> None:
    model = Returning(output)
    reasons = {group.name: group.reason for group in find_prunable_groups(model, X)}
    assert {name for name, reason in reasons.items() if not reason} == set(expected)
    assert {reason for reason in reasons.values() if reason} == {"feeds the network's output"}
    assert pruned(model, X) == set(expected)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (Named(), {"pixels": X}),
        (Named(), collections.UserDict(pixels=X, mask=X > 0)),
        (Named(), (X, X > 0)),
        (Named(), [X]),
        (OfMapping(), ({"x": X},)),
    ],
)
def test_inputs_of_any_nesting(model: nn.Module, inputs: Any) -> None:
    assert pruned(model, inputs) == set("abc")


def compiled_inside() -> nn.Module:
    model = Layered()
    compiled = torch.compile(model.b, backend="eager")
    assert isinstance(compiled, nn.Module)
    model.add_module("b", compiled)
    return model


def compiled_in_place() -> nn.Module:
    model = Layered()
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize("make", [compiled_inside, compiled_in_place, lambda: torch.fx.symbolic_trace(Layered())])
def test_compiled_and_traced_parts_are_pruned(make: Callable[[], nn.Module]) -> None:
    assert len(pruned(make(), X)) == 3


def changed(name: str, change: Callable[[Tensor], Any]) -> nn.Module:
    """A network with another weight in one layer."""
    model = Layered()
    layer = model.get_submodule(name)
    del layer.weight
    layer.weight = change(getattr(Layered(), name).weight.detach())
    return model


def inside(change: Callable[[nn.Module], Any]) -> nn.Module:
    model = Layered()
    change(model.b)
    return model


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Layered()


def quantised() -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(X[0].numel(), 8), nn.ReLU(), nn.Linear(8, 5))
    network: nn.Module = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    return network


STRANGE: dict[str, tuple[Callable[[], Any], str]] = {
    "no module": (lambda: Layered().state_dict(), "pass the nn.Module itself"),
    "DataParallel": (lambda: nn.DataParallel(Layered()), r"pass the network inside, model\.module"),
    "compiled": (lambda: torch.compile(Layered(), backend="eager"), r"network that was compiled, model\._orig_mod"),
    "script": (lambda: torch.jit.trace(Layered(), X), "TorchScript program; pass the nn.Module"),
    "meta": (on_meta, r"a\.weight is on the meta device, without values; give it some first"),
    "partly meta": (lambda: inside(lambda layer: layer.to("meta")), r"b\.weight is on the meta device"),
    "sparse": (lambda: changed("head", lambda w: nn.Parameter(w.to_sparse())), r"head\.weight is stored as torch\.spa"),
    "csr": (lambda: changed("head", lambda w: nn.Parameter(w.to_sparse_csr())), r"head\.weight is stored as torch\.sp"),
    "quantised": (quantised, "1 is a quantised layer; prune first, quantise the compacted network"),
    "lazy": (lambda: nn.Sequential(nn.LazyConv2d(8, 3)), "0.weight has no shape yet; run the network once"),
    "computed": (lambda: changed("b", lambda w: nn.Parameter(w) * 2), r"b\.weight is computed of other parameters"),
    "weight_norm": (lambda: inside(weight_norm), r"b\.weight is computed of other .* \(remove_weight_norm, prune"),
    "masked": (lambda: inside(lambda layer: prune.l1_unstructured(layer, "weight", 0.3)), r"prune\.remove"),
    "NaN": (lambda: changed("b", lambda w: nn.Parameter(w * torch.nan)), "outputs on the example input are NaN"),
    "no gradient": (lambda: Returning(lambda a, b, c, out: out.detach()), "its forward pass detaches them"),
    "no tensor": (lambda: Returning(lambda a, b, c, out: object()), "no tensor is found in its output, a object; wrap"),
    "float32": (lambda: Returning(lambda a, b, c, out: out @ torch.ones(5, 5)), "does not run in float64"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", STRANGE)
def test_what_cannot_be_pruned_is_refused_with_the_remedy_by_all_who_take_a_network(kind: str) -> None:
    make, says = STRANGE[kind]
    for use in (find_prunable_groups, compact_masked, lambda model, x: Pruner(model, x, 0.5, 1)):
        with pytest.raises(PsapError, match=says) as caught:
            use(make(), X)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (X.numpy(), "no tensor in this ndarray; pass a tensor"),
        (None, "no tensor in this NoneType"),
        ({"x": X, "y": X}, r"of the names and shapes that the network takes; one that takes a dict itself: \(dict,\)"),
        ((X, X), "cannot be traced for pruning on the example input"),
        (X.to("meta"), "cannot be traced for pruning on the example input"),
    ],
)
def test_inputs_that_are_none(inputs: Any, says: str) -> None:
    with pytest.raises(PsapError, match=says) as caught:
        Pruner(Layered(), inputs, 0.5, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("norm", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_a_parametrised_layer_stays_whole_and_says_why(norm: Callable[[nn.Module], nn.Module]) -> None:
    reasons = {group.name: group.reason for group in find_prunable_groups(inside(norm), X)}
    assert "parametrization, such as weight_norm" in reasons["b"] and reasons["c"] == ""


def test_tied_layers_stay_whole_and_say_with_what() -> None:
    model = Layered()
    model.norm = nn.BatchNorm2d(8)
    model.c.weight = model.b.weight
    with pytest.raises(PsapError, match=r"a and 1 more: shares a tensor with c \(tied weights\)"):
        find_prunable_groups(model, X)


def test_parameters_without_elements_and_other_precisions_are_no_obstacle() -> None:
    model = Layered().to(torch.bfloat16)
    model.nothing = nn.Parameter(torch.zeros(0))
    assert pruned(copy.deepcopy(model), X.bfloat16()) == set("abc")


def test_a_target_out_of_reach_says_what_holds_it() -> None:
    model = Returning(lambda a, b, c, out: [b, out])
    with pytest.raises(PsapError, match=r"no bounds reach it: .* stays whole: b and 1 more: feeds the network's o"):
        Pruner(model, X, 0.99, 1)
    with pytest.raises(
        PsapError, match=r"or move bounds\.max_ratio, ratios or round_to: with one channel left of each"
    ):
        Pruner(Layered(), X, 0.5, 1, method=Method(bounds={"max_ratio": 0.2}))
    with pytest.raises(PsapError, match=r"between 0\.000 and 0\.000.*a and 2 more: the criterion .* needs batch-norm"):
        Pruner(Layered(), X, 0.5, 1, method=Method(criterion="bn_scale"))
