"""The description of a saved network, `architecture.json`: what its weights beside it fit, and whether they do.

Without torch, whose import takes longer than a workflow's look at its networks.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
)

from psap.errors import PsapError
from psap.utils.bounds import Count, Model
from psap.utils.files import free_memory, regular, seal, sha256
from psap.utils.mappings import JsonObject
from psap.utils.validation import read_json

WEIGHTS, DESCRIPTION = "model.safetensors", "architecture.json"
# Keys of `extra`: [height, width] of the images that the network is for, how they become its input, and its classes.
IMAGE_SIZE, PREPROCESSING, CLASS_NAMES = "image_size", "preprocessing", "class_names"
OWN = "own:"  # before the name of a user's own class
DIVERGED = "diverged"  # key of `extra`: why there is no network, where its training diverged


class Wiring(BaseModel):
    """A PadShortcut: its number of input channels, the one that each output channel shows, and its gain."""

    model_config = ConfigDict(extra="forbid")

    in_channels: Count
    source: list[NonNegativeInt]
    gain: list[float]


Plain = int | float | list[int]


class Widths(BaseModel):
    """Every parameter's and buffer's shape, and what shapes do not tell.

    `attributes`: numbers that modules keep, by module and name, where shapes leave another network than the one that
    was saved, such as the number of an attention's heads.
    """

    model_config = ConfigDict(extra="forbid")

    shapes: dict[str, list[Count]]
    groups: dict[str, Count] = {}
    shortcuts: dict[str, Wiring] = {}
    attributes: dict[str, dict[str, Plain]] = {}

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> JsonObject:
        """A network that shapes tell is described as it was before there were attributes."""
        values: JsonObject = handler(self)
        return {name: value for name, value in values.items() if value or name != "attributes"}


class Architecture(BaseModel):
    """The content of `architecture.json`. `sha256` is the digest of the weights' file; `extra` is the writer's.

    A network of the user's own class has the name `own:<class>`; its `classes` and `in_channels` are 0, not known.

    `seal` is the digest of all else that is said here, "" where an older version wrote it.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: Model
    classes: Annotated[int, Field(ge=0, le=10**5)]
    in_channels: Annotated[int, Field(ge=0, le=10**4)]
    sha256: str
    extra: JsonObject = {}
    widths: Widths
    seal: str = ""

    @field_validator("classes", "in_channels")
    @classmethod
    def _known(cls, value: int, info: ValidationInfo) -> int:
        if not value and not info.data.get("name", "").startswith(OWN):
            raise ValueError("must be greater than 0")
        return value


def files(folder: Path) -> list[Path]:
    """The files that `save` writes to `folder`."""
    return [folder / WEIGHTS, folder / DESCRIPTION]


def read(folder: Path) -> Architecture:
    """Read `folder`'s architecture.json. Raises PsapError when it is missing or not one."""
    file = folder / DESCRIPTION
    try:
        return read_json(file, Architecture, "save the network again")
    except FileNotFoundError:
        raise PsapError(f"{file}: missing; a saved network is a folder with {WEIGHTS} and {DESCRIPTION}") from None


def told(folder: Path) -> JsonObject:
    """What the network saved in `folder` says of its input and outputs, for whoever uses it elsewhere."""
    extra = read(folder).extra
    return {key: extra[key] for key in (PREPROCESSING, CLASS_NAMES) if key in extra}


def verify(folder: Path) -> None:
    """Raise PsapError, naming the file, where the network saved in `folder` is not what was written there."""
    described = read(folder)
    if described.seal not in ("", seal(described.model_dump())):
        raise PsapError(f"{folder / DESCRIPTION}: damaged (its digest differs)")
    if sha256(regular(folder / WEIGHTS, free_memory())) != described.sha256:
        raise PsapError(f"{folder / WEIGHTS}: damaged, or of another save than {DESCRIPTION} (its digest differs)")
