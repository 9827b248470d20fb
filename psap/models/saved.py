"""Networks on disk, without pickles: `model.safetensors` (weights) beside `architecture.json` (what they fit)."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from psap.errors import PsapError
from psap.models import build, initialise
from psap.models.architecture import DESCRIPTION, DIVERGED, IMAGE_SIZE, OWN, WEIGHTS, Architecture, Widths, read
from psap.models.state_dicts import load_into
from psap.models.widths import differing, set_widths, widths
from psap.utils.files import free_memory, regular, seal, sha256, write_bytes, write_json
from psap.utils.mappings import JsonObject
from psap.utils.passes import forward, gap, tensors

_TOLERANCE = 1e-9  # of the largest output, in float64


def save(
    model: nn.Module,
    folder: Path,
    *,
    name: str,
    classes: int,
    in_channels: int,
    extra: JsonObject | None = None,
) -> None:
    """Write a network to a folder, atomically, with the widths that it has now.

    What cannot be loaded is not written: before anything is, the network is built again from what the files will hold,
    and compared. The weights come first and the description, which holds their digest, last: whoever reads in between,
    or after a crash in between, is told that the two do not match.

    Args:
        model: The network.
        folder: Where to write `model.safetensors` and `architecture.json`.
        name: The name that `build` knows the network by.
        classes: Number of classes.
        in_channels: Channels of an image.
        extra: What else the description is to say.

    Raises:
        PsapError: Where the network is another one than `name`, or cannot be built.
    """
    about = {"name": name, "classes": classes, "in_channels": in_channels, "extra": extra or {}}
    write_checked(model, folder, lambda: build(name, classes, in_channels), about)


def write_checked(model: nn.Module, folder: Path, fresh: Callable[[], nn.Module], about: Mapping[str, object]) -> None:
    """As `save` does, a network that `fresh` builds at its full widths; `about`: what is said of it."""
    # Clones, because safetensors refuses tensors that share memory.
    own = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in model.state_dict().items()}
    content = safetensors.torch.save(own)
    described = Architecture.model_validate({"sha256": sha256(content), "widths": widths(model), **about})
    try:
        with torch.random.fork_rng(devices=[]):  # a training that goes on must not notice
            again = _again(described, content, folder, fresh())
            if attributes := differing(model, again):
                shaped = described.widths.model_copy(update={"attributes": attributes})
                described = described.model_copy(update={"widths": shaped})
                again = _again(described, content, folder, fresh())
            _check(model, again, described)
    except PsapError as error:
        raise PsapError(f"{folder}: not written, for it could not be loaded: {error}") from None
    _write(folder, content, described)


def _again(described: Architecture, content: bytes, folder: Path, fresh: nn.Module) -> nn.Module:
    return _restored(Architecture.model_validate_json(described.model_dump_json()), content, folder, fresh)


def save_none(folder: Path, name: str, classes: int, in_channels: int, why: str) -> None:
    """Write to `folder` that there is no network `name`: weights without a tensor, and `why` in the description."""
    content = safetensors.torch.save({})
    described = Architecture(
        name=name,
        classes=classes,
        in_channels=in_channels,
        sha256=sha256(content),
        extra={DIVERGED: why},
        widths=Widths(shapes={}),
    )
    _write(folder, content, described)


def _write(folder: Path, content: bytes, described: Architecture) -> None:
    write_bytes(folder / WEIGHTS, content)
    content_of_it = described.model_dump()
    write_json(folder / DESCRIPTION, content_of_it | {"seal": seal(content_of_it)})


def load(folder: Path | str, expect_name: str | None = None, into: nn.Module | None = None) -> nn.Module:
    """Rebuild a saved network, on the CPU and in training mode. Nothing is ever unpickled.

    Args:
        folder: The folder that it was saved to.
        expect_name: The name that it must have (default: any).
        into: For a network of a class of your own, which `psap.save` has written: a fresh one, made as it was before it
            was pruned. It gets the saved widths and weights.

    Returns:
        The network, with the widths that it was saved with; `into`, where that is given.

    Raises:
        PsapError: For a missing, damaged or foreign file, a pair that does not belong together, or another name. The
            message names the file.
    """
    folder = Path(folder)
    described = read(folder)
    if expect_name not in (None, described.name):
        raise PsapError(f"{folder / DESCRIPTION}: a {described.name}, where a {expect_name} is expected")
    return _restored(described, _read_weights(folder / WEIGHTS), folder, into)


def build_like(source: Path | Architecture) -> nn.Module:
    """Build the same architecture with fresh weights; of a folder, only architecture.json is read."""
    described = source if isinstance(source, Architecture) else read(source)
    model = _skeleton(described, source / DESCRIPTION if isinstance(source, Path) else None)
    initialise(model)
    return model


def _skeleton(described: Architecture, file: Path | None, into: nn.Module | None = None) -> nn.Module:
    if why := described.extra.get(DIVERGED):
        raise PsapError(f"{file or 'architecture'}: there is no network: {why}")
    if into is None and described.name.startswith(OWN):
        kind = described.name.removeprefix(OWN)
        raise PsapError(f"{file or 'architecture'}: of your own class {kind}; psap.load(folder, into={kind}(...))")
    try:
        model = into or build(described.name, described.classes, described.in_channels)
        set_widths(model, described.widths)
    except PsapError as error:
        raise PsapError(f"{file or 'architecture'}: does not fit {described.name}: {error}") from None
    return model


def _restored(described: Architecture, content: bytes, folder: Path, into: nn.Module | None) -> nn.Module:
    """The network that `content`, of the weights' file in `folder`, is of. Raises PsapError where it is of none."""
    weights = _tensors(content, described.sha256, folder / WEIGHTS)
    model = _skeleton(described, folder / DESCRIPTION, into)
    try:
        load_into(model, weights)
    except (RuntimeError, ValueError):
        raise PsapError(f"{folder / WEIGHTS}: its tensors are not those of {DESCRIPTION}; save it again") from None
    return model


@torch.no_grad()
def _check(model: nn.Module, again: nn.Module, described: Architecture) -> None:
    """Raise PsapError unless both have the same tensors and, where the size of images is known, the same outputs."""
    found = again.state_dict()
    for key, tensor in model.state_dict().items():
        if tensor.dtype != found[key].dtype:
            raise PsapError(f"{key} is {tensor.dtype}, and would come back as {found[key].dtype}; convert it first")
        if not torch.allclose(tensor.cpu(), found[key], rtol=0, atol=0, equal_nan=True):  # NaN: of a diverged training
            raise PsapError(f"{key} would come back with other numbers")
    if IMAGE_SIZE not in described.extra:
        return
    numbers = torch.Generator().manual_seed(0)
    image = torch.randn(1, described.in_channels, *described.extra[IMAGE_SIZE], generator=numbers).double()
    networks = (copy.deepcopy(network).cpu().double().eval() for network in (model, again))
    before, after = (tensors(forward(network, image)) for network in networks)
    if all(bool(tensor.isfinite().all()) for tensor in before) and gap(before, after) > _TOLERANCE:
        raise PsapError("its outputs would be others")


def _read_weights(file: Path) -> bytes:
    try:
        return regular(file, free_memory()).read_bytes()
    except FileNotFoundError:
        raise PsapError(f"{file}: missing, though {DESCRIPTION} is there; restore it or save it again") from None


def _tensors(content: bytes, digest: str, file: Path) -> dict[str, Tensor]:
    if content[8:9] != b"{":  # after eight bytes of length, every safetensors header begins so
        raise PsapError(f"{file}: refused unread: not a safetensors file")
    if sha256(content) != digest:
        raise PsapError(f"{file}: refused unread: truncated, damaged or of another save (see {DESCRIPTION})")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise PsapError(f"{file}: refused unread: not a safetensors file ({error})") from None
