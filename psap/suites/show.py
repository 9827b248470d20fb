"""Tell all about one run: what it is made of, where its numbers come from, and how to make it again."""

from psap.errors import PsapError
from psap.suites.consistency import read_row
from psap.suites.paths import CHECKPOINTS, RESULTS
from psap.suites.row import Divergence, Provenance, Record
from psap.utils.mappings import flat


def show(path: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections of (name, value) lines about the run `path`, from its committed row.

    Raises PsapError when there is no such row, or it is broken.
    """
    file = RESULTS / path / "run.json"
    if not file.is_file():
        raise PsapError(f"{file} is missing: no such run, or it is not trained yet (`psap train {path}`)")
    run = read_row(file, path)
    origin = run.provenance
    return [
        ("run", [("path", run.run), ("seed", str(run.seed)), ("configuration", run.hash)]),
        ("parameters", list(flat(run.config).items())),
        ("result", _lost(run.diverged) if run.diverged else _numbers(run.result)),
        ("cost", _numbers(run.cost)),
        (
            "provenance",
            [
                ("commit", _commit(origin)),
                ("code", origin.code),
                ("data", origin.data),
                ("hardware", f"{origin.hardware} ({origin.device})"),
                *((name, str(value)) for name, value in (origin.machine or {"processor": "not recorded"}).items()),
                ("versions", ", ".join(f"{package} {version}" for package, version in origin.versions.items())),
            ],
        ),
        ("network", [("folder", _network(path)), ("again", f"psap rerun {path}")]),
    ]


def _network(path: str) -> str:
    folder = CHECKPOINTS / path
    return f"{folder}/" if (folder / "model.safetensors").is_file() else f"{folder}/ (not on this machine)"


def _commit(origin: Provenance) -> str:
    """The commit, and whether what was run is it; both are unknown outside a checkout."""
    if not origin.commit or origin.dirty is None:
        return "unknown"
    return f"{origin.commit}{' with uncommitted changes' if origin.dirty else ''}"


def _lost(diverged: Divergence) -> list[tuple[str, str]]:
    return [("diverged", diverged.what), ("epoch", str(diverged.epoch))]


def _numbers(part: Record | None) -> list[tuple[str, str]]:
    return [(name, _number(value)) for name, value in part or () if value is not None]


def _number(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
