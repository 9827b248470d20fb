"""What an archive says of itself to programs: RO-Crate 1.1, JSON-LD by the words of schema.org.

All of it stands in CITATION.cff, in the suite and in its rows; https://w3id.org/ro/crate/1.1 describes the format.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, Field

from psap.utils.mappings import JsonObject

METADATA = "ro-crate-metadata.json"
_VERSION = "https://w3id.org/ro/crate/1.1"
_ARTICLE = "article"  # a type of CITATION.cff
# Not asked from Python's mimetypes, which answers as the machine is set up.
_FORMATS = {
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".txt": "text/plain",
    ".yaml": "application/yaml",
}
_DESCRIPTIONS = {
    "CITATION.cff": "How to cite the software.",
    "architecture.json": "What the weights beside it fit; psap.load reads both.",
    "claims.json": "The verdict on each claim, with the comparisons that it rests on.",
    "correct.bin": "A bit for each held-out image: whether the run got it right.",
    "datapackage.json": "The meaning of every column (Frictionless).",
    "epochs.csv": "A line for each epoch of the run.",
    "history.csv": "A line for each group and pruning step of the run.",
    "manifest-sha256.txt": "SHA-256 of every other file, as sha256sum writes it.",
    "methods.yaml": "The pruning methods that suites name.",
    "model.safetensors": "Weights of the compacted network.",
    "published.csv": "Results of papers, shown next to ours.",
    "readings.yaml": "Variants that are readings of the method.",
    "report.html": "The report, on one page that stands alone.",
    "requirements.lock": "Every package with its version and digests.",
    "run.json": "The row of the run: configuration, result, cost and provenance.",
    "runs.csv": "A line for each run.",
    "sensitivity.json": "How much the loss of the dense network changes with each group.",
    "suite.json": "The suite as it was run.",
    "verdicts.yaml": "The rules that decide the verdicts.",
}


class Author(BaseModel):
    """A person, or with `name` an organisation."""

    name: str = ""
    family: str = Field("", alias="family-names")
    given: str = Field("", alias="given-names")
    orcid: str = ""

    def entity(self) -> JsonObject:
        """The author in JSON-LD."""
        name = self.name or f"{self.given} {self.family}".strip()
        kind = "Organization" if self.name else "Person"
        return {"@id": self.orcid or f"#{quote(name)}", "@type": kind, "name": name}


class Reference(BaseModel):
    """A work that is cited."""

    type: str
    title: str
    authors: list[Author]
    url: str = ""
    year: int | None = None

    def entity(self) -> JsonObject:
        """The work in JSON-LD."""
        return {
            "@id": self.url or f"#{quote(self.title)}",
            "@type": "ScholarlyArticle" if self.type == _ARTICLE else "CreativeWork",
            "name": self.title,
            "author": _links([author.entity() for author in self.authors]),
        } | ({"datePublished": str(self.year)} if self.year else {})


class Citation(BaseModel):
    """What is read of CITATION.cff."""

    title: str
    version: str
    license: str
    authors: list[Author]
    references: list[Reference] = []


class About(BaseModel):
    """What is said of the suite: `data` is that of its suite.json."""

    name: str
    description: str
    finished: AwareDatetime
    data: JsonObject


def metadata(citation: Citation, about: About, files: Iterable[str]) -> JsonObject:
    """The content of ro-crate-metadata.json for an archive of these other `files`."""
    parts = [_file(name) for name in files]
    authors = [author.entity() for author in citation.authors]
    cited = [reference.entity() for reference in citation.references]
    others = [author.entity() for reference in citation.references for author in reference.authors]
    licence = {
        "@id": f"https://spdx.org/licenses/{citation.license}",
        "@type": "CreativeWork",
        "name": citation.license,
    }
    software = {
        "@id": "#software",
        "@type": "SoftwareApplication",
        "name": citation.title,
        "softwareVersion": citation.version,
        "author": _links(authors),
        "license": _link(licence),
    }
    told = {name: about.data.get(name, "") for name in ("label", "origin", "licence", "digest")}
    data = {
        "@id": "#data",
        "@type": "Dataset",
        "name": told["label"],
        "description": f"{told['origin']}. Licence: {told['licence']}. Not in this archive.",
        "identifier": f"sha256:{told['digest']}",
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": about.name,
        "description": about.description,
        "datePublished": about.finished.date().isoformat(),
        "license": _link(licence),
        "author": _links(authors),
        "citation": _links(cited),
        "mentions": {"@id": "#runs"},
        "hasPart": _links(parts),
    }
    action = {
        "@id": "#runs",
        "@type": "CreateAction",
        "name": "Training, pruning and analysis of the runs",
        "endTime": about.finished.isoformat(),
        "instrument": _link(software),
        "object": _link(data),
        "result": _link(root),
    }
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _VERSION},
        "about": _link(root),
    }
    entities: list[JsonObject] = [descriptor, root, action, software, data, licence, *authors, *cited, *others, *parts]
    return {"@context": f"{_VERSION}/context", "@graph": list({entity["@id"]: entity for entity in entities}.values())}


def _file(name: str) -> JsonObject:
    path = PurePosixPath(name)
    description = _DESCRIPTIONS.get(path.name)
    return {
        "@id": quote(name),
        "@type": "File",
        "name": path.name,
        "encodingFormat": _FORMATS.get(path.suffix, "text/plain" if not path.suffix else "application/octet-stream"),
    } | ({"description": description} if description else {})


def _link(entity: JsonObject) -> JsonObject:
    return {"@id": entity["@id"]}


def _links(entities: Sequence[JsonObject]) -> JsonObject | list[JsonObject]:
    """Links to all of `entities`; to a single one no list, as RO-Crate wants it."""
    found = [_link(entity) for entity in entities]
    return found[0] if len(found) == 1 else found
