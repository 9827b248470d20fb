"""Two suites, or one suite at two commits: the runs that both have, how far these differ, and whether verdicts do."""

import csv
import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from psap.analysis.claims_file import CLAIMS_FILE, Claims, side_by_side
from psap.analysis.tables import number
from psap.errors import PsapError
from psap.utils.text import table
from psap.utils.validation import text

COUNTS = ("macs", "params")
MOST_LINES = 20  # in the terminal


@dataclass(frozen=True)
class Side:
    """What is compared of a suite: its runs by what they share with another suite's, and its verdicts by claim."""

    name: str
    runs: dict[str, dict[str, str]]
    verdicts: dict[str, str]


@dataclass(frozen=True)
class Change:
    """A run that both have, in which something differs: top-1 in points, and the counts; None where one diverged."""

    run: str
    before: dict[str, float | None]
    after: dict[str, float | None]

    def difference(self, name: str) -> float | None:
        """The second minus the first."""
        before, after = self.before[name], self.after[name]
        return None if before is None or after is None else after - before


@dataclass(frozen=True)
class Versus:
    """The second side next to the first."""

    first: Side
    second: Side

    @property
    def shared(self) -> list[str]:
        """The runs that both have, in the first one's order."""
        return [run for run in self.first.runs if run in self.second.runs]

    @property
    def changes(self) -> list[Change]:
        """The shared runs that differ, the largest difference of top-1 first, after those that diverged in one."""
        pairs = [Change(run, _numbers(self.first.runs[run]), _numbers(self.second.runs[run])) for run in self.shared]
        return sorted((pair for pair in pairs if pair.before != pair.after), key=_size, reverse=True)

    @property
    def claims(self) -> list[tuple[str, str, str]]:
        """Each claim with its two verdicts; "" where a side has none."""
        return [(claim, *both) for claim, both in side_by_side(self.first.verdicts, self.second.verdicts).items()]

    @property
    def summary(self) -> list[str]:
        """What is the same and what is not, in a few sentences."""
        shared, changes = self.shared, self.changes
        equal = sum(before == after for _, before, after in self.claims)
        said = [f"{len(shared)} runs are in both; {len(shared) - len(changes)} of them are equal."]
        for side in (self.first, self.second):
            said.append(f"Only in {side.name}: {len(side.runs) - len(shared)}.")
        sizes = [abs(size) for change in changes if (size := change.difference("top1_last")) is not None]
        if sizes:
            said.append(f"The largest difference of top-1 is {number(max(sizes))} points.")
        return [*said, f"{equal} of {len(self.claims)} verdicts are equal."]


def read_side(name: str) -> Side:
    """Read a suite's runs.csv and claims.json: `name` is a folder, or REVISION:FOLDER, as git has it.

    Raises PsapError where they are not there, or broken.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(_file(name, "runs.csv")), strict=True))
        runs = {line["run"].partition("/")[2]: line for line in lines}
        verdicts = Claims.model_validate_json(_file(name, CLAIMS_FILE)).verdicts
        for line in lines:
            _numbers(line)
    except (csv.Error, ValueError, KeyError, TypeError, AttributeError):
        raise PsapError(
            f"{name}: its runs.csv and claims.json are not those of a suite; make them again with psap analyse"
        ) from None
    return Side(name, runs, verdicts)


def told(versus: Versus) -> str:
    """The comparison for a terminal."""
    parts = [" ".join(versus.summary)]
    changes = versus.changes
    if changes:
        header = ("run", "top-1, first", "second", "difference", "multiply-adds", "parameters")
        parts.append(table(header, [cells(change) for change in changes[:MOST_LINES]]))
    if len(changes) > MOST_LINES:
        parts.append(f"{len(changes) - MOST_LINES} more differ by no more than these; --html FILE has all of them.")
    return "\n\n".join([*parts, table(("claim", "first", "second"), versus.claims)])


def cells(change: Change) -> list[str]:
    """A change in words: top-1 of either and their difference, then differences of counts."""
    top1 = [number(side["top1_last"]) for side in (change.before, change.after)]
    counts = [number(change.difference(name), 0, sign=True) for name in COUNTS]
    return [change.run, *top1, number(change.difference("top1_last"), sign=True), *counts]


def page(versus: Versus) -> str:
    """The comparison as one HTML page that stands alone."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("versus.html.j2").render(versus=versus, cells=cells)


def _file(name: str, file: str) -> str:
    revision, colon, folder = name.partition(":")
    if Path(name).is_dir() or not colon:
        path = Path(name) / file
        if not path.is_file():
            raise PsapError(f"{path} does not exist: name a folder with an analysed suite, or REVISION:FOLDER")
        return text(path)
    command = ["git", "show", f"{revision}:./{folder.rstrip('/')}/{file}"]  # from here, as paths are
    try:
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()[:1] or ["no reason given"]
        raise PsapError(f"{name}: git does not have its {file} ({reason[0]})") from None
    except (OSError, subprocess.TimeoutExpired):
        raise PsapError(f"{name}: git could not be run; install it, or name a folder") from None


def _numbers(line: dict[str, str]) -> dict[str, float | None]:
    return {name: float(line[name]) if line[name] else None for name in ("top1_last", *COUNTS)}


def _size(change: Change) -> float:
    size = change.difference("top1_last")
    return float("inf") if size is None else abs(size)
