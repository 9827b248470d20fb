"""Content digests of the code: what a kind of job depends on, so that an edit reruns what it must and no more."""

from functools import cache
from importlib.metadata import version
from pathlib import Path

from psap.files import sha256

_PACKAGE = Path(__file__).parent
_VERSIONS = ("torch", "torchvision", "timm", "torch-pruning", "numpy", "scipy", "pillow", "safetensors")

_SHARED = ("bounds.py", "errors.py", "files.py", "reading.py")
# What a training reads of a prepared data set; how one is prepared reaches it as the data's digest.
_READING = (
    "data/__init__.py",
    "data/batches.py",
    "data/dataset.py",
    "data/photo_batches.py",
    "data/photos.py",
    "data/prepared.py",
    "data/seeds.py",
    "data/shares.py",
)
_ORDERING = (
    "affordable.py",
    "cli.py",
    "cluster.py",
    "compare.py",
    "config.py",
    "costs.py",
    "counting.py",
    "devices.py",
    "digest.py",
    "estimate.py",
    "extensions.py",
    "intact.py",
    "launch.py",
    "leftovers.py",
    "markdown.py",
    "plan.py",
    "provenance.py",
    "quiet.py",
    "reproduce.py",
    "rerun.py",
    "schema.py",
    "show.py",
    "suite.py",
)
# What is done with networks outside any suite.
_BESIDE = ("bench", "commands", "export.py", "inspection.py", "lightning.py", "opening.py", "single")

# Modules and folders of the package by the kind of job whose result they can change. `run` orders and mirrors runs:
# what it decides reaches a job as its configuration, so that an edit there retrains nothing.
PARTS: dict[str, tuple[str, ...]] = {
    "data": (*_SHARED, "data"),
    "train": (
        *_SHARED,
        "nested.py",
        *_READING,
        "models",
        "pruning",
        "training",
        "evaluate.py",
        "execute.py",
        "ranks.py",
        "row.py",
    ),
    "analyse": (*_SHARED, "nested.py", "analysis"),
    "run": ("__init__.py", "__main__.py", *_ORDERING, *_BESIDE, "tracking"),
}


@cache
def code_digest(kind: str) -> str:
    """SHA-256 over the modules that a job of `kind` depends on (see `PARTS`), and over versions of what they use."""
    lines = [f"{package} {version(package)}" for package in _VERSIONS] + [
        f"{file.relative_to(_PACKAGE).as_posix()} {sha256(file)}" for file in modules(kind)
    ]
    return sha256("\n".join(lines).encode())


def state_key(run_hash: str, origin: str, data_digest: str, arithmetic: str) -> str:
    """What a training's state is found by: whatever decides the outcome, so that no other state is gone on with.

    `origin` is the digest of what it starts from; then come the data's, and `psap.provenance.arithmetic`.
    """
    return sha256(f"{run_hash} {origin} {code_digest('train')} {data_digest} {arithmetic}".encode())[:16]


def modules(kind: str) -> list[Path]:
    """The files of `PARTS[kind]`, sorted."""
    found = [
        file
        for part in PARTS[kind]
        for file in ([_PACKAGE / part] if part.endswith(".py") else (_PACKAGE / part).rglob("*"))
        if file.suffix in {".py", ".j2"} and file.is_file()
    ]
    return sorted(found)
