"""One zip of a suite, for Zenodo and the like: rows, tables, report, parameters, networks, and the digest of each."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile, ZipInfo

from psap.analysis import analyse
from psap.analysis.results import Results, collect
from psap.errors import PsapError
from psap.models import architecture
from psap.suites.consistency import read_row
from psap.suites.grid import METHODS_FILE, READINGS_FILE, Grid, load_grid
from psap.suites.networks import of_other_networks
from psap.suites.paths import CHECKPOINTS, RESULTS
from psap.utils.files import atomic, regular, sha256
from psap.utils.mappings import JsonObject
from psap.utils.validation import read_json, validated
from psap.utils.yaml_files import read_mapping
from psap.workflow.crate import METADATA, About, Citation, metadata

MANIFEST = "manifest-sha256.txt"
_PARAMS = Path("params")
_PUBLISHED = _PARAMS / "published.csv"
_CITATION = Path("CITATION.cff")
_PROJECT = (_CITATION, Path("LICENSE"), Path("requirements.lock"))
_TIME = (1980, 1, 1, 0, 0, 0)  # of every file: the first that a zip can name
_BLOCK = 2**20  # bytes


def archive(suite: str, out: Path) -> str:
    """Write the suite to the zip `out`, the same bytes for the same files; returns a line about it.

    Raises PsapError, before anything is written, where there is no such suite, it has no rows, one of its files is
    damaged, or rows, tables, networks and params/ do not belong together.
    """
    folder = RESULTS / suite
    grid = load_grid(_PARAMS, suite)
    if folder.resolve() in out.resolve().parents:
        raise PsapError(f"{out}: lies in {folder}, all of which goes into the archive; name a file elsewhere")
    results = collect(folder)
    _check_rows(grid, results)
    held = _below(folder)
    _check_analysis(folder, held)
    networks = _networks(results)
    files = [*held, *networks, *_params(grid), *_PROJECT]
    citation = validated(Citation, read_mapping(_CITATION), str(_CITATION))
    trained = len(networks) // len(architecture.files(folder))
    what = f"{len(results.committed)} of {len(results.suite.runs)} runs, {trained} networks"
    count = _write(out, sorted({_checked(file) for file in files}), citation, _about(results, what))
    return f"{out}: {count} files, {what}, {out.stat().st_size / 1e6:.1f} MB, SHA-256 {sha256(out)}"


def _check_rows(grid: Grid, results: Results) -> None:
    """Raise PsapError where rows are not those that params/ tells of, or one that is left out of tables is broken."""
    folder = RESULTS / grid.name
    described = read_json(folder / "suite.json", JsonObject, "remove it, and it is written again")
    if described != grid.describe(described["data"]):
        raise PsapError(f"{folder}/suite.json: params/ says otherwise by now; `psap reproduce {grid.name}` runs that")
    for run in results.committed:
        if run.hash != grid.runs[run.run].hash:
            raise PsapError(
                f"{RESULTS}/{run.run}/run.json: params/ says otherwise by now; `psap reproduce {grid.name}` runs that"
            )
    for path in results.foreign:
        read_row(RESULTS / path / "run.json", path)


def _below(folder: Path) -> list[Path]:
    """Every file in `folder` but hidden ones, which are other programs'."""
    found = (file for file in folder.rglob("*") if not file.is_dir())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))


def _check_analysis(folder: Path, held: list[Path]) -> None:
    """Raise PsapError where tables, claims, figures or report are not what the analysis makes of the rows.

    Pictures in PNG need only be there: their bytes are the drawing library's.
    """
    with TemporaryDirectory() as place:
        again = Path(place) / folder
        for file in held:
            copy = Path(place) / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(regular(file), copy)
        published = _PUBLISHED if _PUBLISHED.is_file() else None
        analyse(again, published)
        made = {file.relative_to(place) for file in _below(again)}
        same = (
            file for file in made & set(held) if file.suffix == ".png" or sha256(Path(place) / file) == sha256(file)
        )
        if wrong := sorted((made | set(held)) - set(same)):
            raise PsapError(f"{wrong[0]}: not what the analysis makes of these rows; `psap analyse {folder}` mends it")


def _networks(results: Results) -> list[Path]:
    """The files of the networks that are here, each verified to be the one of its row."""
    suite = results.suite.suite
    if others := of_other_networks(RESULTS / suite, suite):
        raise PsapError(
            f"{CHECKPOINTS}/{others[0]}: not the network of its row; `dvc checkout` brings that back, or "
            f"`psap reproduce {suite} --accept` takes the rows of the networks here"
        )
    found = []
    for run in results.runs:
        files = architecture.files(CHECKPOINTS / run.run)
        if all(file.exists() for file in files):
            architecture.verify(CHECKPOINTS / run.run)
            found += files
    return found


def _params(grid: Grid) -> Iterator[Path]:
    """The files that decide what the suite is and how it is judged, with the suites that it is based on."""
    for shared in (METHODS_FILE, READINGS_FILE, "verdicts.yaml", _PUBLISHED.name):
        if (file := _PARAMS / shared).exists():
            yield file
    suite: str | None = grid.name
    while suite:
        yield (file := _PARAMS / f"{suite}.yaml")
        suite = read_mapping(file).get("base")
    for run in grid.runs.values():
        if code := run.config.code:
            if Path(code.file).is_absolute() or ".." in Path(code.file).parts:
                raise PsapError(f"{code.file}: outside of this folder, whose paths an archive has; move it here")
            yield Path(code.file)


def _checked(file: Path) -> Path:
    """`file`, if it is one that an archive can hold under its name."""
    if not file.as_posix().isprintable() or "\\" in file.as_posix():
        raise PsapError(f"{file.as_posix()!a}: a name that a list of digests cannot hold; rename the file")
    try:
        return regular(file)
    except FileNotFoundError:
        raise PsapError(f"{file}: missing; an archive is made in the project's folder") from None


def _about(results: Results, what: str) -> About:
    suite = results.suite
    description = (
        f"{suite.note} {what} of the suite {suite.suite}, with tables, claims and report. "
        f"`sha256sum --check {MANIFEST}` checks the files; `psap analyse {RESULTS}/{suite.suite}` makes tables and "
        "claims of the rows again."
    )
    finished = max(run.provenance.finished for run in results.committed)
    return About(name=suite.title, description=description.strip(), finished=finished, data=suite.data)


def _write(out: Path, files: list[Path], citation: Citation, about: About) -> int:
    """Write the zip, atomically; returns how many files it has. What it lists is what it was written with."""
    with atomic(out) as temporary, ZipFile(temporary, "w") as packed:
        digests = {file.as_posix(): _add(packed, file) for file in files}
        told = json.dumps(metadata(citation, about, [*digests, MANIFEST]), indent=1, ensure_ascii=False) + "\n"
        packed.writestr(_entry(METADATA), told)
        digests[METADATA] = sha256(told.encode())
        packed.writestr(_entry(MANIFEST), "".join(f"{digest}  {name}\n" for name, digest in digests.items()))
        return len(packed.namelist())


def _add(packed: ZipFile, file: Path) -> str:
    """Add `file` under its path; returns the digest of what was added."""
    entry, digest = _entry(file.as_posix()), hashlib.sha256()
    entry.file_size = file.stat().st_size  # by which zipfile knows those that take the format for large files
    with file.open("rb") as source, packed.open(entry, "w") as target:
        while block := source.read(_BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def _entry(name: str) -> ZipInfo:
    """A file of the zip, stored as it is: compressed bytes differ between versions of zlib."""
    entry = ZipInfo(name, _TIME)
    entry.external_attr = 0o644 << 16
    return entry
