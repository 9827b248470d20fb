# So that `snakemake` works here; the workflow is in workflow/Snakefile.
include: "workflow/Snakefile"
