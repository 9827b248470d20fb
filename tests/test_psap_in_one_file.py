"""The method in one file is the library's: the same masks after every step, the same weights at the end."""

import copy
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from psap import Method, Pruner
from psap.models import build
from psap.pruning.cost import count_macs
from psap.pruning.graph.masked import compact_masked

EPOCHS, SIDE, TARGET = 5, 8, 0.7
BATCHES = Method().window + 2  # the step, the pulse, and one after both
SCRIPT = Path("examples", "psap_in_one_file.py")


def sgd(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)


def images(seed: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(BATCHES, 8, 1, SIDE, SIDE, generator=generator)
    return list(zip(x, torch.randint(10, (BATCHES, 8), generator=generator), strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["resnet8_b", "resnet20_b"])
def test_one_file_is_the_library(
    name: str, seed: int, root: Path, randomise: Callable[[nn.Module, int], nn.Module]
) -> None:
    """Bit for bit, from parameters of their own, but for running variances of pruned channels, which only scale 0."""
    torch.manual_seed(seed)
    model, data = randomise(build(name, 10, 1), seed), images(seed)
    other, optimizer = copy.deepcopy(model), sgd(model)
    pruner = Pruner(model, data[0][0], TARGET, EPOCHS, optimizer, steps_per_epoch=BATCHES)
    steps = runpy.run_path(str(root / SCRIPT))["prune"](other, SIDE, sgd(other), data, EPOCHS, TARGET)
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
    # Both mechanisms acted: protection changed what is selected, the pulse gave back, and steps took other channels.
    saved = [row["protected"] for row in pruner.history.rows]
    assert found[0] == sum(saved[:size]) > 0 and min(found[:4]) > 0 and min(restored[:3]) > 0
    for group, mask in zip(pruner.groups, pruner.masks, strict=True):
        for slot in group.others:
            if slot.attribute == "running_var":
                slot.tensor[slot.member.positions(mask)] = 0
    for (key, one), two in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(one, two), key
    small, removed = compact_masked(other, data[0][0])
    assert removed == int(pruned.sum())
    assert 1 - count_macs(small, data[0][0]) / pruner.cost.macs == reduction >= TARGET


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
