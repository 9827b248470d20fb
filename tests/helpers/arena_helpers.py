"""Try a command in a copy of a small project, in a process of its own, and say what was wrong about its end."""

import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from psap.errors import PsapError

DENSE, PRUNED = "tiny/resnet8/dense/seed0", "tiny/resnet8/pretrained/psap/0.5/seed0"  # runs of the project
SECONDS = 10  # of the processor that any case may take
_WAITING = 4  # times as many by the clock: the machine may have other things to do
_MEMORY = 6 * 2**30
_MAY_STAY = ("state/", ".snakemake/")  # of what was begun, to go on from


def nothing(*_: object) -> None:
    """Prepare nothing, or check nothing beyond what every case is checked for."""


@dataclass(frozen=True)
class Case:
    """`arguments` of psap, or a `call`, in a project that `prepare` has spoilt; `check` gets what success has said."""

    name: str
    arguments: tuple[str, ...] = ()
    prepare: Callable[[Path], None] = field(default=nothing, repr=False)
    check: Callable[[Path, str], None] = field(default=nothing, repr=False)
    call: Callable[[], None] | None = field(default=None, repr=False)


def fault(case: Case, project: Path, place: Path, seconds: int = SECONDS) -> str:
    """What was wrong about the end of `case`, tried in `place`, a new copy of `project`; empty if nothing was."""
    shutil.copytree(project, place, symlinks=True)
    try:
        case.prepare(place)
        before = _files(place)
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            _try(case, place, seconds)
        code = _wait(child, start + _WAITING * seconds)
        said, told = ((place.with_suffix(end)).read_text(errors="replace") for end in (".out", ".err"))
        return _judged(case, place, code, said, told, _files(place) - before)
    finally:
        for end in (".out", ".err"):
            place.with_suffix(end).unlink(missing_ok=True)
        shutil.rmtree(place, ignore_errors=True)


def _judged(case: Case, place: Path, code: int | None, said: str, told: str, new: set[str]) -> str:
    last = (told.strip().splitlines() or [""])[-1][:300]
    if code is None or -code in (signal.SIGKILL, signal.SIGXCPU):
        return f"no end within {SECONDS} s"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if "Traceback" in told or "Traceback" in said:
        return f"traceback: {last}"
    if half := [name for name in new if Path(name).name.startswith(".") and not name.startswith(_MAY_STAY)]:
        return f"left half-written: {half}"
    if code == 2:
        if not told.startswith("psap: ") or told.count("\n") != 1:
            return f"not one line: {told[:300]!r}"
        left = [name for name in new if not name.startswith(_MAY_STAY) and not name.endswith(".lock")]
        return f"refused, but left {left}: {last}" if left else ""
    if code:
        return f"exit code {code}: {last}"
    try:
        case.check(place, said)
    except Exception as error:
        return f"a wrong result: {type(error).__name__}: {error}"
    return ""


def _files(place: Path) -> set[str]:
    return {str(file.relative_to(place)) for file in place.rglob("*") if file.is_symlink() or not file.is_dir()}


def _wait(child: int, until: float) -> int | None:
    """The exit code of `child`, negative for a signal; None where it had to be stopped."""
    pause = 0.002
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _try(case: Case, place: Path, seconds: int) -> None:
    """In the child: what a shell would do, without the time that a new Python takes. Never returns."""
    os.setpgid(0, 0)
    os.environ["PSAP_TRACKING"] = "off"
    os.environ.pop("PSAP_DATA", None)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    # On top of what the tests before have left in the process that this is a fork of.
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY + psutil.Process().memory_info().data,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(place)
    for stream, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(place.with_suffix(end), os.O_WRONLY | os.O_CREAT, 0o600), stream)
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    code = 1
    try:
        from psap.cli import main as cli

        sys.argv = ["psap", *case.arguments]
        case.call() if case.call else cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except PsapError as error:  # as a `call` is refused
        print(f"psap: {error}", file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
