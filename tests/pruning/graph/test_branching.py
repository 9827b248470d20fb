"""A network that goes other ways on other inputs is not compacted to another one unnoticed."""

import copy
import io

import pytest
import torch
from architectures_helpers import Branching, Layered
from small_helpers import X

from psap.errors import PsapError
from psap.pruning.graph.verify import find_prunable_groups
from psap.pruning.method import Method
from psap.pruning.pruner import Pruner
from psap.pruning.witness import Witness
from psap.utils.passes import varied

AT_ONCE = Method(reconstruction="hard", schedule={"kind": "one_shot", "freeze": 0.0})


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_groups_that_a_branch_needs_are_refused_before_any_training(limit: float) -> None:
    reasons = {group.name: group.reason for group in find_prunable_groups(Branching("place", limit), X)}
    assert "branches on its input" in reasons["a"] and reasons["b"] == reasons["c"] == ""
    with pytest.raises(PsapError, match="branches on its input"):
        find_prunable_groups(Branching("layer", limit), X)


def test_a_branch_that_no_random_input_takes_is_found_on_the_batches_of_the_training() -> None:
    model = Branching("place", 500.0)
    pruner = Pruner(model, X, 0.3, 1, method=AT_ONCE)
    assert not pruner.groups[0].reason
    pruner.step(0)
    for x in (X, X, X, X + 1000, X):  # the fourth is kept
        model(x).sum().backward()
        pruner.after_backward()
        pruner.after_step()
    with pytest.raises(PsapError, match=r"Branching cannot be compacted: .* branches on its input"):
        pruner.compact()


def test_a_network_that_takes_only_some_inputs_is_judged_on_those() -> None:
    class Guarded(Layered):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.mean() > 0.5:
                raise ValueError("not normalised")
            return super().forward(x).sqrt() if x.mean() < -0.5 else super().forward(x)

    assert [group.name for group in find_prunable_groups(Guarded(), X) if not group.reason] == ["a", "b", "c"]


def test_varied_inputs_have_the_shape_and_kind_of_the_example_and_are_always_the_same() -> None:
    words, mask = torch.arange(12).reshape(3, 4), torch.ones(3, dtype=torch.bool)
    example = (X, {"words": words, "mask": mask, "none": None})
    for first, again in zip(varied(example), varied(example), strict=True):
        x, named = first.args
        assert x.shape == X.shape and x.dtype == X.dtype and not torch.equal(x, X)
        assert sorted(named["words"].flatten().tolist()) == list(range(12)) and named["mask"] is mask
        assert torch.equal(x, again.args[0]) and named["none"] is None


def test_a_witness_keeps_little_of_a_long_training_and_nothing_stays_behind() -> None:
    model = Layered()
    pruner = Pruner(model, X, 0.3, 1, method=AT_ONCE)
    again = Pruner(model, X, 0.3, 1, method=AT_ONCE)
    assert len(model._forward_pre_hooks) == 1, "one pruner's"
    for _ in range(600):
        model(X[:, :, :7, :7])
    with torch.no_grad():
        model(X)
    (witness,) = model._forward_pre_hooks.values()
    assert isinstance(witness, Witness) and len(witness.batches) == 8
    assert all(batch.args[0].shape == (8, 3, 7, 7) for batch in witness.batches)
    copied = copy.deepcopy(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    assert len(buffer.getvalue()) < 100_000, "no batch is in a pickle"
    copied(X)
    assert len(witness.batches) == 8
    again.step(0)
    small = again.compact()
    assert not model._forward_pre_hooks and not small._forward_pre_hooks
    assert not again.compact_copy(copied)._forward_pre_hooks
    assert pruner.groups


def test_a_compiled_training_is_not_compiled_again_and_again() -> None:
    model = Layered()
    pruner = Pruner(model, X, 0.3, 1, method=AT_ONCE)
    compilations = 0

    def backend(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        nonlocal compilations
        compilations += 1
        return graph

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for _ in range(5):
        compiled(X).sum().backward()
    assert compilations == 1
    pruner.step(0)
    pruner.compact()
