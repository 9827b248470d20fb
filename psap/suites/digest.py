"""Content digests of the code: what a kind of job depends on, so that an edit reruns what it must and no more."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

import grimp

from psap.utils.files import sha256

_PACKAGE = Path(__file__).parents[1]
_VERSIONS = ("torch", "torchvision", "timm", "torch-pruning", "numpy", "scipy", "pillow", "safetensors")

# The modules that do a kind of job. It depends on them and on all that they import, and so on. What orders runs, checks
# and mirrors them is in none: what that decides reaches a job as its configuration, so that an edit there retrains
# nothing.
ROOTS: dict[str, tuple[str, ...]] = {
    "data": ("psap.data.sources",),
    "train": ("psap.training.outputs", "psap.models.vgg", "psap.models.cifar_resnet"),
    "analyse": ("psap.analysis",),
    "grid": ("psap.suites.grid",),
}


@cache
def code_digest(kind: str) -> str:
    """SHA-256 over the modules that a job of `kind` depends on (see `ROOTS`), and over versions of what they use."""
    lines = [f"{package} {version(package)}" for package in _VERSIONS] + [
        f"{file.relative_to(_PACKAGE).as_posix()} {sha256(file)}" for file in modules(kind)
    ]
    return sha256("\n".join(lines).encode())


def state_key(run_hash: str, origin: str, data_digest: str, arithmetic: str) -> str:
    """What a training's state is found by: whatever decides the outcome, so that no other state is gone on with.

    `origin` is the digest of what it starts from; then come the data's, and `psap.suites.provenance.arithmetic`.
    """
    return sha256(f"{run_hash} {origin} {code_digest('train')} {data_digest} {arithmetic}".encode())[:16]


def modules(kind: str) -> list[Path]:
    """The files of `ROOTS[kind]` and of all that they import, sorted; a folder's templates belong to its modules."""
    graph = grimp.build_graph("psap", cache_dir=None)
    names = set(ROOTS[kind])
    names |= {below for root in ROOTS[kind] for below in graph.find_descendants(root)}
    names |= {found for name in list(names) for found in graph.find_upstream_modules(name)}
    files = {_file(name) for name in names}
    return sorted(files | {template for file in files for template in file.parent.glob("*.j2")})


def _file(module: str) -> Path:
    place = _PACKAGE.joinpath(*module.split(".")[1:])
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
