"""A small project in a folder of its own, run through the real tools."""

import atexit
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from psap.utils.mappings import JsonObject

TINY: JsonObject = {
    "title": "Tiny",
    "data": {"source": "digits", "pad": 1, "train_images": 400},
    "models": ["resnet8"],
    "methods": {"pretrained": ["psap", "l1"], "scratch": ["psap", "small_dense"]},
    "targets": [0.5],
    "seeds": [0],
    "training": {
        "batch_size": 50,
        "dense": {"epochs": 3, "lr": 0.1},
        "pretrained": {"epochs": 3, "lr": 0.02},
        "scratch": {"epochs": 3, "lr": 0.1},
    },
}


@cache
def _warm() -> str:
    """The address of a process with all imports done, of this test process's own."""
    address = f"{tempfile.mkdtemp()}/warm"
    server = subprocess.Popen(
        [sys.executable, "-m", "psap.cli.warm", address], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert server.stdin
    atexit.register(server.wait, 60)
    atexit.register(server.stdin.close)  # which comes first: the last registered does
    return address


class Project:
    """`folder` holds what a clone holds of the workflow, and the suite `tiny`; one that is there stays as it is."""

    def __init__(self, root: Path, folder: Path, tracking: bool = False) -> None:
        self.folder = folder
        self.environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.environment.pop("PSAP_DATA", None)
        if not tracking:
            self.environment["PSAP_TRACKING"] = "off"
        if (folder / "Snakefile").exists():
            return
        for name in ("workflow", "profiles"):
            shutil.copytree(root / name, folder / name)
        for name in ("Snakefile", "environment.yml"):
            shutil.copy(root / name, folder / name)
        (folder / "params").mkdir()
        for name in ("methods.yaml", "published.csv"):
            shutil.copy(root / "params" / name, folder / "params" / name)
        self.suite("tiny", TINY)

    def suite(self, name: str, values: Any) -> None:
        (self.folder / "params" / f"{name}.yaml").write_text(yaml.safe_dump(values))

    def copied(self, folder: Path) -> "Project":
        """The same, with all that was made in it, in another folder: cheaper than to train anew."""
        shutil.copytree(self.folder, folder)
        project = copy.copy(self)
        project.folder, project.environment = folder, dict(self.environment)
        return project

    def psap(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `psap` to its end, started as a workflow starts it."""
        address = {} if arguments[0] == "reproduce" else {"PSAP_WARM": _warm()}
        return self._run("psap", arguments, options, address)

    def snakemake(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return self._run("snakemake", arguments, options, {})

    def _run(
        self, module: str, arguments: tuple[str, ...], options: Any, more: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        command, environment = [sys.executable, "-m", module, *arguments], self.environment | more
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, **options
        )

    def start(self, *arguments: str, stderr: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        """Start `psap` with `arguments` in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "psap", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            process_group=0,
        )

    def files(self) -> dict[str, bytes]:
        """Every result and network by path; run.json without what was timed."""
        found = {}
        for top in ("results", "checkpoints"):
            for file in sorted((self.folder / top).rglob("*")):
                if file.is_file() and not file.name.startswith("."):  # Snakemake's own marks
                    found[file.relative_to(self.folder).as_posix()] = content(file)
        return found


def last_epoch(folder: Path, run: str) -> int:
    """The epoch that the newest checkpoint of `run` was written after; 0 where there is none."""
    names = (file.name for file in (folder / "state" / run).glob("*/epoch-*.pt"))
    return max((int(name.split("-")[1]) for name in names), default=0)


def content(file: Path) -> bytes:
    if file.name != "run.json":
        return file.read_bytes()
    row = json.loads(file.read_text())
    del row["cost"], row["provenance"]["finished"], row["provenance"]["dirty"]
    return json.dumps(row).encode()
