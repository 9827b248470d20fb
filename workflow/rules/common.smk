# The suites of params/, checked before anything is planned, and what the rules look up in them.
import gc
import os
import sys
from pathlib import Path

from psap.workflow import rules as psap_rules
from psap.workflow.surroundings import check_surroundings

psap_rules.exit_on_error(check_surroundings, Path.cwd())

from psap.planning.report import announce_all, announce_fitting
from psap.utils import gpu_locks
from psap.workflow import intact
from psap.suites.digest import code_digest
from psap.suites.grid import NO_SUITES, load_good_grids
from psap.planning.estimate import Estimate
from psap.suites.cleanup import delete_finished_checkpoints
from psap.suites.paths import STATE
from psap.workflow.quiet import quieten
from snakemake.io import IOFile

# A plan makes millions of objects, nearly all to stay: to look for garbage among them as often as Python does by itself
# takes a sixth of the time.
gc.set_threshold(1_000_000)

# What is asked for is not known to the workflow yet: by its name on the command line.
ASKED = [
    word
    for word in sys.argv[1:]
    if Path("params", f"{word}.yaml").is_file() and f"{word}.yaml" not in NO_SUITES
]
GRIDS, WRONG = psap_rules.exit_on_error(load_good_grids, Path("params"), ASKED)
if workflow.is_main_process:
    for problem in WRONG.values():
        print(
            f"psap: {problem} (the other suites continue)", file=sys.stderr, flush=True
        )
ESTIMATES = {name: Estimate(grid) for name, grid in GRIDS.items()}
RUNS = {path: run for grid in GRIDS.values() for path, run in grid.runs.items()}
PRUNING, RETRAINING = psap_rules.method_patterns(RUNS.values())
ENVIRONMENT = "../../environment.yml"
# What decides verdicts, and which variants are readings of the method; psap has its own rules where there are none.
JUDGED_BY = ["params/verdicts.yaml", "params/readings.yaml"]
psap_rules.put_this_python_first()
if not workflow.output_settings.verbose:
    # `psap reproduce` shows the progress itself, from what happens to jobs.
    events = os.environ.get("PSAP_EVENTS") if workflow.is_main_process else None
    quieten(logger, GRIDS, Path(events) if events else None)
GPU = min(1, gpu_locks.job_slots())
# Tries would multiply if the Snakemake inside of a job on a node started it again, too.
RETRIES = 3 if workflow.is_main_process else 0
# What a job says goes to its log; the last line of one that fails also to whoever watches.
# On a cluster's node runs only keep their journals, which are mirrored where the workflow runs.
shell.prefix(
    "set -euo pipefail; "
    + ("export PSAP_TRACKING=off; " if workflow.remote_exec else "")
    + 'logged() {{ log="$1"; shift; "$@" 2> "$log" || {{ code=$?; tail -n 1 "$log" >&2; exit $code; }}; }}; '
)


wildcard_constraints:
    suite="|".join(GRIDS),
    dataset="[^/]+",
    model="[^/]+",
    init="pretrained|scratch",
    target="[0-9.]+",
    seed="[0-9]+",


def suites_that_fit(wildcards):
    suites = psap_rules.exit_on_error(announce_fitting, GRIDS)
    return [
        target for suite in suites for target in psap_rules.suite_targets(GRIDS[suite])
    ]


def every_suite(wildcards):
    psap_rules.exit_on_error(announce_all, GRIDS)
    return [
        target for grid in GRIDS.values() for target in psap_rules.suite_targets(grid)
    ]


def run_hash(wildcards):
    return RUNS[psap_rules.run_path(wildcards)].hash


# Snakemake knows by its own records what is out of date. Where these are gone, or files of others came in, what the
# files say of themselves is held against params/, and those that say something else are made again.
def again_unless(current, file):
    if not current:
        workflow.dag.forcefiles.add(file)


def recorded(file):
    return workflow.persistence.metadata(IOFile(file)) is not None


# One function for all that a run reads: with thousands of runs, every call that Snakemake makes for each of them counts.
def inputs_of_run(wildcards):
    grid, run = GRIDS[wildcards.suite], RUNS[psap_rules.run_path(wildcards)]
    if workflow.is_main_process:
        row = f"results/{run.path}/run.json"
        psap_rules.exit_on_error(intact.check_inputs, grid, run)
        again_unless(
            psap_rules.exit_on_error(intact.row_is_current, grid, run, recorded(row)),
            row,
        )
        again_unless(
            psap_rules.exit_on_error(intact.data_are_current, grid, workflow.dryrun),
            psap_rules.prepared_data(grid),
        )
    return psap_rules.run_inputs(grid, run)


def prepared_data(wildcards):
    grid = GRIDS[wildcards.suite]
    if workflow.is_main_process:
        again_unless(
            psap_rules.exit_on_error(intact.suite_is_current, grid),
            f"results/{grid.name}/suite.json",
        )
    return psap_rules.prepared_data(grid)


def files_of_runs(wildcards):
    return psap_rules.files_of_runs(GRIDS[wildcards.suite])


def suite_digest(wildcards):
    return GRIDS[wildcards.suite].digest


def source_of_data(wildcards):
    return psap_rules.suite_with_data(GRIDS, wildcards.dataset).suite.data.source


def path_of_data(wildcards):
    return psap_rules.suite_with_data(GRIDS, wildcards.dataset).suite.data.path or ""


def photos_of_data(wildcards):
    photos = psap_rules.suite_with_data(GRIDS, wildcards.dataset).suite.data.photos
    return "--photos" if photos else ""


def fingerprint_of_data(wildcards):
    grid = psap_rules.suite_with_data(GRIDS, wildcards.dataset)
    return psap_rules.exit_on_error(psap_rules.fingerprint, grid, workflow.dryrun)


def gpu_of_run(wildcards):
    # A cluster's GPUs cannot be seen from where the workflow runs or is planned: there it is the suite that says
    # whether it wants one.
    if workflow.non_local_exec or (workflow.dryrun and not GPU):
        return int(GRIDS[wildcards.suite].suite.hardware == "gpu")
    return GPU


def request(wildcards):
    run = RUNS[psap_rules.run_path(wildcards)]
    return psap_rules.exit_on_error(
        ESTIMATES[run.suite].request, run, gpu_of_run(wildcards) > 0
    )


def threads_of_run(wildcards):
    wanted = request(wildcards).threads
    if workflow.non_local_exec:
        return wanted
    # Here the jobs of all GPUs share the cores.
    return min(wanted, max(1, (os.cpu_count() or 1) // max(1, gpu_locks.job_slots())))


# A run that was killed for want of memory or time resumes with more of both.
def memory_of_run(wildcards, attempt):
    return attempt * request(wildcards).mem_mb


def minutes_of_run(wildcards, attempt):
    return attempt * request(wildcards).minutes


def request_of_data(wildcards):
    grid = psap_rules.suite_with_data(GRIDS, wildcards.dataset)
    return psap_rules.exit_on_error(ESTIMATES[grid.name].request_of_data)


def memory_of_data(wildcards):
    return request_of_data(wildcards).mem_mb


def minutes_of_data(wildcards):
    return request_of_data(wildcards).minutes
