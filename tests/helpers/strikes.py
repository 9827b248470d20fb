"""Strike at a suite while it runs, give the same command again, and hold what comes out against an undisturbed run.

    python tests/helpers/strikes.py SUITE KINDS NUMBER SEED WHOLE STRUCK

WHOLE is a checkout in which SUITE was run to its end, STRUCK a fresh one of the same commit. KINDS is "kills" or "all".
"""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from project_helpers import content

KILLS = ("job", "snakemake", "everything")  # kill -9
SIGNALS = ("terminate", "interrupt")  # to the whole process group, as batch systems do, and as Ctrl-C does
TAG = "select value from tags where run_uuid = ?"
POINTS = "select count(*), count(distinct step) from metrics where run_uuid = ?"
DATA_SETS = "select count(*) from inputs where destination_type = 'RUN' and destination_id = ?"
MODELS = "select count(*) from logged_models where lifecycle_stage = 'active' and status = 2 and source_run_id = ?"
OUTPUTS = "select count(*) from inputs where destination_type = 'MODEL_OUTPUT' and source_id = ?"
TIMINGS = ["seconds", "latency_ms", "latency_dense_ms", "images_per_second", "peak_memory_mb"]


def strike_often(
    folder: Path, suite: str, kinds: list[str], runs: int, draw: random.Random, environment: dict[str, str]
) -> Iterator[str]:
    """Run `suite`, which has `runs` runs, to its end in `folder`; yields each strike that came in time."""
    process = start(folder, suite, environment)
    for number, kind in enumerate(kinds):
        if process.poll() is not None:
            process = start(folder, suite, environment)
        share = number * runs // (len(kinds) + 1)
        while process.poll() is None and len(list(networks(folder, suite))) < share:
            time.sleep(0.1)
        time.sleep(draw.uniform(1.0, 8.0))
        if process.poll() is None and strike(process, kind, draw):
            yield kind
    if process.wait() != 0:
        process = start(folder, suite, environment)
    if process.wait() != 0:
        raise AssertionError((folder / "strikes.log").read_text()[-5000:])


def start(folder: Path, suite: str, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """The one command that a user gives, in a process group of its own; what it says goes to strikes.log."""
    with (folder / "strikes.log").open("ab") as log:
        command = [sys.executable, "-m", "psap", "reproduce", suite, "--cores", "2"]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, process_group=0)


def strike(process: "subprocess.Popen[bytes]", kind: str, draw: random.Random) -> bool:
    """Whether there was something to strike at. Whatever `kind` leaves running is still running afterwards."""
    family = psutil.Process(process.pid).children(recursive=True)
    if kind in SIGNALS:
        os.killpg(process.pid, signal.SIGTERM if kind == "terminate" else signal.SIGINT)
    elif kind == "everything":
        for one in (psutil.Process(process.pid), *family):
            _kill(one)
    else:
        sought = ["psap", "train"] if kind == "job" else ["snakemake"]
        found = [one for one in family if _arguments(one)[1 : 2 + len(sought)] == ["-m", *sought]]
        if not found:
            return False
        _kill(draw.choice(found))
    if kind != "job":  # Snakemake itself starts a job again
        process.wait(timeout=120)
    return True


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def networks(folder: Path, suite: str) -> list[Path]:
    """The descriptions of the networks of all runs that are complete."""
    return sorted((folder / "checkpoints" / suite).rglob("architecture.json"))


def outcome(folder: Path, suite: str) -> dict[str, object]:
    """All that a suite leaves and that no clock decides."""
    found: dict[str, object] = {}
    for top in ("results", "checkpoints"):
        for file in sorted((folder / top / suite).rglob("seed*/*.*")):
            if not file.name.startswith("."):
                found[file.relative_to(folder).as_posix()] = content(file)
    rows = pd.read_csv(folder / "results" / suite / "runs.csv").drop(columns=TIMINGS)
    return found | {"runs.csv": rows.to_csv()}


def wrong_in_mlflow(folder: Path, suite: str) -> list[str]:
    """What is missing, doubled or unfinished in the tracking store of `folder`: runs, points, data sets, models."""
    paths = [file.parent.relative_to(folder / "checkpoints").as_posix() for file in networks(folder, suite)]
    wrong = []
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:

        def asked(query: str, *values: str) -> list[Any]:
            return store.execute(query, values).fetchall()

        def tag(run_id: str, name: str) -> str | None:
            return next((value for (value,) in asked(f"{TAG} and key = ?", run_id, name)), None)

        runs = asked("select run_uuid, status from runs where lifecycle_stage = 'active'")
        names = {run_id: tag(run_id, "psap.run") for run_id, _ in runs}
        if sorted(map(str, names.values())) != sorted([*paths, suite]):
            wrong.append(f"{len(names)} runs, {len(set(names.values()))} different, for {len(paths)} and the suite")
        parents = {run_id for run_id, name in names.items() if name == suite}
        for run_id, status in runs:
            points, steps = asked(f"{POINTS} and key = 'train_loss'", run_id)[0]
            epochs = asked("select value from latest_metrics where run_uuid = ? and key = 'epochs'", run_id)
            if not (status == "FINISHED" and points == steps == (epochs[0][0] if epochs else 0)):
                wrong.append(f"{names[run_id]}: {status}, {points} points at {steps} steps of {epochs}")
            if run_id not in parents and tag(run_id, "mlflow.parentRunId") not in parents:
                wrong.append(f"{names[run_id]}: not nested in its suite")
            data, models, said = (asked(query, run_id)[0][0] for query in (DATA_SETS, MODELS, OUTPUTS))
            if (data, models, said) != (1, *(2 * [int(run_id not in parents)])):
                wrong.append(f"{names[run_id]}: {data} data sets, {models} models, {said} as its output")
        copies = len(list((folder / "mlruns" / suite / "models").iterdir()))
        if copies != len(paths):
            wrong.append(f"{copies} copies of {len(paths)} networks")
    return wrong


def main(suite: str, kinds: str, number: str, seed: str, whole: str, struck: str) -> None:
    """Strike as often as told, say so as it happens, and exit with 1 where a difference is left."""
    draw, folder = random.Random(int(seed)), Path(struck)
    choice = [draw.choice(KILLS if kinds == "kills" else KILLS + SIGNALS) for _ in range(int(number))]
    runs = len(networks(Path(whole), suite))
    begin = time.monotonic()
    for kind in strike_often(folder, suite, choice, runs, draw, dict(os.environ)):
        done = len(networks(folder, suite))
        print(f"{time.monotonic() - begin:6.0f} s  {done:3} of {runs} runs complete  {kind}", flush=True)
    wrong = wrong_in_mlflow(folder, suite)
    one, other = outcome(Path(whole), suite), outcome(folder, suite)
    wrong += [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    print(f"{len(one)} files compared", *(wrong or ["all the same, and each run is in MLflow once"]), sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main(*sys.argv[1:])
