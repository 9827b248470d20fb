"""How far a workflow is: what its events and the logs of its jobs tell."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from re import search

from psap.utils.mappings import JsonObject

_TRAINING = ("dense", "prune", "retrain")
# What a training says of its last epoch (psap.training.outputs).
_EPOCH = r"  epoch (\d+)/(\d+)  lr \S+  loss (\S+)  (?:top-1 (\S+ %)  )?.*?  (\S+ images/s)"


@dataclass
class Progress:
    """What is known of a workflow: from the events in the file at `events`, and from the jobs' logs.

    `runs` is the number of runs of its suites.
    """

    events: Path
    runs: int
    start: float = field(default_factory=time.monotonic)
    left: int | None = None  # runs that the workflow still has to train; None before it has planned
    jobs: dict[int, tuple[str, Path]] = field(default_factory=dict)  # those that run, their names and logs
    trained: int = 0  # runs that it has trained
    _read: int = 0

    def look(self) -> None:
        """Take in what has happened since the last look."""
        with self.events.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._happened(json.loads(line))

    def _happened(self, event: JsonObject) -> None:
        match event:
            case {"event": "run_info", "stats": stats}:
                self.left = sum(stats.get(rule, 0) for rule in _TRAINING)
            case {"event": "job_info", "job": job, "log": [log, *_]}:
                self.jobs[job] = (Path(log).with_suffix("").as_posix().removeprefix("logs/"), Path(log))
                self.start = self.start if self.trained or len(self.jobs) > 1 else time.monotonic()
            case {"event": "job_finished", "job": job}:
                _, log = self.jobs.pop(job, ("", Path()))
                if "seed" in log.stem and self.left:
                    self.trained, self.left = self.trained + 1, self.left - 1
            case {"event": "job_error", "job": job}:
                self.jobs.pop(job, None)

    def done(self) -> int:
        """Runs that are complete."""
        return self.runs - (self.runs if self.left is None else self.left)

    def epochs(self) -> Iterator[tuple[str, list[str]]]:
        """The jobs that run, with epoch, epochs, loss, accuracy and speed of those that have trained an epoch."""
        for name, log in self.jobs.values():
            found = search(_EPOCH, _last_line(log))
            yield name, [value or "" for value in found.groups()] if found else []

    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed so far; None as long as there is no saying."""
        begun = sum(int(values[0]) / int(values[1]) for _, values in self.epochs() if values)
        done = self.trained + begun
        if self.left is None or not done:
            return None
        return max(0.0, (time.monotonic() - self.start) / done * (self.left - begun))

    def line(self) -> str:
        """The state in a short line."""
        left = self.seconds_left()
        told = f"{self.done()} of {self.runs} runs, {len(self.jobs)} at work"
        return told if left is None else f"{told}, {clock(left)} left"


def clock(seconds: float) -> str:
    """`seconds` as hours, minutes and seconds: "01:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            return (file.read().decode(errors="replace").strip().splitlines() or [""])[-1]
    except OSError:  # not begun
        return ""
