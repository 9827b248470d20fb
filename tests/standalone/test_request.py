"""Orders of `psap prune`: what they come to, and what is refused before anything is written."""

import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from numpy.random import default_rng
from PIL import Image

from psap.errors import PsapError
from psap.models import build
from psap.models.saved import save
from psap.standalone.plan import make_plan
from psap.standalone.request import PruneRequest
from psap.utils.validation import validated


def request(**values: object) -> PruneRequest:
    return validated(
        PruneRequest, {"model": "resnet8", "data": "digits", "target": 0.5, "out": "new"} | values, "options"
    )


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
    plan = make_plan(request(epochs=7))
    assert recipes(plan) == [(7, 0.1), (7, 0.05)]
    assert recipes(make_plan(request(epochs=7, dense_epochs=2, lr=0.3))) == [(2, 0.1), (7, 0.3)]
    assert plan.images.shape == (1, 8, 8) and plan.images.classes == 10


def test_weights_that_fit_are_pruned_as_they_are(tmp_path: Path) -> None:
    given = build("resnet8", 10, 1)
    safetensors.torch.save_file(given.state_dict(), tmp_path / "w.safetensors")
    save(given, tmp_path / "net", name="resnet8", classes=10, in_channels=1)
    for weights in ("w.safetensors", "net"):
        plan = make_plan(request(weights=str(tmp_path / weights), epochs=3))
        assert recipes(plan) == [(0, 0.0), (3, 0.01)]
        assert all(map(torch.equal, plan.start.model.state_dict().values(), given.state_dict().values()))


def test_a_head_for_other_classes_is_replaced_and_trained_first(photos: Path, tmp_path: Path) -> None:
    given = build("resnet8", 10)
    torch.save(given.state_dict(), tmp_path / "w.pt")
    plan = make_plan(request(data=str(photos), size=32, weights=str(tmp_path / "w.pt"), epochs=3))
    assert recipes(plan) == [(3, 0.01), (3, 0.01)] and "but for the head, which is new" in plan.start.description
    before, after = given.state_dict(), plan.start.model.state_dict()
    assert {key for key in after if not torch.equal(after[key], before[key])} == {"linear.weight", "linear.bias"}
    assert (plan.images.train, plan.images.test, plan.images.classes) == (15, 3, 3)


def test_images_are_normalised_as_the_networks_own_weights_want(photos: Path) -> None:
    found = make_plan(request(model="timm:tf_efficientnet_lite0", data=str(photos), size=64, target=0.3)).data.photos
    assert found.mean == found.std == (0.5, 0.5, 0.5)
    told = make_plan(request(data=str(photos), size=32, mean=[0.1, 0.2, 0.3])).data.photos
    assert told.mean == (0.1, 0.2, 0.3) and told.std == (0.229, 0.224, 0.225)


PAGE = Path(__file__).parents[2] / "docs" / "prune.md"
MISTAKES = re.findall(r"^\| `([^`]*: [^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("values", "says"), MISTAKES)
def test_mistakes_are_told_as_the_page_shows(values: str, says: str, photos: Path, psap, monkeypatch) -> None:
    monkeypatch.chdir(photos.parent)
    for name in ("few", "broken"):
        shutil.copytree(photos, photos.with_name(name))
    for file in sorted(Path("few/bee").iterdir())[:2]:
        file.unlink()
    cut = Path("broken/bee/3.png")
    cut.write_bytes(cut.read_bytes()[:60])
    defaults = {"model": "resnet8", "data": "digits", "target": 0.5, "out": "new"}
    options = [f"--{name}={value}" for name, value in (defaults | yaml.safe_load(values)).items()]
    code, _, err = psap("prune", *options)
    assert err.splitlines()[-1] == f"psap: {says}" and code == 2


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"epochs": 0}, "options: epochs"),
        ({"epoch": 3}, "options: epoch: unknown key; did you mean 'epochs'"),
        ({"method": {"windw": 3, "criterion": 5}}, r"options: method\.windw: unknown key; did you mean 'window'"),
    ],
)
def test_what_cannot_be_is_one_line(values: dict, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PsapError, match=says) as caught:
        make_plan(request(**values))
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("misspelt", "right"), [("traget", "target"), ("modle", "model"), ("date", "data"), ("otu", "out")]
)
def test_a_misspelt_key_is_told_before_the_one_that_is_missing(misspelt: str, right: str) -> None:
    values = {"model": "resnet8", "data": "digits", "target": 0.5, "out": "new"}
    values[misspelt] = values.pop(right)
    with pytest.raises(PsapError, match=f"^options: {misspelt}: unknown key; did you mean '{right}'"):
        validated(PruneRequest, values, "options")
    del values[misspelt]
    with pytest.raises(PsapError, match=f"^options: {right}: Field required"):
        validated(PruneRequest, values, "options")


def test_a_dry_run_reads_every_image_and_writes_nothing(photos: Path, psap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    options = ["--model=resnet8", "--data=photos", "--size=32", "--target=0.5", "--out=new", "--dry-run"]
    code, said, _ = psap("prune", *options)
    assert code == 0 and "15 images to train on, 3 held out" in said
    for name in ("ant/0.png", "cow/5.png"):
        (photos / name).write_text("no image")
    code, _, err = psap("prune", *options)
    assert code == 2 and err.startswith("psap: 2 files cannot be used as images") and err.count("\n") == 1
    assert "photos/ant/0.png" in err and "photos/cow/5.png" in err
    assert [file.name for file in photos.parent.iterdir()] == ["photos"]


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(build("resnet20", 10, 1).state_dict(), tmp_path / "w.pt")
    with pytest.raises(PsapError, match=r"w\.pt: not the weights of resnet8 with 10 classes \(layer\S+ is not in this"):
        make_plan(request(weights=str(tmp_path / "w.pt")))
    save(build("resnet8", 7, 1), tmp_path / "net", name="resnet8", classes=7, in_channels=1)
    with pytest.raises(PsapError, match="net: for 7 classes and 1 colour channels; the data have 10 and 1"):
        make_plan(request(weights=str(tmp_path / "net")))
