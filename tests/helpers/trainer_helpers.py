"""A run for the tests: `python trainer_helpers.py STATE URI EPOCHS SECONDS PATIENCE`, resuming from its checkpoint."""

import json
import sys
import time
from pathlib import Path

from filelock import FileLock
from tracked_helpers import DATA, a_network

from psap.tracking import Row, Tracker, new_head
from psap.tracking.records import Scalar
from psap.utils import files


def train(state: Path, uri: str, epochs: int, seconds: float, patience: float) -> None:
    """`epochs` epochs of `seconds` each: checkpoint first, then the row; at last a result file and the end."""
    checkpoint = state / "checkpoint.json"
    with FileLock(state / "lock"):
        rows: list[Row] = json.loads(checkpoint.read_text()) if checkpoint.exists() else []
        params: dict[str, Scalar] = {"seed": 0, "note": "x" * 10_000}
        head = new_head(f"demo/{state.name}", "demo", {"psap.suites.grid": "demo"}, params, data=DATA)
        tracker = Tracker(state, head, uri, patience)
        tracker.start(rows)
        for step in range(len(rows), epochs):
            time.sleep(seconds)
            row: Row = {
                "step": step,
                "time": time.time_ns() // 1_000_000,
                "metrics": {"loss": 1 / (step + 1), "top1": step},
            }
            rows.append(row)
            files.write_json(checkpoint, rows)
            tracker.log(row)
        files.write_text(state / "run.json", "{}\n")
        tracker.finish({"top1_last": 97.5}, [state / "run.json"], a_network(state))


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *map(float, sys.argv[4:6]))
