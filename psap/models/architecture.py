"""Networks on disk, without pickles: `model.safetensors` (weights) beside `architecture.json` (what they fit)."""

from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from torch import Tensor, nn

from psap.bounds import Classes, Model
from psap.errors import PsapError
from psap.files import regular, sha256, write_bytes, write_json
from psap.models import build, initialise
from psap.models.widths import Widths, set_widths, widths
from psap.reading import read_json

WEIGHTS, DESCRIPTION = "model.safetensors", "architecture.json"
IMAGE_SIZE = "image_size"  # key of `extra`: [height, width] of the images that the network is for


class Architecture(BaseModel):
    """The content of `architecture.json`. `sha256` is the digest of the weights' file; `extra` is the writer's."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: Model
    classes: Classes
    in_channels: Annotated[int, Field(gt=0, le=10**4)]
    sha256: str
    extra: dict[str, Any] = {}
    widths: Widths


def save(
    model: nn.Module,
    folder: Path,
    *,
    name: str,
    classes: int,
    in_channels: int,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write `model`, a network `name` with the widths it has now, to `folder`, atomically.

    The weights come first and the description, which holds their digest, last: whoever reads in between, or after
    a crash in between, is told that the two do not match.
    """
    # Clones, because safetensors refuses tensors that share memory.
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in model.state_dict().items()}
    content = safetensors.torch.save(tensors)
    described = Architecture(
        name=name,
        classes=classes,
        in_channels=in_channels,
        sha256=sha256(content),
        extra=extra or {},
        widths=widths(model),
    )
    write_bytes(folder / WEIGHTS, content)
    write_json(folder / DESCRIPTION, described.model_dump())


def files(folder: Path) -> list[Path]:
    """The files that `save` writes to `folder`."""
    return [folder / WEIGHTS, folder / DESCRIPTION]


def read(folder: Path) -> Architecture:
    """Read `folder`'s architecture.json. Raises PsapError when it is missing or not one."""
    file = folder / DESCRIPTION
    try:
        return read_json(file, Architecture, "save the network anew")
    except FileNotFoundError:
        raise PsapError(f"{file}: missing; a saved network is a folder with {WEIGHTS} and {DESCRIPTION}") from None


def load(folder: Path | str, expect_name: str | None = None) -> nn.Module:
    """Rebuild the network saved in `folder`, on the CPU and in training mode.

    Raises PsapError, naming the file: a missing, damaged or foreign file, a pair that does not belong together, or
    a network of another name than `expect_name`. Nothing is ever unpickled.
    """
    folder = Path(folder)
    described = read(folder)
    if expect_name not in (None, described.name):
        raise PsapError(f"{folder / DESCRIPTION}: a {described.name}, where a {expect_name} is expected")
    tensors = _read_weights(folder / WEIGHTS, described.sha256)
    model = _skeleton(described, folder / DESCRIPTION)
    try:
        model.load_state_dict(tensors, strict=True)
    except RuntimeError:
        raise PsapError(f"{folder / WEIGHTS}: its tensors are not those of {DESCRIPTION}; save it anew") from None
    return model


def build_like(source: Path | Architecture) -> nn.Module:
    """Build the same architecture with fresh weights; of a folder, only architecture.json is read."""
    described = source if isinstance(source, Architecture) else read(source)
    model = _skeleton(described, source / DESCRIPTION if isinstance(source, Path) else None)
    initialise(model)
    return model


def _skeleton(described: Architecture, file: Path | None) -> nn.Module:
    try:
        model = build(described.name, described.classes, described.in_channels)
        set_widths(model, described.widths)
    except PsapError as error:
        raise PsapError(f"{file or 'architecture'}: does not fit {described.name}: {error}") from None
    return model


def _read_weights(file: Path, digest: str) -> dict[str, Tensor]:
    try:
        content = regular(file).read_bytes()
    except FileNotFoundError:
        raise PsapError(f"{file}: missing, though {DESCRIPTION} is there; restore it or save it anew") from None
    if content[8:9] != b"{":  # after eight bytes of length, every safetensors header begins so
        raise PsapError(f"{file}: refused unread: not a safetensors file")
    if sha256(content) != digest:
        raise PsapError(f"{file}: refused unread: truncated, damaged or of another save (see {DESCRIPTION})")
    try:
        return safetensors.torch.load(content)
    except SafetensorError as error:
        raise PsapError(f"{file}: refused unread: not a safetensors file ({error})") from None
