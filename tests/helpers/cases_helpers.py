"""The corpus as cases: every file that psap reads and every word that it takes, with everything that they are not."""

import csv
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from arena_helpers import DENSE, PRUNED, Case, nothing
from corpus_helpers import CONTENTS, DAMAGE, INSTEAD, NAMES, NUMBERS

NETWORK = f"checkpoints/{PRUNED}"


def _planned(place: Path, said: str) -> None:
    suite = yaml.safe_load((place / "params/tiny.yaml").read_text())
    listed = sum(len(names) for names in suite["methods"].values()) * len(suite["targets"])
    runs = len(suite["models"]) * len(suite["seeds"]) * (1 + listed)
    (row,) = (line for line in said.splitlines() if line.startswith("| tiny "))
    assert int(row.split("|")[2].replace(",", "")) == runs


def _reported(place: Path, _: str) -> None:
    assert (place / "results/tiny/report.html").read_text().rstrip().endswith("</html>")
    with (place / "results/tiny/runs.csv").open() as lines:
        assert {row["run"] for row in csv.DictReader(lines)} <= {DENSE, PRUNED}


def _described(place: Path, _: str) -> None:
    assert json.loads((place / "results/tiny/suite.json").read_text())["suite"] == "tiny"


def _shown(_: Path, said: str) -> None:
    assert DENSE in said and "provenance" in said


def _inspected(_: Path, said: str) -> None:
    assert "conv" in said or "groups" in said


def _loaded(place: Path, _: str) -> None:
    import psap

    assert sum(parameter.numel() for parameter in psap.load(place / "small").parameters()) > 0


def _dry(place: Path, said: str) -> None:
    assert said and not (place / "pruned").exists()


def _prepared(place: Path, _: str) -> None:
    (described,) = (file for file in (place / "data").glob("folder*.json"))
    assert sum(json.loads(described.read_text())["counts"]["train"].values()) > 0


Check = Callable[[Path, str], None]
# What psap reads, and the commands that read it.
READ: dict[str, list[tuple[tuple[str, ...], Check]]] = {
    "params/tiny.yaml": [(("plan", "tiny"), _planned), (("leftovers",), nothing)],
    "params/methods.yaml": [(("plan", "tiny"), _planned)],
    "request.yaml": [(("prune", "request.yaml", "--dry-run"), _dry)],
    "data/digits.json": [(("plan", "tiny"), _planned), (("grid", "tiny"), _described)],
    "data/digits.safetensors": [(("grid", "tiny"), _described)],
    "results/tiny/suite.json": [(("analyse", "results/tiny"), _reported)],
    f"results/{DENSE}/run.json": [(("show", DENSE), _shown), (("analyse", "results/tiny"), _reported)],
    f"results/{PRUNED}/epochs.csv": [(("analyse", "results/tiny"), _reported)],
    f"results/{PRUNED}/history.csv": [(("analyse", "results/tiny"), _reported)],
    "params/verdicts.yaml": [(("analyse", "results/tiny"), _reported), (("plan", "tiny"), _planned)],
    "params/readings.yaml": [(("plan", "tiny"), _planned), (("analyse", "results/tiny"), _reported)],
    "params/published.csv": [(("analyse", "results/tiny"), _reported)],
    f"{NETWORK}/architecture.json": [(("inspect", NETWORK), _inspected)],
    f"{NETWORK}/model.safetensors": [
        (("inspect", NETWORK), _inspected),
        (("compact", NETWORK, "--out", "small"), _loaded),
    ],
    "weights.safetensors": [(("inspect", "resnet8", "--weights", "weights.safetensors"), _inspected)],
    "weights.pt": [(("compact", "resnet8", "--weights", "weights.pt", "--out", "small"), _loaded)],
    "pruned/result.json": [(("prune", "request.yaml"), nothing)],
    "coverage/coverage.csv": [(("bench", "coverage", "nosuch", "--folder", "coverage"), nothing)],
    "photos/train/ant/0.png": [(("data", "folder", "--path", "photos"), _prepared)],
    "photos/test": [(("data", "folder", "--path", "photos", "--photos"), _prepared)],
    "mine.py": [(("prune", "coded.yaml", "--dry-run", "--allow-code"), _dry)],
}


def put(file: str, make: Callable[[Path], Any], place: Path) -> None:
    """Give `file` of the project in `place` another content, or make it something else than a file."""
    path = place / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        path.rename(path.with_name("aside"))
    else:
        path.unlink(missing_ok=True)
    make(path)


def write(content: bytes, path: Path) -> None:
    """For `put`: a file of this content."""
    path.write_bytes(content)


def _damaged(file: str, damage: Callable[[bytes], bytes], place: Path) -> None:
    whole = (place / file).read_bytes()
    put(file, partial(write, damage(whole)), place)


def files() -> Iterator[Case]:
    """Every file of READ with every content of the corpus, with every damage, and with what is no file in its place."""
    for file, commands in READ.items():
        spoilt: dict[str, Callable[[Path], None]] = {}
        spoilt |= {kind: partial(put, file, partial(write, content)) for kind, content in CONTENTS.items()}
        spoilt |= {kind: partial(put, file, make) for kind, make in INSTEAD.items()}
        if not file.startswith(("weights.pt", "pruned", "coverage", "photos/test", "mine")):
            spoilt |= {kind: partial(_damaged, file, damage) for kind, damage in DAMAGE.items()}
        for kind, prepare in spoilt.items():
            for arguments, check in commands:
                yield Case(f"{file} {kind}", arguments, prepare, check)


ORDERED = ("prune", "--model", "resnet8", "--data", "digits", "--target", "0.5", "--out", "pruned", "--dry-run")
NUMBERED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("inspect", "resnet8"): ("--size", "--classes"),
    ORDERED: (
        "--target",
        "--epochs",
        "--dense-epochs",
        "--size",
        "--batch-size",
        "--lr",
        "--round-to",
        "--ema",
        "--seed",
    ),
    ("train", DENSE): ("--threads", "--processes"),
    ("bench", "latency", "nosuch"): ("--target", "--round-to", "--size", "--batch", "--repetitions"),
    ("bench", "train", "nosuch"): ("--iterations", "--repetitions"),
    ("bench", "coverage", "nosuch"): ("--seconds", "--largest"),
    ("export", "nosuch"): ("--size",),
    ("compact", "nosuch", "--out", "small"): ("--size", "--classes"),
}
NAMED: list[tuple[str, ...]] = [
    ("plan", "?"),
    ("grid", "?"),
    ("train", "?"),
    ("train", "tiny/?"),
    ("rerun", "?"),
    ("show", "?"),
    ("analyse", "?"),
    ("report", "?", "results/tiny"),
    ("archive", "?"),
    ("data", "?"),
    ("data", "folder", "--path", "?"),
    ("data", "folder", "--photos", "--path", "?"),
    ("reproduce", "?"),
    ("export", "?"),
    ("inspect", "?"),
    ("inspect", "resnet8", "--weights", "?"),
    ("compact", "?", "--out", "small"),
    ("compact", NETWORK, "--out", "?"),
    ("prune", "?"),
    (*ORDERED, "--model", "?"),
    (*ORDERED, "--data", "?"),
    (*ORDERED, "--weights", "?"),
    (*ORDERED, "--out", "?"),
    ("plan", "tiny", "--params", "?"),
    ("leftovers", "--params", "?"),
    ("analyse", "results/tiny", "--published", "?"),
    ("bench", "?"),
    ("bench", "train", "?"),
    ("bench", "latency", "?"),
    ("bench", "latency", "--model", "?"),
    ("track", "?"),
    ("?",),
]


def images() -> Iterator[Case]:
    """Images that are none, or more than they seem."""
    header = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = header + chunk + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 0) + b"IDAT"
    contents = {
        "a PNG of 60,000 x 60,000": bomb,
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n",
        "a GIF": b"GIF89a" + bytes(30),
        "half a JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    }
    for kind, content in contents.items():
        for photos in ((), ("--photos",)):
            spoil = partial(put, "photos/train/ant/0.png", partial(write, content))
            yield Case(f"image: {kind}", ("data", "folder", "--path", "photos", *photos), spoil, _prepared)


def words() -> Iterator[Case]:
    """Every option that takes a number with every number of the corpus, and every name with every name."""
    for command, options in NUMBERED.items():
        for option in options:
            for number in NUMBERS:
                yield Case("number", (*command, f"{option}={number}"))
    for command in NAMED:
        for name in NAMES:
            arguments = tuple(word.replace("?", name) for word in command)
            if arguments[0] != "":
                yield Case("name", arguments)
