"""The method in one file is the library's: the same masks after every step, the same weights at the end."""

import copy
import runpy
from pathlib import Path

import pytest
import torch
from fixture_types import Randomise
from layer_helpers import layer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from psap import Method, Pruner
from psap.models import build
from psap.pruning.cost import count_macs
from psap.pruning.graph.masked import compact_masked

EPOCHS, STEPS, SIDE = 4, 3, 8
BATCHES = Method().window + 2  # the step, the pulse, and one after both
SCRIPT = Path("examples", "psap_in_one_file.py")


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)


def images(seed: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCHES, 8, 1, SIDE, SIDE, generator=generator)
    return list(zip(x, torch.randint(10, (BATCHES, 8), generator=generator), strict=True))


# The last target needs protected channels too, and a group with a scale of 1,000 has hardly a small weight.
@pytest.mark.parametrize(("seed", "target", "scale"), [(0, 0.7, 1.0), (1, 0.5, 1e3), (2, 0.95, 1.0)])
@pytest.mark.parametrize("name", ["resnet8_b", "resnet20_b"])
def test_one_file_is_the_library(
    name: str, seed: int, target: float, scale: float, root: Path, randomise: Randomise
) -> None:
    """Bit for bit, from parameters of their own, but for running variances of pruned channels, which only scale 0."""
    torch.manual_seed(seed)
    model, data = randomise(build(name, 10, 1), seed), images(seed)
    nn.init.constant_(layer(model, "layer2.0.bn1", nn.BatchNorm2d).weight, scale)
    other, optimizer = copy.deepcopy(model), sgd(model)
    pruner = Pruner(model, data[0][0], target, EPOCHS, optimizer, steps_per_epoch=BATCHES)
    steps = runpy.run_path(str(root / SCRIPT))["prune"](other, SIDE, sgd(other), data, EPOCHS, target)
    size, found, restored = len(pruner.groups), [], []
    for epoch in range(EPOCHS):
        pruner.step(epoch)
        for x, y in data:
            cross_entropy(model(x), y).backward()
            pruner.after_backward()
            optimizer.step()
            optimizer.zero_grad()
            pruner.after_step()
        aim, reduction, pruned, shielded, back = next(steps)
        assert torch.equal(pruned, torch.cat(pruner.masks))
        assert (aim, reduction) == (pruner.history.rows[-1]["target"], pruner.reduction())
        assert int(back.sum()) == pruner.restored
        found.append(int(shielded.sum()))
        restored.append(pruner.restored)
    assert pruner.frozen and next(steps, None) is None
    sparsity = [row["sparsity"] for row in pruner.history.rows[:size]]
    assert (scale > 1) == (min(sparsity) < 1e-3 * sum(sparsity) / size)
    # Both mechanisms acted in every step: protection changed what is selected, and the pulse gave back.
    saved = [sum(row["protected"] for row in pruner.history.rows if row["step"] == step) for step in range(STEPS)]
    assert min(saved) > 0 and min(found[:STEPS]) > 0 and min(restored[: STEPS - 1]) > 0
    for group, mask in zip(pruner.groups, pruner.masks, strict=True):
        for slot in group.others:
            if slot.attribute == "running_var":
                slot.tensor[slot.member.positions(mask)] = 0
    for (key, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), key
    small, removed = compact_masked(other, data[0][0])
    assert removed == int(pruned.sum())
    assert 1 - count_macs(small, data[0][0]) / pruner.cost.macs == reduction >= target


def test_it_runs_as_a_script(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(root / SCRIPT), run_name="__main__")
    *_, dense, header, first, _, _, _, _, _, last, _, _, done = capsys.readouterr().out.splitlines()
    names, rows = header.split(), [line.split() for line in (dense, first, last, done)]
    assert names == ["epoch", "target", "multiply-adds", "pruned", "shielded", "restored", "accuracy"]
    cut = [-float(row[2].rstrip("%")) for row in rows]
    assert cut[0] == 0 < cut[1] < 70 <= cut[2] == cut[3] < 73
    assert [row[5] != "0" for row in rows] == [False, True, False, False]
    assert float(rows[0][-1].rstrip("%")) > 90 and float(rows[3][-1].rstrip("%")) > 90


def test_its_parameters_are_the_method_s_defaults(root: Path) -> None:
    one, method = runpy.run_path(str(root / SCRIPT)), Method()
    assert (one["FREEZE"], one["WINDOW"]) == (method.schedule.freeze, method.window)
    assert (one["QUANTILE"], one["ALPHA"]) == (method.sparsity.quantile, method.sparsity.alpha)
    assert (one["MAX_RATIO"], one["OF_GROUP"]) == (method.bounds.max_ratio, method.protection.share)
    assert (one["PROTECTED"], one["PULSE"]) == (pytest.approx(1 - method.protection.quantile), method.protection.pulse)


def test_it_stays_short_and_by_itself(root: Path) -> None:
    text = (root / SCRIPT).read_text()
    assert len(text.splitlines()) <= 150
    assert [line for line in text.splitlines() if "import" in line and "psap" in line] == [
        "from psap.models.cifar_resnet import CifarResNet"
    ]
