"""Run the workflow, whatever an earlier one left behind, with one mirror into MLflow for all of its runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from psap.errors import PsapError
from psap.planning.affordable import tell_plan
from psap.suites.grid import Grid, load_good_grids
from psap.suites.paths import CHECKPOINTS, RESULTS, STATE
from psap.tracking import journal_report, tell_without_journal
from psap.tracking.background import mirrored
from psap.utils import gpu_locks
from psap.utils.files import os_errors_as_psap_error
from psap.workflow.apart import bring_back
from psap.workflow.display import Silence, shown
from psap.workflow.slurm import cancel_left_jobs
from psap.workflow.warm import warm_starts

_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PATIENCE = 20.0  # seconds that a workflow has to stop by itself


def run_workflow(
    suites: Sequence[str], cores: str, options: Sequence[str], anyway: bool = False, accept: bool = False
) -> int:
    """Run `snakemake <suites> <options>` in the working directory; returns its exit code.

    `cores`: jobs at once; "" for what a profile among the options says, or else all that this machine has. `anyway`:
    also what takes this machine days. `accept`: results that agree with the committed ones take their place.

    Snakemake leaves its own lock behind when it is killed, and cannot tell that from a workflow at work; here it is
    lifted where no Snakemake is left in this folder. Raises PsapError when one is.
    """
    if not suites:
        raise PsapError("which suite? psap reproduce SUITES... [SNAKEMAKE OPTIONS]")
    grids, _ = load_good_grids(Path("params"), suites)
    dry = bool({"-n", "--dry-run", "--dryrun"} & set(options))
    if not _elsewhere(options) and not dry:
        tell_plan([grids[suite] for suite in suites], anyway)
    folder = Path(".snakemake")
    with os_errors_as_psap_error(folder / "psap.lock"):
        folder.mkdir(exist_ok=True)
        (folder / "psap.lock").touch()
    snakemake = [sys.executable, "-m", "snakemake"]
    try:
        with FileLock(folder / "psap.lock", timeout=0):
            if alive := _snakemakes():
                raise PsapError(
                    f"Snakemake is at work in this folder (process {alive[0]}); wait for it, or stop it first"
                )
            if any(folder.glob("locks/*")):
                cancel_left_jobs()
                subprocess.run([*snakemake, "--unlock"], check=True, capture_output=True)
            for suite in () if dry else suites:
                bring_back(suite)
            here = not _elsewhere(options) and not gpu_locks.job_slots()
            warm: AbstractContextManager[dict[str, str]] = warm_starts(folder) if here else nullcontext({})
            with warm as more:
                command = [*snakemake, *suites, *_cores(cores, options), *options]
                runs = 0 if dry else sum(len(grids[suite].runs) for suite in set(suites))
                code = _run_tracked(command, suites, os.environ | more, runs)
            if code == 0 and not dry:
                _conclude([grids[suite] for suite in suites], accept)
    except Timeout:
        raise PsapError("another `psap reproduce` is at work in this folder; wait for it, or stop it first") from None
    return code


def _conclude(grids: Iterable[Grid], accept: bool) -> None:
    from psap.workflow.conclusion import conclude  # which imports pandas: not before the workflow starts

    for grid in grids:
        for line in conclude(grid, accept):
            print(line)


def _cores(cores: str, options: Sequence[str]) -> list[str]:
    """What to tell Snakemake of `cores`, and of the GPUs here, before the user's own options, which so come to win.

    A profile comes first: on a cluster, this machine's cores are no limit.
    """
    if not cores and _elsewhere(options):
        return []
    chosen = any(option.startswith(("--resources", "gpu=")) for option in options) or not gpu_locks.job_slots()
    return ["--cores", cores or "all", *([] if chosen else ["--resources", f"gpu={gpu_locks.job_slots()}"])]


def _elsewhere(options: Sequence[str]) -> bool:
    """Whether a profile, a cluster's most likely, says where jobs run."""
    return "SNAKEMAKE_PROFILE" in os.environ or any(option.startswith("--profile") for option in options)


def _snakemakes() -> list[int]:
    """Processes of this user that run Snakemake in the working directory."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        # By an argument's last part: the folder's own path may hold the word, and ours with it.
        arguments = process.info["cmdline"] or ()
        runs = any(Path(argument).name == "snakemake" for argument in arguments)
        of_a_node = "--mode remote" in " ".join(arguments)  # a cluster's job, which outlives its workflow
        if runs and not of_a_node and process.info["cwd"] == str(Path.cwd()):
            found.append(process.pid)
    return found


def _run_tracked(command: list[str], suites: Sequence[str], environment: Mapping[str, str], runs: int) -> int:
    """Run `command`, with one mirror for all: an import of MLflow in each job would cost as much as a short run.

    The progress of its `runs` runs is shown, if it is to do any.
    """
    tracked = os.environ.get("PSAP_TRACKING") != "off"
    environment, folder, begin = {**environment, "PSAP_TRACKING": "off"}, Path(".snakemake"), time.time()
    # In a process group of its own: a second signal, ours after that to the group, can bring Snakemake to a standstill.
    with mirrored(STATE) if tracked else nullcontext():
        with (
            shown(folder, runs) as (display, more, (out, err)),
            subprocess.Popen(command, env=environment | more, process_group=0, stdout=out, stderr=err) as workflow,
            _stopping(workflow.pid, display),
        ):
            display.follow(workflow)
        for suite in suites:
            journal_report(RESULTS / suite, STATE)
        if not workflow.returncode:
            tell_without_journal([RESULTS / suite for suite in suites], STATE, CHECKPOINTS)
    logs = [log for log in sorted(folder.glob("log/*.log")) if log.stat().st_mtime >= begin]
    if workflow.returncode == 1 and runs and logs:  # 2: nothing was begun, and a line has said why
        print(f"psap: all that Snakemake said is in {logs[-1]}", file=sys.stderr)
    return workflow.returncode


@contextmanager
def _stopping(workflow: int, display: Silence) -> Iterator[None]:
    """Stop `workflow` and its jobs, which lose no more than their current epoch, when this process is told to stop.

    Snakemake alone would wait for its jobs, and be in the way of whoever starts it again. First the `display` closes.
    """

    def stop(number: int, _: object) -> None:
        display.close()
        print("stopping; run the same command again to resume", file=sys.stderr, flush=True)
        processes: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # it has just come to its end
            top = psutil.Process(workflow)
            processes = [top, *top.children(recursive=True)]
        for signal_name in ("terminate", "kill"):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    getattr(process, signal_name)()
            cancel_left_jobs()
            _, processes = psutil.wait_procs(processes, timeout=_PATIENCE)
        os._exit(128 + number)  # the locks of this process go with it

    heeded = [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup ignores one
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
