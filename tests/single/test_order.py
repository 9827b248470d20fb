"""Orders of `psap prune`: what they come to, and what is refused before anything is written."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from numpy.random import default_rng
from PIL import Image

from psap.cli import main
from psap.errors import PsapError
from psap.models import build
from psap.models.architecture import save
from psap.reading import validated
from psap.single.order import Order
from psap.single.plan import planned


def order(**values: object) -> Order:
    return validated(Order, {"model": "resnet8", "data": "digits", "target": 0.5, "out": "new"} | values, "options")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three classes of six photographs of different sizes."""
    numbers = default_rng(0)
    for label in ("ant", "bee", "cow"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(6):
            pixels = numbers.integers(0, 255, (40 + i, 50, 3), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


def recipes(plan) -> list[tuple[int, float]]:
    found = (run.config["training"]["recipe"] for run in (plan.dense, plan.pruned))
    return [(recipe["epochs"], recipe["lr"]) for recipe in found]


def test_from_nothing_the_network_is_trained_first() -> None:
    plan = planned(order(epochs=7))
    assert recipes(plan) == [(7, 0.1), (7, 0.05)]
    assert recipes(planned(order(epochs=7, dense_epochs=2, lr=0.3))) == [(2, 0.1), (7, 0.3)]
    assert plan.images.shape == (1, 8, 8) and plan.images.classes == 10


def test_weights_that_fit_are_pruned_as_they_are(tmp_path: Path) -> None:
    given = build("resnet8", 10, 1)
    safetensors.torch.save_file(given.state_dict(), tmp_path / "w.safetensors")
    save(given, tmp_path / "net", name="resnet8", classes=10, in_channels=1)
    for weights in ("w.safetensors", "net"):
        plan = planned(order(weights=str(tmp_path / weights), epochs=3))
        assert recipes(plan) == [(0, 0.0), (3, 0.01)]
        assert all(map(torch.equal, plan.start.model.state_dict().values(), given.state_dict().values()))


def test_a_head_for_other_classes_is_replaced_and_trained_first(photos: Path, tmp_path: Path) -> None:
    given = build("resnet8", 10)
    torch.save(given.state_dict(), tmp_path / "w.pt")
    plan = planned(order(data=str(photos), size=32, weights=str(tmp_path / "w.pt"), epochs=3))
    assert recipes(plan) == [(3, 0.01), (3, 0.01)] and "but for the head, which is new" in plan.start.told
    before, after = given.state_dict(), plan.start.model.state_dict()
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"linear.weight", "linear.bias"}
    assert (plan.images.train, plan.images.test, plan.images.classes) == (15, 3, 3)


def test_images_are_normalised_as_the_networks_own_weights_want(photos: Path) -> None:
    found = planned(order(model="timm:tf_efficientnet_lite0", data=str(photos), size=64, target=0.3)).data.photos
    assert found.mean == found.std == (0.5, 0.5, 0.5)
    told = planned(order(data=str(photos), size=32, mean=[0.1, 0.2, 0.3])).data.photos
    assert told.mean == (0.1, 0.2, 0.3) and told.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"target": 1.5}, "options: target: Input should be less than 1, not 1.5"),
        ({"epochs": 0}, "options: epochs"),
        ({"epoch": 3}, "options: epoch: unknown key; did you mean 'epochs'"),
        ({"target": 0.999}, r"target 0\.999 of the multiply-adds cannot be met"),
        ({"model": "resnet9"}, "unknown model 'resnet9'"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"weights": "nowhere.pt"}, "nowhere.pt: not a file of weights"),
        ({"model": "timm:vit_tiny_patch16_224"}, "does not take images of 1 x 8 x 8"),
    ],
)
def test_what_cannot_be_is_one_line(values: dict, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PsapError, match=says) as caught:
        planned(order(**values))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(build("resnet20", 10, 1).state_dict(), tmp_path / "w.pt")
    with pytest.raises(PsapError, match=r"w\.pt: not the weights of resnet8 with 10 classes \(layer\S+ is not in this"):
        planned(order(weights=str(tmp_path / "w.pt")))
    save(build("resnet8", 7, 1), tmp_path / "net", name="resnet8", classes=7, in_channels=1)
    with pytest.raises(PsapError, match="net: for 7 classes and 1 colour channels; the data have 10 and 1"):
        planned(order(weights=str(tmp_path / "net")))


def test_too_few_images_and_images_that_cannot_be_read(photos: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    def refused() -> str:
        command = f"psap prune --model resnet8 --size 32 --target 0.5 --epochs 1 --data {photos} --out {tmp_path}/new"
        monkeypatch.setattr("sys.argv", command.split())
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert stop.value.code == 2
        return said

    image = photos / "bee" / "3.png"
    image.write_bytes(image.read_bytes()[:60])
    assert refused().startswith(f"psap: {image}: damaged, truncated or not an image")
    for file in sorted((photos / "bee").iterdir())[:2]:
        file.unlink()
    assert refused().startswith(f"psap: {photos}/bee: 4 images are too few to hold out one in 5")
