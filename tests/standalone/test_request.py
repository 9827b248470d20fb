"""Orders of `psap prune`: what they come to, and what is refused before anything is written."""

import re
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml
from fixture_types import Psap
from numpy import asarray
from numpy.random import default_rng
from PIL import Image

from psap.data.dataset import load
from psap.data.sources import prepare
from psap.errors import PsapError
from psap.models import build
from psap.models.saved import save
from psap.pruning.method import Method
from psap.standalone.plan import Plan, make_plan
from psap.standalone.report import _rounding
from psap.standalone.request import PruneRequest
from psap.training.schema import Distillation
from psap.utils.mappings import JsonObject
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


def recipes(plan: Plan) -> list[tuple[int, float]]:
    found = (run.config.training.recipe for run in (plan.dense, plan.pruned))
    return [(recipe.epochs, recipe.lr) for recipe in found]


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
    assert found and found.mean == found.std == (0.5, 0.5, 0.5)
    told = make_plan(request(data=str(photos), size=32, mean=[0.1, 0.2, 0.3])).data.photos
    assert told and told.mean == (0.1, 0.2, 0.3) and told.std == (0.229, 0.224, 0.225)


PAGE = Path(__file__).parents[2] / "docs" / "prune.md"
MISTAKES = re.findall(r"^\| `([^`]*: [^`]*)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("values", "says"), MISTAKES)
def test_mistakes_are_told_as_the_page_shows(
    values: str, says: str, photos: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_what_cannot_be_is_one_line(
    values: JsonObject, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_layers_can_be_kept(psap: Psap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "request.yaml").write_text(
        "{model: resnet8, data: digits, target: 0.3, out: p, method: {ignore: [conv1], round_to: 4}}"
    )
    code, out, _ = psap("prune", "request.yaml", "--ratio", "layer3.*=0:0.25", "--dry-run")
    assert code == 0 and "conv1 stays whole: kept by ignore 'conv1'" in out
    assert "kept      conv1 whole; layer3.* loses 0 to 25 %" in out
    code, _, err = psap("prune", "request.yaml", "--ignore", "layer9", "--dry-run")
    assert (code, err) == (2, "psap: ignore: 'layer9' means no layer that makes channels; did you mean 'layer3'?\n")


ROUNDED = (
    "rounding  what remains of a group is a multiple of 8 channels, for which up to about 25 % more may go; exact "
    "counts: --round-to 1\n"
)


def test_channels_are_rounded_to_eight_unless_told_otherwise(psap: Psap) -> None:
    options = ["--model=resnet8", "--data=digits", "--out=new", "--dry-run"]
    code, said, _ = psap("prune", *options, "--target=0.5")
    assert code == 0 and ROUNDED in said
    assert psap("prune", *options, "--target=0.9")[0] == 2
    code, said, _ = psap("prune", *options, "--target=0.9", "--round-to=1")
    assert code == 0 and "rounding  none: exact channel counts" in said
    assert request().method.round_to == request(method={"window": 3}).method.round_to == 8
    assert request(method={"round_to": 1}).method.round_to == 1
    pruned = make_plan(request()).pruned.config.method
    assert isinstance(pruned, Method) and pruned.round_to == 8


def test_recovery_is_a_part_of_the_method(psap: Psap) -> None:
    options = ["--model=resnet8", "--data=digits", "--target=0.5", "--out=new", "--dry-run"]
    code, said, _ = psap("prune", *options, "--distill=0.7:2", "--ema=0.99")
    told = "learns from the dense network: weight 0.7, temperature 2; mean of the weights, decay 0.99"
    assert code == 0 and f"recovery  {told}" in said and "recovery" not in psap("prune", *options)[1]
    for word, says in (
        ("half", "--distill half: not of the form WEIGHT:TEMPERATURE, such as 0.5:4"),
        ("0:4", "options: method.distill.weight: Input should be greater than 0"),
    ):
        code, _, err = psap("prune", *options, f"--distill={word}")
        assert code == 2 and err.startswith(f"psap: {says}") and err.count("\n") == 1
    plan = make_plan(request(method={"distill": {}, "ema": 0.9}))
    before, pruning = (run.config.training.recipe for run in (plan.dense, plan.pruned))
    assert pruning.distill == Distillation() and pruning.ema == 0.9
    assert (before.distill, before.ema) == (None, None), "it has none to learn from"


def test_the_report_of_a_request_with_bounds_of_its_own(tmp_path: Path) -> None:
    """Its target is out of reach within the usual bounds."""
    plan = make_plan(request(target=0.987, method={"bounds": {"max_ratio": 0.97}, "round_to": 2}))
    assert _rounding(plan).keys() == {"rounded", "free"}


def test_the_plan_names_what_passes_norms(photos: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos.parent)
    options = ["--model=timm:test_vit", "--data=photos", "--target=0.6", "--out=new", "--dry-run"]
    code, said, _ = psap("prune", *options, "--through-norms")
    assert code == 0 and "norms     patch_embed.proj passes norms, which leave its pruned channels out" in said
    assert "norms     " not in psap("prune", *options)[1]


def test_a_dry_run_reads_every_image_and_writes_nothing(
    photos: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_a_dry_run_lists_every_bad_image_and_what_it_passes_over(
    photos: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    bad = [photos / name / f"{i}.png" for name in ("ant", "bee", "cow") for i in range(4)]
    for file in bad:
        file.write_bytes(file.read_bytes()[:60])
    for name in ("notes.txt", "more.txt", "film.mp4"):
        (photos / "ant" / name).write_text("")
    options = ["--model=resnet8", "--data=photos", "--size=32", "--target=0.5", "--out=new", "--dry-run"]
    code, out, err = psap("prune", *options)
    assert code == 2 and "psap: 12 files cannot be used as images" in err and err.endswith("; and 2 more\n")
    assert all(str(file.relative_to(photos.parent)) in out + err for file in bad) and out.count("also photos/") == 2
    assert "3 files that are no images by their names passed over (2 .txt, 1 .mp4)" in err


def test_photographs_are_turned_as_the_camera_says(photos: Path, tmp_path: Path) -> None:
    """Orientation 6: the camera lay on its side. A wide photograph is a tall one."""
    pixels = default_rng(1).integers(0, 255, (40, 60, 3), dtype="uint8")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(photos / "ant" / "0.png", exif=exif)
    prepare("folder", str(photos), tmp_path / "d.safetensors", as_photos=True)
    data = load(tmp_path / "d.safetensors", photos)
    files = [(split.images, n) for split in (data.train, data.test) for n in range(len(split))]
    (found,) = [images.decode(n) for images, n in files if images.path(n) == photos / "ant" / "0.png"]
    assert found.size == (40, 60) and (asarray(found) == pixels[::-1].transpose(1, 0, 2)).all()


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """Weights of torchvision's mobilenet_v3_small where torch keeps its downloads."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("PSAP_WEIGHTS", raising=False)
    file = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    file.parent.mkdir(parents=True)
    torch.manual_seed(3)
    torch.save(state := build("torchvision:mobilenet_v3_small", 1000).state_dict(), file)
    return state


def test_from_published_weights_to_a_report(
    photos: Path, cached: dict[str, torch.Tensor], psap: Psap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    options = ["--model=torchvision:mobilenet_v3_small", "--weights=published", "--data=photos", "--size=32"]
    training = ["--target=0.3", "--epochs=1", "--dense-epochs=1", "--out=small"]
    code, said, err = psap("prune", *options, *training)
    assert code == 0, err
    assert re.search(r"weights +\S+mobilenet_v3_small-047dcff4.pth, but for the head, which is new", said)
    assert {"report.html", "README.md", "model.safetensors"} <= {file.name for file in Path("small").iterdir()}
    plan = make_plan(
        request(model="torchvision:mobilenet_v3_small", weights="published", data="photos", size=32, target=0.3)
    )
    before, after = cached, plan.start.model.state_dict()
    assert {key for key in after if not torch.equal(after[key], before[key])} == {
        *("classifier.3.weight", "classifier.3.bias")
    }


def test_published_weights_that_are_not_there(tmp_path: Path, psap: Psap, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for model, says in (
        ("torchvision:resnet18", "its weights are not on this machine and could not be downloaded"),
        ("resnet8", "resnet8 has no published weights"),
    ):
        options = [f"--model={model}", "--weights=published", "--data=cifar10", "--target=0.5", "--out=o", "--dry-run"]
        code, _, err = psap("prune", *options)
        assert code == 2 and says in err and err.splitlines()[-1].startswith("psap: ")
        assert "Traceback" not in err


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_checkpoints_of_others_are_weights(prefix: str, tmp_path: Path) -> None:
    given = build("resnet8", 10, 1).state_dict()
    state = {prefix + key: tensor for key, tensor in given.items()} | {"loss.weight": torch.ones(10)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
    plan = make_plan(request(weights=str(tmp_path / "last.ckpt"), epochs=3))
    assert plan.start.fits and all(map(torch.equal, plan.start.model.state_dict().values(), given.values()))
    del state[f"{prefix}linear.bias"], state[f"{prefix}linear.weight"]
    head = build("resnet8", 7, 1).get_submodule("linear").state_dict()
    torch.save({"state_dict": state | {f"{prefix}linear.{key}": t for key, t in head.items()}}, tmp_path / "last.ckpt")
    assert "but for the head, which is new" in make_plan(request(weights=str(tmp_path / "last.ckpt"))).start.description


def test_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(build("resnet20", 10, 1).state_dict(), tmp_path / "w.pt")
    with pytest.raises(PsapError, match=r"w\.pt: not the weights of resnet8 with 10 classes \(layer\S+ is not in this"):
        make_plan(request(weights=str(tmp_path / "w.pt")))
    save(build("resnet8", 7, 1), tmp_path / "net", name="resnet8", classes=7, in_channels=1)
    with pytest.raises(PsapError, match="net: for 7 classes and 1 colour channels; the data have 10 and 1"):
        make_plan(request(weights=str(tmp_path / "net")))
