"""Where things are: networks, results and states of runs, prepared data sets."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from psap.data.schema import Data
from psap.utils.files import sha256

# Where runs keep what they write, each in a folder of its path.
CHECKPOINTS, RESULTS, STATE = Path("checkpoints"), Path("results"), Path("state")


@dataclass(frozen=True)
class Paths:
    """The same three folders below `root`, where a run is trained apart from the project's own."""

    root: Path = Path()

    @property
    def checkpoints(self) -> Path:
        return self.root / CHECKPOINTS

    @property
    def results(self) -> Path:
        return self.root / RESULTS

    @property
    def state(self) -> Path:
        return self.root / STATE


PROJECT = Paths()


def data_command(data: Data) -> str:
    """The command line that prepares `data`, to be pasted as it is."""
    path = f" --path={shlex.quote(data.path)}" if data.path else ""
    photos = " --photos" if data.photos and data.source != "imagenet" else ""
    return f"psap data {data.source}{path}{photos}"


def data_file(data: Data) -> Path:
    """Where the prepared data set lies; a folder that the user names gets a file of its own."""
    key = data.source if data.path is None else f"{data.source}-{sha256(data.path.encode())[:8]}"
    photos = "-photos" if data.photos else ""
    return Path("data") / f"{key}{photos}.safetensors"
