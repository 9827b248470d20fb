import pytest
import torch
from layer_helpers import layer
from narrow_helpers import fill, narrowed
from torch import nn

from psap.errors import PsapError
from psap.layers import PadShortcut
from psap.models import build, initialise


def fresh(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    initialise(model)
    return {key: tensor.clone() for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    "name", ["resnet20", "resnet20_b", "vgg16_bn", "timm:efficientnet_b0", "torchvision:mobilenet_v2"]
)
def test_the_seed_alone_decides_whatever_was_there_before(name: str) -> None:
    one, other = build(name, 10), build(name, 10)
    fill(one)
    objects = dict(one.named_parameters())
    first, second = fresh(one, 3), fresh(other, 3)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(p is objects[key] for key, p in one.named_parameters())
    conv = next(key for key, p in one.named_parameters() if p.dim() == 4)
    assert not torch.equal(first[conv], fresh(one, 4)[conv])


def test_batch_norm_statistics_are_reset_and_wiring_stays() -> None:
    model = narrowed("resnet20", build("resnet20", 10))
    shortcut = layer(model, "layer2.0.shortcut", PadShortcut)
    wiring = shortcut.source.clone(), shortcut.gain.clone()
    state = fresh(model, 0)
    assert torch.equal(shortcut.source, wiring[0]) and torch.equal(shortcut.gain, wiring[1])
    assert 0 in shortcut.gain
    for key, tensor in state.items():
        if key.endswith(("running_mean", "num_batches_tracked", "bn1.bias", "bn2.bias")):
            assert (tensor == 0).all(), key
        elif key.endswith(("running_var", "bn1.weight", "bn2.weight")):
            assert (tensor == 1).all(), key


def test_depthwise_convolutions_count_their_own_fan_out() -> None:
    conv = nn.Conv2d(512, 512, 3, groups=512)
    initialise(conv)
    assert conv.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert conv.bias is not None
    assert (conv.bias == 0).all()


def test_a_parameter_that_would_keep_its_value_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_parameter("token", nn.Parameter(torch.ones(3)))
    with pytest.raises(PsapError, match="cannot initialise layer '': Sequential has no known default"):
        initialise(model)
