# A suite is a grid of runs; a run is one cell; a cell's path is its identity.
#
#   snakemake demo --cores all    one suite (params/demo.yaml), to results/demo/report.html
#   snakemake --cores all         every suite that fits this machine
#   snakemake full -n             every suite, whatever fits: what all of them cost
import sys

from snakemake.utils import min_version

min_version("9.20")


include: "workflow/rules/common.smk"


onsuccess:
    tidy(STATE)


onerror:
    print(
        "psap: not complete. The reason is above and in logs/; run the same command again to resume.",
        "If a result or figure is missing meanwhile, `git checkout -- results` restores what was committed.",
        file=sys.stderr,
    )


rule all:
    default_target: True
    input:
        suites_that_fit,


rule full:
    input:
        every_suite,


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/analyse.smk"
