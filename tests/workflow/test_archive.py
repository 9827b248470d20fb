"""A suite in one zip: unpacked elsewhere it is whole, says what it is, and gives the same tables and claims again."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote
from zipfile import ZipFile

import pytest
import yaml
from fixture_types import Flip
from project_helpers import TINY, Project

from psap.models import architecture
from psap.utils.files import sha256
from psap.workflow.archive import MANIFEST
from psap.workflow.crate import METADATA

RUN = "tiny/resnet8/pretrained/psap/0.5/seed0"
NETWORK, ROW = f"checkpoints/{RUN}/model.safetensors", f"results/{RUN}/run.json"
DERIVED = ("runs.csv", "table.csv", "table.md", "table.tex", "metrics.json", "claims.json", "datapackage.json")


@pytest.fixture(scope="module")
def checkout(root: Path, trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished suite in a folder with what else a checkout has of it."""
    project = trained.copied(tmp_path_factory.mktemp("checkout") / "tiny")
    for name in ("CITATION.cff", "LICENSE", "requirements.lock", "params/verdicts.yaml", "params/readings.yaml"):
        shutil.copy(root / name, project.folder / name)
    done = project.psap("analyse", "results/tiny")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def whole(checkout: Project, tmp_path: Path) -> Project:
    """A copy of it that is the test's own."""
    return checkout.copied(tmp_path / "whole")


def archived(project: Project, name: str = "tiny.zip") -> Path:
    done = project.psap("archive", "tiny", "--out", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{name}: ") and "5 of 5 runs, 5 networks" in done.stdout
    assert done.stdout.rstrip().endswith(sha256(project.folder / name))
    return project.folder / name


def unpacked(project: Project, archive: Path, folder: Path) -> Project:
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(archive), str(folder)], check=True)
    other = copy.copy(project)
    other.folder = folder
    return other


def files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_unpacked_it_is_whole_and_analysed_to_the_same(whole: Project, tmp_path: Path) -> None:
    other = unpacked(whole, archived(whole), tmp_path / "unpacked")
    there = files(other.folder)
    kept = {name for name in files(whole.folder) if name.startswith(("results/", "checkpoints/"))}
    kept = {name for name in kept if "/." not in name}  # marks of Snakemake
    params = {f"params/{name}" for name in ("tiny.yaml", "methods.yaml", "verdicts.yaml", "readings.yaml")}
    alone = {"params/published.csv", "CITATION.cff", "LICENSE", "requirements.lock", METADATA, MANIFEST}
    assert there == kept | params | alone
    assert {NETWORK, ROW, ROW.replace("run.json", "correct.bin"), "results/tiny/report.html"} <= there
    for name in there - {METADATA, MANIFEST}:
        assert (other.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name

    checked = ["sha256sum", "--check", "--strict", "--quiet", MANIFEST]
    subprocess.run(checked, cwd=other.folder, check=True)
    lines = (other.folder / MANIFEST).read_text().splitlines()
    assert {line.split("  ", 1)[1] for line in lines} == there - {MANIFEST} and len(lines) == len(there) - 1
    architecture.verify(other.folder / "checkpoints" / RUN)

    for name in DERIVED:
        (other.folder / "results/tiny" / name).unlink()
    done = other.psap("analyse", "results/tiny")
    assert done.returncode == 0, done.stderr
    for name in (*DERIVED, "report.html"):
        made, kept_one = (project.folder / "results/tiny" / name for project in (other, whole))
        assert made.read_bytes() == kept_one.read_bytes(), name
    subprocess.run(checked, cwd=other.folder, check=True)


def test_the_same_files_give_the_same_bits(whole: Project, tmp_path: Path) -> None:
    first = archived(whole).read_bytes()
    for file in sorted(whole.folder.rglob("*"), reverse=True):  # other times, another order on disk
        if file.is_file():
            other = file.with_name(f"{file.name}.copy")
            shutil.copyfile(file, other)
            other.replace(file)
    assert archived(whole, "again.zip").read_bytes() == first
    with ZipFile(whole.folder / "tiny.zip") as packed:
        names = packed.namelist()
        assert names[:-2] == sorted(names[:-2]) and names[-2:] == [METADATA, MANIFEST]
        assert {entry.date_time[0] for entry in packed.infolist()} == {1980}
    again = unpacked(whole, whole.folder / "tiny.zip", tmp_path / "unpacked")
    done = again.psap("archive", "tiny")  # what was unpacked is archived to the same
    assert done.returncode == 0 and (again.folder / "tiny.zip").read_bytes() == first, done.stderr


def test_the_crate_says_what_the_files_and_the_citation_say(root: Path, whole: Project) -> None:
    with ZipFile(archived(whole)) as packed:
        told, held = json.loads(packed.read(METADATA)), set(packed.namelist())
    assert told["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in told["@graph"]}
    assert len(entities) == len(told["@graph"])
    assert entities[METADATA]["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    crate, citation = entities[entities[METADATA]["about"]["@id"]], yaml.safe_load((root / "CITATION.cff").read_text())
    parts = {part["@id"] for part in crate["hasPart"]}
    assert {unquote(part) for part in parts} == held - {METADATA}
    assert {entities[part]["@type"] for part in parts} == {"File"}
    assert set(links(told["@graph"])) - set(entities) == {"https://w3id.org/ro/crate/1.1"}, "the rest is described"

    assert crate["name"] == TINY["title"] and "5 of 5 runs" in crate["description"]
    rows = [json.loads(file.read_text()) for file in (whole.folder / "results").rglob("run.json")]
    assert crate["datePublished"] == max(row["provenance"]["finished"] for row in rows)[:10]
    assert entities[crate["license"]["@id"]]["name"] == citation["license"]
    (author,), (cited,) = citation["authors"], citation["references"]
    assert entities[crate["author"]["@id"]]["name"] == author["name"]
    paper = entities[crate["citation"]["@id"]]
    assert (paper["@id"], paper["name"], paper["@type"]) == (cited["url"], cited["title"], "ScholarlyArticle")
    assert [entities[one["@id"]]["name"] for one in paper["author"]] == ["Liang Li", "Pengfei Zhao"]
    assert entities["#software"]["softwareVersion"] == citation["version"]
    suite = json.loads((whole.folder / "results/tiny/suite.json").read_text())
    assert entities["#data"]["identifier"] == f"sha256:{suite['data']['digest']}"


def links(value: object) -> list[str]:
    """The targets of all links below `value`."""
    if isinstance(value, list):
        return [link for one in value for link in links(one)]
    if not isinstance(value, dict):
        return []
    return [value["@id"]] if list(value) == ["@id"] else links(list(value.values()))


def _without(name: str) -> Callable[[Path, Flip], None]:
    return lambda folder, flip: (folder / name).unlink()


def _edited(name: str, old: str, new: str) -> Callable[[Path, Flip], None]:
    def edit(folder: Path, flip: Flip) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


def _no_rows(folder: Path, flip: Flip) -> None:
    for file in (folder / "results").rglob("run.json"):
        file.unlink()


WRONG: dict[str, tuple[Callable[[Path, Flip], None], str]] = {
    "a network is damaged": (lambda folder, flip: flip(folder / NETWORK), "damaged"),
    "a network of another row": (_edited(ROW, '"network": "', '"network": "0'), "not the network of its row"),
    "a row is damaged": (_edited(ROW, '"macs":', '"mac":'), "run.json: damaged"),
    "a row of other params": (_edited("params/methods.yaml", "l2", "l1"), "params/ says otherwise by now"),
    "a suite of other params": (_edited("params/tiny.yaml", "Tiny", "Small"), "suite.json: params/ says otherwise"),
    "a table of other rows": (_edited("results/tiny/table.csv", "psap", "pasp"), "table.csv: not what the analysis"),
    "no citation": (_without("CITATION.cff"), "CITATION.cff: cannot be read"),
    "no claims": (_without("results/tiny/claims.json"), "claims.json: not what the analysis makes"),
    "no licence": (_without("LICENSE"), "LICENSE: missing"),
    "no rows": (_no_rows, "none of the suite's 5 runs has a run.json"),
    "no suite": (_without("params/tiny.yaml"), "unknown suite 'tiny'"),
    "not run": (lambda folder, flip: shutil.rmtree(folder / "results"), "suite.json does not exist: run the suite"),
}


@pytest.mark.parametrize("kind", sorted(WRONG))
def test_what_is_not_whole_is_refused_in_a_line(whole: Project, flip: Flip, kind: str) -> None:
    spoil, said = WRONG[kind]
    (whole.folder / "tiny.zip").write_bytes(b"an older one")
    spoil(whole.folder, flip)
    done = whole.psap("archive", "tiny")
    assert (done.returncode, done.stdout) == (2, "") and said in done.stderr, done.stderr
    assert done.stderr.startswith("psap: ") and done.stderr.count("\n") == 1
    assert (whole.folder / "tiny.zip").read_bytes() == b"an older one"
    assert not list(whole.folder.glob(".tiny*"))


@pytest.mark.parametrize(
    ("out", "said"), [("params", "params: cannot be written"), ("results/tiny/all.zip", "lies in results/tiny")]
)
def test_a_place_that_cannot_be_is_refused(whole: Project, out: str, said: str) -> None:
    before = files(whole.folder)
    done = whole.psap("archive", "tiny", "--out", out)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert files(whole.folder) == before


def test_networks_that_are_elsewhere_are_left_out(whole: Project) -> None:
    shutil.rmtree(whole.folder / "checkpoints")
    done = whole.psap("archive", "tiny")
    assert done.returncode == 0 and "5 of 5 runs, 0 networks" in done.stdout, done.stderr


def test_a_base_and_own_code_go_along(whole: Project) -> None:
    """As they decide what the suite is; code elsewhere could not be found again."""
    tiny, methods = (whole.folder / "params" / name for name in ("tiny.yaml", "methods.yaml"))
    tiny.rename(tiny.with_name("base.yaml"))
    tiny.write_text("base: base\ntitle: Tiny\n")
    assert "params/base.yaml" in held(whole)

    (whole.folder / "mine.py").write_text("")
    whole.suite("tiny", TINY | {"methods": {"scratch": ["mine"]}})
    methods.write_text(methods.read_text() + "\nmine: {criterion: l1, code: mine.py}\n")
    done = whole.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stderr
    assert "mine.py" in held(whole)

    methods.write_text(methods.read_text().replace("mine.py", str(whole.folder / "mine.py")))
    done = whole.psap("reproduce", "tiny")
    assert done.returncode == 0, done.stderr
    done = whole.psap("archive", "tiny")
    assert done.returncode == 2 and "mine.py: outside of this folder" in done.stderr


def held(project: Project) -> set[str]:
    done = project.psap("archive", "tiny")
    assert done.returncode == 0, done.stderr
    with ZipFile(project.folder / "tiny.zip") as packed:
        return set(packed.namelist())
