"""`psap bench plan`: how long Snakemake plans a grid of many runs."""

import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from psap.errors import PsapError
from psap.utils.text import table

_PROJECT = ("Snakefile", "environment.yml", "workflow", "profiles", "params/methods.yaml", "params/published.csv")
_METHODS = ["psap", "psap_soft", "psap_uniform", "psap_plain", "sfp", "asfp", "fpgm", "l1", "random", "small_dense"]
_TARGETS = [0.3, 0.4, 0.5, 0.7, 0.8]
_EACH_SEED = 2 * len(_METHODS) * len(_TARGETS) + 1  # two inits, and the dense network
_RECIPE = {"epochs": 1, "lr": 0.1}


def bench_plan(runs: int) -> str:
    """Time `snakemake -n` for a tenth of `runs` and for `runs`, each in a new project where nothing is made yet.

    A grid is rounded to whole seeds, 101 runs each. Returns a table: runs, jobs, seconds that pass, seconds of the
    processor, memory. Raises PsapError outside the project's folder, and when the plan fails.
    """
    rows = []
    for seeds in (max(1, round(count / _EACH_SEED)) for count in (runs / 10, runs)):
        with tempfile.TemporaryDirectory() as folder:
            _make_project(Path(folder), seeds)
            rows.append([f"{seeds * _EACH_SEED:,}", *_plan(Path(folder))])
    return table(("runs", "jobs", "seconds", "of the processor", "peak memory, MiB"), rows)


def _make_project(folder: Path, seeds: int) -> None:
    """What a clone has of the workflow, and one suite."""
    (folder / "params").mkdir()
    for name in map(Path, _PROJECT):
        if not name.exists():
            raise PsapError(f"{name} is missing; run this in the project's folder")
        (shutil.copytree if name.is_dir() else shutil.copy)(name, folder / name)
    suite = {
        "title": "Many runs",
        "data": {"source": "digits"},
        "models": ["resnet8"],
        "methods": {"pretrained": _METHODS, "scratch": _METHODS},
        "targets": _TARGETS,
        "seeds": list(range(seeds)),
        "training": {"dense": _RECIPE, "pretrained": _RECIPE, "scratch": _RECIPE},
    }
    (folder / "params" / "many.yaml").write_text(yaml.safe_dump(suite))


def _plan(folder: Path) -> list[str]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "snakemake", "many", "-n"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    passed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    jobs = re.search(r"^total +(\d+)$", done.stdout + done.stderr, flags=re.M)
    if done.returncode or not jobs:
        raise PsapError(f"snakemake many -n failed: {done.stderr.strip().splitlines()[-1]}")
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The largest child so far, which is this one: grids grow.
    return [f"{int(jobs[1]):,}", f"{passed:.0f}", f"{worked:.0f}", f"{after.ru_maxrss / 1024:.0f}"]
