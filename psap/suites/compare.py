"""Hold a run against its row: counts, losses, start, every epoch, pruning history and network."""

import csv
import io
from itertools import zip_longest
from pathlib import Path
from typing import Any

from psap.errors import PsapError
from psap.utils.mappings import JsonObject, flat
from psap.utils.validation import read_written, text

# Of where a row comes from: what may explain a difference.
_ORIGIN = ("code", "data", "versions", "hardware", "device", "machine")
# What no processor, GPU or library can change.
_FIXED = ("macs_dense", "params_dense", "epochs", "images")


def compare(before: Path, now: Path) -> str:
    """The verdict on two folders with a run.json and its tables: a line that says they are the same.

    On the processor of the row, with its versions, code and data, all but the cost must be equal, bit for bit. Raises
    PsapError with all that differs, by how much, and what else is other than it was.
    """
    row, again = (read_written(folder / "run.json") for folder in (before, now))
    found = _differences(row, again, before, now)
    if not found:
        top1 = row["result"]["top1_last"] if row["result"] else None
        ended = f"top-1 {top1:.2f} %" if top1 is not None else f"diverged: {row['diverged']['what']}"
        recorded = ", network" if "network" in row["provenance"] else "; its network's digest is not recorded"
        return f"{row['run']}: the same: {ended}, counts, losses, start, every epoch, history{recorded}"
    raise PsapError(f"{row['run']}: not the same: {'; '.join(found)}. {_why(row, again)}")


def differences(before: Path, now: Path) -> list[str]:
    """All that differs between two folders with a run.json and its tables, but the cost: in words, by how much."""
    row, again = (read_written(folder / "run.json") for folder in (before, now))
    return _differences(row, again, before, now)


def _differences(row: JsonObject, again: JsonObject, before: Path, now: Path) -> list[str]:
    found = [*_results(row, again), *_network(row["provenance"], again["provenance"])]
    for name in ("epochs.csv", "history.csv"):
        found += _tables(before / name, now / name)
    return found


def _results(row: JsonObject, again: JsonObject) -> list[str]:
    if row.get("diverged") != again.get("diverged"):
        return [_differ("diverged", row.get("diverged"), again.get("diverged"))]
    before, now = row["result"] or {}, again["result"] or {}
    return [_differ(name, value, now.get(name)) for name, value in before.items() if now.get(name) != value]


def _network(before: JsonObject, now: JsonObject) -> list[str]:
    """Digests of the weights that it started from, and that came out; rows that are older have none."""
    names = {"start": "the network that it starts from", "network": "the weights of its network"}
    return [f"{told} differ" for name, told in names.items() if name in before and before[name] != now.get(name)]


def _tables(before: Path, now: Path) -> list[str]:
    """How two tables differ: in how many lines, and the first difference."""
    ours, theirs = (_lines(file) for file in (before, now))
    if ours is None or theirs is None:
        return [] if ours == theirs else [f"{before if ours is None else now} is missing"]
    nothing: dict[str, str] = {}
    if ours:  # a row from before there was a column knows nothing of it
        theirs = [{name: value for name, value in line.items() if name in ours[0]} for line in theirs]
    lines = list(zip_longest(ours, theirs, fillvalue=nothing))
    other = [place for place, (a, b) in enumerate(lines) if a != b]
    if not other:
        return []
    a, b = lines[other[0]]
    name = next(name for name in {**a, **b} if a.get(name) != b.get(name))
    first = _differ(name, _number(a.get(name)), _number(b.get(name)))
    return [f"{before.name}: {len(other)} of {len(lines)} lines, first in line {other[0] + 1}: {first}"]


def _lines(file: Path) -> list[dict[str, str]] | None:
    if not file.exists():
        return None
    return list(csv.DictReader(io.StringIO(text(file))))


def _number(text: str | None) -> Any:
    try:
        return float(text or "")
    except ValueError:
        return text


def _differ(name: str, before: Any, now: Any) -> str:
    numbers = isinstance(before, int | float) and isinstance(now, int | float)
    return f"{name} {before} in its row, {now} again" + (f" ({now - before:+.3g})" if numbers else "")


def _why(row: JsonObject, again: JsonObject) -> str:
    """What else is other than it was, or that nothing is, and so what must have been equal."""
    then, now = (flat({name: each["provenance"].get(name, {}) for name in _ORIGIN}) for each in (row, again))
    changed = [
        f"{name} ({then.get(name, 'not recorded')}, now {now.get(name, 'none')})"
        for name in {**now, **then}
        if then.get(name) != now.get(name)
    ]
    fixed = f"only {', '.join(_FIXED)} must be equal"
    if changed:
        return f"Other than it was: {', '.join(changed)}; {fixed} then"
    if now["device"] != "cpu":
        return f"Nothing is other than it was, but a GPU does not repeat its sums: {fixed}"
    return "Nothing is other than it was: on one processor all of it must be equal"
