"""Parts of a user's own: the page about them is run as it stands; names are checked and never change their meaning."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_helpers import layer
from small_helpers import Small, iterate, start
from torch import nn

from psap.errors import PsapError
from psap.pruning.allocation import ALLOCATIONS
from psap.pruning.criteria import CRITERIA, Criterion, l1, taylor
from psap.pruning.method import Method
from psap.pruning.reconstruction import RECONSTRUCTIONS
from psap.pruning.registry import BUILT_IN
from psap.suites.grid import load_grid
from psap.utils.mappings import JsonObject

KINDS: dict[str, dict[str, Any]] = {"criterion": CRITERIA, "allocation": ALLOCATIONS, "reconstruction": RECONSTRUCTIONS}
OWN: JsonObject = {"criterion": "largest", "allocation": "by_width", "reconstruction": "halve"}
SUITE = """
title: t
data: {source: digits}
models: [resnet8]
methods: {pretrained: [mine]}
targets: [0.5]
seeds: [0]
training: {dense: {epochs: 4, lr: 0.1}, pretrained: {epochs: 2, lr: 0.02}, scratch: {epochs: 3, lr: 0.1}}
"""


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Leave the registries as they were."""
    yield
    for kind, registry in KINDS.items():
        for name in set(registry) - set(BUILT_IN[kind]):
            del registry[name]


def blocks(root: Path, language: str) -> list[str]:
    page = (root / "docs" / "extending.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_names_known_without_torch_are_those_that_there_are() -> None:
    assert {kind: set(registry) for kind, registry in KINDS.items()} == {k: set(v) for k, v in BUILT_IN.items()}


def test_the_page_works_as_it_stands(root: Path) -> None:
    found = blocks(root, "python")
    assert len(found) == 4 and all(len(block.splitlines()) < 20 for block in found)
    for block in found:
        exec(block, {})
    model = Small()
    pruner, optimizer = start(model, epochs=5, **OWN)
    pruner.step(0)
    masks, before = pruner.masks, Small()
    for group, mask, old in zip(pruner.groups, masks, ("conv1", "conv2"), strict=True):
        assert mask.any() and group.name == old
        whole = layer(before, old, nn.Conv2d).weight
        now = layer(model, old, nn.Conv2d).weight
        assert torch.equal(now[mask], whole[mask] / 2), "halved"
        assert torch.equal(now[~mask], whole[~mask]), "left alone"
        assert whole.flatten(1).abs().amax(1)[mask].max() <= whole.flatten(1).abs().amax(1)[~mask].min()
    for epoch in range(5):
        if epoch:
            pruner.step(epoch)
        iterate(model, optimizer, pruner)
    pruner.compact()
    assert pruner.max_output_difference < 1e-9 and pruner.reduction() >= 0.5


def test_a_suite_names_the_file_and_its_content_is_in_the_runs_identity(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params, file = tmp_path / "params", Path("params/my_parts.py")
    params.mkdir()
    (params / "s.yaml").write_text(SUITE)
    [line] = blocks(root, "yaml")
    (params / "methods.yaml").write_text(line)
    with pytest.raises(PsapError, match=r"mine: code: params/my_parts.py is no Python file"):
        load_grid(params, "s")
    file.write_text("\n".join(blocks(root, "python")[:3]))
    run = load_grid(params, "s").runs["s/resnet8/pretrained/mine/0.5/seed0"]
    method = run.config.described()["method"]
    assert {kind: method[kind] for kind in OWN} == OWN and "code" not in method
    Method.model_validate(method)
    file.write_text(file.read_text() + "# another\n")
    assert load_grid(params, "s").runs[run.path].hash != run.hash
    (params / "methods.yaml").write_text(line.replace("my_parts", "broken"))
    (params / "broken.py").write_text("1 / 0\n")
    with pytest.raises(PsapError, match=r"code: params/broken.py cannot be run: ZeroDivisionError: division by zero"):
        load_grid(params, "s")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_one_line(kind: str) -> None:
    name = BUILT_IN[kind][-1]
    with pytest.raises(PsapError, match=f"^{kind}: unknown name '{name}s'; did you mean '{name}'\\?$"):
        Method.model_validate({kind: f"{name}s"})


def test_a_name_is_given_once() -> None:
    with pytest.raises(PsapError, match=r"^'l1' is registered already; give yours another name$"):
        CRITERIA["l1"] = Criterion(l1)


def test_what_has_an_effect_is_kept_for_parts_that_nobody_here_knows() -> None:
    CRITERIA["mine"] = Criterion(taylor, needs_gradients=True)
    ALLOCATIONS["mine"] = ALLOCATIONS["sparsity"]
    hard = {"reconstruction": "hard", "schedule": {"kind": "constant"}}
    assert "window" in Method(criterion="mine", **hard).identity()
    assert "window" not in Method(criterion="l2", **hard).identity()
    assert Method(allocation="mine").identity()["sparsity"] == Method().identity()["sparsity"]
