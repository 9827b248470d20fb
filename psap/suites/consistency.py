"""Read a row, and see whether a run can have written it: what in it follows from the rest must agree with the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from psap.errors import PsapError
from psap.suites.row import Record, Result, Row
from psap.utils.files import sha256
from psap.utils.validation import read_json

_ROUNDING = 1e-6  # of percentages and shares, which were calculated from each other


def contradiction(run: Row) -> str:
    """The first field of `run` that contradicts another, and how; "" where none does."""
    return next(_contradictions(run), "")


def _contradictions(run: Row) -> Iterator[str]:
    for name in ("model", "seed", "init", "target"):
        said, configured = getattr(run, name), run.config.get(name)
        if name in run.config and said != configured:
            yield f"{name}: {said!r} here, and {configured!r} in its config"
    if run.hash != sha256(json.dumps(run.config, sort_keys=True).encode()):
        yield "hash: it is not that of its config"
    if run.result:  # there is none where the training diverged
        yield from _wrong_numbers(run.result)


def _wrong_numbers(result: Result) -> Iterator[str]:
    for name in ("top1_last", "top1_best", "top5_last", "dense_top1"):
        value = getattr(result, name)
        if value is not None and not 0 <= value <= 100:
            yield f"result.{name}: {value:g} is no percentage"
    if result.top1_best is not None and result.top1_best < result.top1_last - _ROUNDING:
        yield f"result.top1_best: {result.top1_best:g} is below top1_last, {result.top1_last:g}"
    if result.top5_last is not None and result.top5_last < result.top1_last - _ROUNDING:
        yield f"result.top5_last: {result.top5_last:g} is below top1_last, {result.top1_last:g}"
    drop = result.dense_top1 - result.top1_last
    if abs(result.drop - drop) > _ROUNDING:
        yield f"result.drop: {result.drop:g}, and dense_top1 minus top1_last is {drop:g}"
    for name in ("macs", "params"):
        kept, dense, share = (getattr(result, name + end) for end in ("", "_dense", "_reduction"))
        if not kept > 0 or not dense > 0:
            yield f"result.{name if kept <= 0 else f'{name}_dense'}: a network has at least one"
        elif abs(share - (1 - kept / dense)) > _ROUNDING:
            yield f"result.{name}_reduction: {share:g}, and 1 - {name} / {name}_dense is {1 - kept / dense:g}"


R = TypeVar("R", bound=Record)


def read_record(path: Path, kind: type[R]) -> R:
    return read_json(path, kind, "write it again by rerunning what made it")


def read_row(file: Path, path: str) -> Row:
    """Read the row of the run `path`. Raises PsapError where it is broken, another run's, or contradicts itself."""
    run = read_record(file, Row)
    if run.run != path:
        raise PsapError(f"{file}: it says it is run {run.run}, but it lies at {path}; put it back where it belongs")
    if wrong := contradiction(run):
        raise PsapError(f"{file}: {wrong}; no run wrote that: restore the file, or remove it and run {path} again")
    return run
