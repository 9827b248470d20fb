"""`psap bench track`: what tracking costs a run, and what its mirror does in the meantime."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from psap.tracking import Row, Tracker, journal, records
from psap.utils.text import table

_EPOCHS = 200
_METRICS = 30  # of an epoch of ResNet-20 with a pruning step
_STORE = "from psap.tracking.store import Store; Store({uri!r})"


def bench_track() -> str:
    """Seconds of each part of a run's tracking into a sqlite store of its own; returns a table.

    Of the training process: the start, an epoch's row (median and largest of 200) and the end, at which it waits for
    the mirror. Of the mirror, a process of its own: the import of MLflow, and the store when it is made and opened.
    """
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        imported = _seconds(lambda: _python("import mlflow"))
        made = _seconds(lambda: _python(_STORE.format(uri=uri)))
        opened = _seconds(lambda: _python(_STORE.format(uri=uri)))
        start, rows, end, behind = _run(Path(folder) / "state", uri)
    lines = [
        ("training process", "start", _ms(start)),
        ("training process", "row of an epoch", f"{_ms(statistics.median(rows))}, at most {_ms(max(rows))}"),
        ("training process", f"end, the mirror being behind by {behind} rows", f"{end:.1f} s"),
        ("mirror", "import of MLflow", f"{imported:.1f} s"),
        ("mirror", "a store is made", f"{made:.1f} s"),
        ("mirror", "a store is opened", f"{opened:.1f} s"),
    ]
    return table(("process", "what", "time"), lines)


def _run(state: Path, uri: str) -> tuple[float, list[float], float, int]:
    """Seconds of the start, of each row, and of the end; and how many rows the mirror had left at the end."""
    state.mkdir(parents=True)
    tracker = Tracker(state, records.new_head("bench/track", "bench", {}, {}), uri, patience=120)
    start = _seconds(lambda: tracker.start([]))
    rows = []
    for epoch in range(_EPOCHS):
        metrics = {f"metric{i}": float(i * epoch) for i in range(_METRICS)}
        row = Row(step=epoch, time=records.now(), metrics=metrics)
        rows.append(_seconds(lambda row=row: tracker.log(row)))  # type: ignore[misc]
        time.sleep(0.05)  # an epoch: there is time for the mirror to get in the way
    known = journal.acknowledged(state / "journal.jsonl")
    end = _seconds(lambda: tracker.finish({"top1_last": 1.0}))
    return start, rows, end, _EPOCHS - (known["rows"] if known else 0)


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _python(code: str) -> None:
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, stderr=subprocess.DEVNULL)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
