"""What a user asks of `psap prune`, and the two runs that it comes to: the dense network, and the pruned one."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from psap.data.schema import Colour, Data, Photos
from psap.models.preprocessing import described
from psap.pruning.method import Method
from psap.suites.grid import Grid, Run
from psap.suites.schema import MethodConfig, MethodPair, Suite, Target, Training
from psap.training.schema import Recipe
from psap.utils.bounds import Batch, Epochs, Model, Penalty, Pixels, Place, Precision, Rate, Seed
from psap.utils.mappings import JsonObject
from psap.utils.sections import Section

# Data sets by name, with the augmentation that is usual for them; anything else is a folder of photographs.
_NAMED: dict[str, JsonObject] = {"digits": {"pad": 1}, "cifar10": {"pad": 4, "flip": True}}
_RATE = {"weights": 0.01, "new": 0.05}  # of the pruning, from weights that were given or trained here
_RATE_FROM_NOTHING = 0.1
_ROUND_TO = 8  # channels, which kernels like; suites and the library count exactly
PUBLISHED = "published"  # weights, by which those of the network's library are meant


class PruneRequest(Section):
    """One network to prune: the options of `psap prune`, and the keys of its YAML file."""

    model: Model
    """Name of a network: our own, `timm:<name>` or `torchvision:<name>`."""
    data: Place
    """`digits`, `cifar10`, or a folder of photographs: `train/<class>/*` and `val/<class>/*` (or `test/`), or
    `<class>/*`, of which a fifth is held out.
    """
    target: Target
    """Share of `measure` to remove."""
    out: Place
    """The folder to write."""
    weights: Place | None = None
    """A file of weights or a checkpoint, the folder of a saved network, or `published`: those that timm or torchvision
    publish. Without it the network is trained from new weights.
    """
    epochs: Epochs = 30
    """Number of pruning epochs."""
    dense_epochs: Annotated[int, Field(ge=0, le=10**5)] | None = None
    """Number of epochs to train before pruning. Default: none where the weights fit the classes, else `epochs`."""
    size: Pixels | None = None
    """Pixels of a photograph's side (default: those of the network's published weights)."""
    mean: Colour | None = None
    """By channel, for pixels in 0..1 (default: that of the network's published weights)."""
    std: Colour | None = None
    """By channel, for pixels in 0..1 (default: that of the network's published weights)."""
    measure: Literal["macs", "params"] = "macs"
    """What the target is a share of: multiply-adds or parameters."""
    method: MethodConfig = MethodConfig(round_to=_ROUND_TO)
    """As in `methods.yaml`, without `scratch`; PSAP by default. Its `round_to` is 8 by default."""
    batch_size: Batch = 32
    """Number of images in an optimiser's step."""
    lr: Rate | None = None
    """Learning rate of pruning (default: 0.01 with weights, 0.05 without). The training before has the same, or 0.1
    without weights.
    """
    weight_decay: Penalty = 1e-4
    """Weight decay, on all parameters."""
    precision: Precision = "float32"
    """As in a suite's training."""
    seed: Seed = 0
    """Seed of everything random."""

    @field_validator("method")
    @classmethod
    def _rounded(cls, method: MethodConfig) -> MethodConfig:
        return method if "round_to" in method.model_fields_set else method.model_copy(update={"round_to": _ROUND_TO})

    def photographs(self) -> bool:
        """Whether the data are a folder of photographs."""
        return self.data not in _NAMED


def in_words(method: MethodConfig) -> str:
    """The method by what it does: by the name of PSAP where its parts are PSAP's, with the settings that differ."""
    own, psap = method.identity(), MethodConfig().identity()
    parts = ("criterion", "allocation", "reconstruction")
    if any(own[part] != psap[part] for part in parts):
        return ", ".join(f"{part} {own[part]}" for part in parts) + f", schedule {method.schedule.kind}"
    name = "Protective Self-Adaptive Pruning (arXiv:2303.11881; what the code makes of it: docs/method.md)"
    differing = [key for key in psap if own.get(key) != psap[key] and key in Method.model_fields]
    return f"{name}, with {', '.join(differing)} other than its defaults" if differing else name


def recovery_in_words(method: MethodConfig) -> str:
    """What accuracy is brought back by, beside the labels; empty where there is nothing."""
    words = []
    if taught := method.distill:
        words.append(f"learns from the dense network: weight {taught.weight:g}, temperature {taught.temperature:g}")
    if method.ema:
        words.append(f"mean of the weights, decay {method.ema:g}")
    return "; ".join(words)


def kept_in_words(method: MethodConfig) -> str:
    """The layers that the method keeps whole or within bounds of their own; empty where there are none."""
    whole = [f"{', '.join(method.ignore)} whole"] if method.ignore else []
    bounded = [f"{glob} loses {100 * low:g} to {100 * high:g} %" for glob, (low, high) in method.ratios.items()]
    return "; ".join(whole + bounded)


def data_of(request: PruneRequest) -> Data:
    """The section `data` of the request's runs; what it leaves open of images is what the network's library says."""
    if not request.photographs():
        return Data(source=request.data, **_NAMED[request.data])
    told = described(request.model)
    chosen = {name: value for name in ("size", "mean", "std") if (value := getattr(request, name) or told.get(name))}
    photos = Photos(**chosen, min_area=0.35)
    return Data(source="folder", path=request.data, flip=True, photos=photos)


def runs_of(request: PruneRequest, data: Data, fits: bool) -> tuple[Run, Run]:
    """The dense run and the pruned one; `fits`: whether weights were given and fit the data's classes."""
    given = request.weights is not None
    dense_epochs = request.dense_epochs if request.dense_epochs is not None else 0 if fits else request.epochs
    lr = request.lr or _RATE["weights" if given else "new"]
    before = Recipe(epochs=dense_epochs, lr=lr if given else _RATE_FROM_NOTHING) if dense_epochs else None
    pruning = Recipe(epochs=request.epochs, lr=lr)
    suite = Suite(
        title=f"{request.model} on {request.data}",
        data=data,
        models=(request.model,),
        methods={"pretrained": ("psap",)},
        targets=(request.target,),
        measure=request.measure,
        seeds=(request.seed,),
        training=Training(
            batch_size=request.batch_size,
            weight_decay=request.weight_decay,
            precision=request.precision,
            dense=before,
            pretrained=pruning,
            scratch=pruning,
        ),
    )
    dense, pruned = Grid("prune", suite, {"psap": MethodPair(request.method, request.method)}).runs.values()
    return dense, pruned
