"""What suites cost: counted exactly, bounded by what was measured."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from psap.data.schema import Data
from psap.errors import PsapError
from psap.models import build
from psap.planning.estimate import Estimate
from psap.planning.gpus import GPUS, LAUNCH, UTILISATION
from psap.planning.workload import Images, count, images_of, launches_of_a_step
from psap.pruning.cost import count_macs, count_params
from psap.suites.grid import Grid, load_grid, load_grids, suite_files

MEASURED = ("demo", "design", "design-screen")


@pytest.fixture(scope="module")
def grids(root: Path) -> dict[str, Grid]:
    return load_grids(root / "params")


@pytest.fixture(autouse=True)
def without_prepared_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("suite", MEASURED)
def test_counts_what_committed_rows_have_measured(root: Path, grids: dict[str, Grid], suite: str) -> None:
    grid = grids[suite]
    estimate = Estimate(grid)
    rows = [json.loads(file.read_text()) for file in (root / "results" / suite).glob("**/run.json")]
    assert len(rows) == estimate.runs
    for row in rows:
        run, result, cost = grid.runs[row["run"]], row["result"], row["cost"]
        network = estimate.network(run)
        assert (network.macs, network.params) == (result["macs_dense"], result["params_dense"])
        assert estimate.trained(run) == result["images"]
        asked = estimate.request(run, gpu=False)
        assert asked.threads == 1
        assert asked.mem_mb > cost["peak_memory_mb"] and 60 * asked.minutes > cost["seconds"]


def test_layers_that_a_method_keeps_are_looked_up_before_any_job(root: Path, tmp_path: Path) -> None:
    """Networks need not be trained to see that a glob means nothing."""
    shutil.copytree(root / "params", tmp_path / "params")
    file = tmp_path / "params" / "demo.yaml"

    def planned(ignored: str) -> Estimate:
        text = (root / "params" / "demo.yaml").read_text()
        suite = yaml.safe_load(text)
        suite["variants"] = {"psap_kept": {"base": "psap", "ignore": [ignored], "ratios": {"layer3.*": [0, 0.5]}}}
        suite["methods"] = {"pretrained": [*suite["methods"]["pretrained"], "psap_kept"]}
        file.write_text(yaml.safe_dump(suite))
        return Estimate(load_grid(tmp_path / "params", "demo"))

    estimate = planned("conv1")
    runs = [run for run in estimate._grid.runs.values() if run.method == "psap_kept"]
    assert runs and all(estimate.network(run) for run in runs)
    assert runs[0].config.method.ignore == ("conv1",)
    wrong = planned("layer4")
    with pytest.raises(
        PsapError, match=r"params/demo.yaml: methods: psap_kept: ignore: 'layer4' means no layer .* mean"
    ):
        [wrong.network(run) for run in wrong._grid.runs.values()]


def test_the_work_of_a_run_is_exact(grids: dict[str, Grid]) -> None:
    grid = grids["cifar10-cpu-v1"]
    dense = grid.runs["cifar10-cpu-v1/resnet20/dense/seed0"]
    trained = 60 * (10_000 // 64) * 64
    assert Estimate(grid).work(dense) == 40_551_040 * (3 * trained + (60 // 4 + 1) * 10_000)
    chosen = grids["design"]  # 20 % of 50,000 images are validation, which is what it scores on
    run = chosen.runs["design/resnet20/pretrained/psap_2/0.5/seed0"]
    assert Estimate(chosen).work(run) == 40_551_040 * (3 * 8 * (3000 // 64) * 64 + (1 + 1) * 10_000)


def test_published_weights_train_nothing(grids: dict[str, Grid]) -> None:
    grid = grids["imagenet"]
    estimate = Estimate(grid)
    dense = grid.runs["imagenet/torchvision.resnet50/dense/seed0"]
    assert estimate.trained(dense) == 0
    assert estimate.work(dense) == 4_089_184_256 * 50_000
    trains = [run for run in grid.runs.values() if run.kind != "dense"]
    assert len(trains) == len(grid.runs) - 4
    parts = sum((3 if run.kind == "prune" else 2) * estimate.network(run).params for run in trains)
    assert estimate.state_bytes() == 2 * 4 * parts


def test_the_utilisation_is_that_of_its_source() -> None:
    macs = count("torchvision:resnet50", 1000, (3, 224, 224)).macs
    for images, peak, share in ((938, GPUS["A100"].single, "single"), (2470, GPUS["A100"].half, "half")):
        assert round(images * 3 * 2 * macs / (1e12 * peak), 2) == UTILISATION[share]


def test_gpu_hours_follow_work_and_peak(grids: dict[str, Grid]) -> None:
    estimate = Estimate(grids["imagenet"])
    run = grids["imagenet"].runs["imagenet/torchvision.resnet50/scratch/psap/0.53/seed0"]
    alone = [estimate.seconds(run, gpu) - 6 for gpu in GPUS.values()]
    assert alone == pytest.approx([2 * estimate.work(run) / (0.19e12 * gpu.half) for gpu in GPUS.values()])
    each = (estimate.seconds(run, GPUS["A100"]) for run in grids["imagenet"].runs.values())
    assert estimate.gpu_hours(GPUS["A100"]) == pytest.approx(sum(each) / 3600)


def test_no_step_is_faster_than_its_launches(grids: dict[str, Grid]) -> None:
    """Small networks on small images keep a GPU waiting: ResNet-20's step has over 200 kernels."""
    estimate = Estimate(grids["cifar10"])
    run = grids["cifar10"].runs["cifar10/resnet20/dense/seed0"]
    kernels = launches_of_a_step("resnet20", 10, (3, 32, 32))
    assert 200 < kernels < 300
    assert estimate.seconds(run, GPUS["H100"]) == pytest.approx(6 + 200 * 390 * kernels * LAUNCH, rel=1e-3)


@pytest.mark.parametrize("name", ["resnet20", "resnet20_b", "vgg16_bn", "timm:mobilenetv3_small_100"])
def test_counting_without_computing_counts_the_same(name: str) -> None:
    found, network = count(name, 10, (3, 32, 32)), build(name, 10, 3)
    assert (found.macs, found.params) == (count_macs(network, torch.zeros(1, 3, 32, 32)), count_params(network))
    assert found.outputs > 0


def test_a_network_that_does_not_take_the_images_is_one_line() -> None:
    with pytest.raises(PsapError, match="'timm:vit_tiny_patch16_224' does not take images of 3 x 96 x 96") as caught:
        count("timm:vit_tiny_patch16_224", 10, (3, 96, 96))
    assert "\n" not in str(caught.value)


def test_images_are_those_of_the_set_the_folder_or_the_manifest(tmp_path: Path) -> None:
    photos = {"size": 96, "classes": 10}
    ten = images_of(Data.model_validate({"source": "imagenet", "path": "x", "photos": photos}))
    assert ten == Images((3, 96, 96), 1000, 12_812, 500)
    folder = Data(source="folder", path="mine")
    assert images_of(folder) == images_of(Data(source="cifar10")), "nothing is known of a folder that is not here"
    for split, each in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            place = tmp_path / "mine" / split / name
            place.mkdir(parents=True)
            for i in range(each):
                Image.new("RGB", (24, 16)).save(place / f"{i}.png")
    assert images_of(folder) == Images((3, 16, 24), 2, 6, 4)
    seen = Data.model_validate({"source": "folder", "path": "mine", "photos": {"size": 48}})
    assert images_of(seen) == Images((3, 48, 48), 2, 6, 4)
    manifest = tmp_path / "data" / "digits.json"
    manifest.parent.mkdir()
    counts = {"train": {"a": 5, "b": 6}, "test": {"a": 1, "b": 1}}
    manifest.write_text(json.dumps({"image_shape": [8, 9, 1], "classes": ["a", "b"], "counts": counts}))
    assert images_of(Data(source="digits")) == Images((1, 8, 9), 2, 11, 2)
    manifest.write_text('{"counts": 3}')
    with pytest.raises(PsapError, match=r"digits\.json: damaged"):
        images_of(Data(source="digits"))


def test_photographs_on_a_gpu_ask_for_decoders(grids: dict[str, Grid]) -> None:
    grid = grids["imagenet"]
    estimate, run = Estimate(grid), grid.runs["imagenet/torchvision.resnet50/scratch/psap/0.53/seed0"]
    on_gpu, on_processor = (estimate.request(run, gpu) for gpu in (True, False))
    assert (on_gpu.threads, on_processor.threads) == (12, 1)
    decoding = estimate.trained(run) / (12 * 100)  # twelve workers at a hundred images a second
    assert on_gpu.minutes == math.ceil(3 * max(decoding, estimate.seconds(run, GPUS["A100"])) / 60)
    small = grids["demo"]
    assert Estimate(small).request(next(iter(small.runs.values())), gpu=True).threads == 1


def test_two_jobs_of_every_suite_for_a_processor_fit_into_24_gigabytes(grids: dict[str, Grid]) -> None:
    for name, grid in grids.items():
        if grid.suite.hardware == "cpu":
            asked = max(Estimate(grid).request(run, gpu=False).mem_mb for run in grid.runs.values())
            assert 2 * asked < 24_000, name


def test_full_is_no_name_for_a_suite(root: Path, tmp_path: Path) -> None:
    (tmp_path / "full.yaml").write_text((root / "params" / "demo.yaml").read_text())
    with pytest.raises(PsapError, match="rename the file"):
        suite_files(tmp_path)
    (tmp_path / "full.yaml").rename(tmp_path / "fuller.yaml")
    (tmp_path / "methods.yaml").write_text((root / "params" / "methods.yaml").read_text())
    assert load_grid(tmp_path, "fuller").name == "fuller"
