"""Whether the results of a suite agree with its committed ones, and a paragraph that says so."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from psap.analysis.claims_file import read_verdicts, side_by_side
from psap.suites.compare import differences
from psap.suites.consistency import read_row
from psap.suites.row import Row

_MOST = 2.0  # root mean square, in standard deviations over seeds; of two trainings that differ by chance it is 1.4


@dataclass(frozen=True)
class Pair:
    """A run's committed row, and the one that is there now."""

    before: Row
    now: Row
    same_file: bool
    bit_equal: bool

    @property
    def same_order(self) -> bool:
        """Whether both were ordered the same: configuration and data."""
        return (self.before.hash, self.before.provenance.data) == (self.now.hash, self.now.provenance.data)

    @property
    def same_end(self) -> bool:
        return (self.before.result is None) == (self.now.result is None)

    @property
    def difference(self) -> float:
        """Of top-1, in points; 0 where one diverged."""
        before, now = self.before.result, self.now.result
        return now.top1_last - before.top1_last if before and now else 0.0


@dataclass(frozen=True)
class Agreement:
    """The runs of a suite by path, next to their committed rows; `missing`: how many have none."""

    suite: str
    pairs: list[Pair]
    missing: int
    verdicts: Mapping[str, tuple[str, str]]

    @property
    def anew(self) -> list[Pair]:
        """Those that were made after the committed ones, or elsewhere."""
        return [pair for pair in self.pairs if not pair.same_file]

    @cached_property
    def largest(self) -> Pair:
        return max(self.anew, key=lambda pair: abs(pair.difference))

    @cached_property
    def spreads(self) -> dict[str, float]:
        """By method, the standard deviation of top-1 over seeds in the committed rows; nothing where there is one seed.

        The usual one at least: with few seeds, a method can by chance seem to have none.
        """
        cells: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for row in (pair.before for pair in self.pairs):
            if row.result:
                cells[row.method, row.model, row.init, row.target].append(row.result.top1_last)
        variances: dict[str, list[float]] = defaultdict(list)
        for (method, *_), values in cells.items():
            if len(values) > 1:
                variances[str(method)].append(statistics.variance(values))
        found = {method: math.sqrt(statistics.fmean(values)) for method, values in variances.items()}
        usual = statistics.median(found.values()) if found else 0.0
        return {method: max(spread, usual) for method, spread in found.items()}

    @property
    def within_seeds(self) -> bool:
        """Whether the differences of top-1, each in units of its method's spread, are as small as those of seeds."""
        spreads = [self.spreads.get(pair.now.method, 0.0) for pair in self.anew]
        if not all(spreads):
            return all(pair.bit_equal for pair in self.anew)
        units = (pair.difference / spread for pair, spread in zip(self.anew, spreads, strict=True))
        return math.sqrt(statistics.fmean(unit**2 for unit in units)) <= _MOST

    @cached_property
    def against(self) -> list[str]:
        """Why the results do not agree with the committed ones; nothing where they do."""
        reasons = {
            "runs without a committed row": self.missing,
            "runs with other settings or data": sum(not pair.same_order for pair in self.pairs),
            "runs that diverged in one of both": sum(not pair.same_end for pair in self.pairs),
        }
        found = [f"{reason}: {count}" for reason, count in reasons.items() if count]
        if any(before != now for before, now in self.verdicts.values()):
            found.append("verdicts differ")
        if self.anew and not self.within_seeds:
            found.append("top-1 differs by more than seeds do")
        return found

    def told(self) -> str:
        """The comparison, in sentences."""
        count, compared = f"{self.suite}: {len(self.pairs) + self.missing} runs", len(self.pairs)
        if not self.anew:
            return f"{count}. {compared} rows are the committed ones themselves. {self._judged()}"
        equal = sum(pair.bit_equal for pair in self.pairs)
        said = [f"{count}. {equal} of {compared} rows are bit-equal to the committed ones."]
        if equal < compared:
            said.append(self._by_how_much())
        before, now = ([getattr(pair, side) for pair in self.anew] for side in ("before", "now"))
        said.append(f"The committed rows were made on {_machines(before)}; these on {_machines(now)}.")
        if any(pair.before.provenance.code != pair.now.provenance.code for pair in self.anew):
            said.append("The code of training has changed since.")
        return " ".join([*said, self._judged()])

    def _by_how_much(self) -> str:
        largest = self.largest.now
        spread = self.spreads.get(largest.method)
        within = f", where seeds of {largest.method} differ by {spread:.2f} (standard deviation)" if spread else ""
        return f"Top-1 differs by at most {abs(self.largest.difference):.2f} points ({largest.run}){within}."

    def _judged(self) -> str:
        equal = sum(before == now for before, now in self.verdicts.values())
        if not self.verdicts:
            return "No verdicts are committed."
        if equal == len(self.verdicts):
            return f"All {equal} verdicts are equal."
        return f"{equal} of {len(self.verdicts)} verdicts are equal."


def compare_suite(before: Path, now: Path, runs: Iterable[str]) -> Agreement:
    """Compare a suite's `runs` in its folder `now` with those in `before`, another folder of the same suite."""
    pairs, missing = [], 0
    for run in runs:
        inside = run.partition("/")[2]
        folders = before / inside, now / inside
        old, new = (folder / "run.json" for folder in folders)
        if not old.exists():
            missing += 1
            continue
        same = old.read_bytes() == new.read_bytes()
        pairs.append(Pair(read_row(old, run), read_row(new, run), same, same or not differences(*folders)))
    return Agreement(now.name, pairs, missing, _verdicts(before, now))


def _verdicts(before: Path, now: Path) -> dict[str, tuple[str, str]]:
    """By claim, of both folders; nothing where rows alone are committed."""
    committed = read_verdicts(before)
    return side_by_side(committed, read_verdicts(now)) if committed else {}


def _machines(rows: Iterable[Row]) -> str:
    return " and ".join(sorted({_machine(row) for row in rows}))


def _machine(row: Row) -> str:
    """The processor and the instructions that torch used of it; on a GPU, its name."""
    made = row.provenance
    if made.device != "cpu":
        return made.device
    known = (str(made.machine[name]) for name in ("processor", "instructions") if name in made.machine)
    return " with ".join(known) or "a processor that was not recorded"
