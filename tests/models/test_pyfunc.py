"""What MLflow loads scores images as the evaluation of its training did."""

from pathlib import Path

import pytest
import torch

from psap.data.batches import Batches
from psap.data.dataset import Split
from psap.errors import PsapError
from psap.models import build
from psap.models.architecture import PREPROCESSING
from psap.models.pyfunc import _load_pyfunc
from psap.models.saved import save


def saved(folder: Path, **extra: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build("resnet8", 4, 3).eval()
    save(model, folder, name="resnet8", classes=4, in_channels=3, extra=extra)
    return model


def test_it_prepares_images_as_the_evaluation_does(tmp_path: Path) -> None:
    mean, std = [0.1, 0.5, 0.7], [0.2, 0.3, 0.4]
    model = saved(tmp_path, **{PREPROCESSING: {"size": [8, 8], "mean": mean, "std": std}})
    images = torch.randint(256, (5, 8, 8, 3), dtype=torch.uint8)
    ((prepared, _),) = Batches(Split(images, torch.zeros(5, dtype=torch.int64)), 5, mean, std, train=False).epoch(0)
    with torch.no_grad():
        expected = model(prepared)
    found = _load_pyfunc(str(tmp_path)).predict(images.numpy())
    assert found.shape == (5, 4) and found.dtype == "float32"
    torch.testing.assert_close(torch.from_numpy(found), expected)


def test_a_network_that_does_not_say_how_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(PsapError, match=r"does not say how an image becomes the network's input; psap\.load"):
        _load_pyfunc(str(tmp_path))
