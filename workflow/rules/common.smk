# The suites of params/, checked before anything is planned, and what the rules look up in them.
from pathlib import Path

from psap import plan
from psap.digest import code_digest
from psap.leftovers import tidy
from psap.suite import STATE

GRIDS = plan.or_exit(plan.load_grids, Path("params"))
RUNS = {path: run for grid in GRIDS.values() for path, run in grid.runs.items()}
PRUNING, RETRAINING = plan.method_patterns(RUNS.values())
ENVIRONMENT = "../../environment.yml"
plan.put_this_python_first()
GPU = min(1, plan.gpus())
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
    suites = plan.or_exit(plan.announce, GRIDS)
    return [target for suite in suites for target in plan.targets(GRIDS[suite])]


def run_hash(wildcards):
    return RUNS[plan.path_of(wildcards)].hash


def network_of_parent(wildcards):
    return plan.parents(GRIDS[wildcards.suite], RUNS[plan.path_of(wildcards)])


def prepared_data(wildcards):
    return plan.prepared_data(GRIDS[wildcards.suite])


def files_of_runs(wildcards):
    return plan.files_of_runs(GRIDS[wildcards.suite])


def suite_digest(wildcards):
    return GRIDS[wildcards.suite].digest


def source_of_data(wildcards):
    return plan.suite_with_data(GRIDS, wildcards.dataset).suite.data.source


def path_of_data(wildcards):
    return plan.suite_with_data(GRIDS, wildcards.dataset).suite.data.path or ""


def fingerprint_of_data(wildcards):
    return plan.or_exit(
        plan.fingerprint, plan.suite_with_data(GRIDS, wildcards.dataset)
    )
