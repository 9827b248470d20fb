"""`psap bench coverage`: which of timm's families and torchvision's networks can be pruned, and why the others cannot.

Rows are added to `coverage.csv` one by one, so that the command goes on where it was stopped; `coverage.md` is made of
them.
"""

import csv
import multiprocessing
import resource
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from psap.bench.families import families, smallest
from psap.bench.support import TARGETS, Row, attempt, column, through_norms
from psap.bench.supported_models_page import count, render
from psap.errors import PsapError
from psap.utils.files import write_csv, write_text
from psap.utils.text import table
from psap.utils.validation import read_rows

CSV, MARKDOWN = "coverage.csv", "coverage.md"
COLUMNS = ("family", "members", "network", "input", "prunable", "groups", *map(column, TARGETS))
COLUMNS += ("streams", *map(through_norms, TARGETS), "restored", "difference", "change", "reason")
MEMORY = 12 * 2**30  # bytes that a network's process may take


def bench_coverage(
    folder: Path, seconds: int, largest: int, only: Sequence[str] = (), part: tuple[int, int] = (1, 1)
) -> str:
    """Try the families that `folder`'s table lacks (of those named `only`, if any); return the counts as a table.

    A network gets a process and at most `seconds`; one of more than `largest` million parameters is not tried. Of
    `part` (k, n) are the families k, k + n, ... of all: several processes share the work, with one table; the call
    without parts that follows sorts it and makes the page. Raises PsapError for a name that is no family.
    """
    known = families()
    if strangers := set(only) - known.keys():
        raise PsapError(
            f"{min(strangers)!r} is no family of timm and no network of torchvision; {folder / CSV} lists them"
        )
    file = folder / CSV
    done = {row["family"] for row in read(file)} if file.exists() else set()
    first, parts = part
    for name in list(only or known)[first - 1 :: parts]:
        if name not in done:
            network, parameters = smallest(known[name])
            row: Row = {"family": name, "members": len(known[name]), "network": network}
            if parameters > largest * 10**6:
                row |= _not_tried(f"{parameters / 1e6:.0f} M parameters, more than {largest} M")
            else:
                row |= _tried(network, seconds)
            _append(file, row)
    rows = sorted(read(file), key=lambda row: str(row["family"]))
    if parts == 1:
        write_csv(file, COLUMNS, rows)
        write_text(folder / MARKDOWN, render(rows))
    numbers = count(rows)
    return table(("networks", *map(column, TARGETS)), [[what, *map(str, values)] for what, values in numbers.items()])


def read(file: Path) -> list[Row]:
    """The rows of a coverage table, every cell as text."""
    return [dict(row) for row in read_rows(file, COLUMNS, "delete it, and all families are tried again")]


def _append(file: Path, row: Row) -> None:
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS, restval="", extrasaction="ignore", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row | {name: f"{row[name]:.1e}" for name in ("difference", "change") if name in row})


def _tried(network: str, seconds: int) -> Row:
    """The outcome of `attempt` in a process of its own, which cannot take this one with it."""
    torch.set_num_threads(1)  # nothing has run yet, so that a fork is safe, and imports nothing twice
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_child, args=(network, there))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(seconds) else _not_tried(f"took more than {seconds} s")
    except EOFError:
        return _not_tried("its process ended, for want of memory or by a crash")
    finally:
        process.kill()
        process.join()


def _child(name: str, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    answer.send(attempt(name))


def _not_tried(reason: str) -> Row:
    return {**{column(target): "not tried" for target in TARGETS}, "reason": reason}
