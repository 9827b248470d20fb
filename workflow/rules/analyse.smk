rule grid:
    """Write down what the suite consists of."""
    input:
        prepared_data,
    output:
        "results/{suite}/suite.json",
    log:
        "logs/{suite}/grid.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        suite=suite_digest,
        code=code_digest("grid"),
    shell:
        "logged {log:q} python -m psap grid {wildcards.suite:q}"


rule analyse:
    """Tables, figures, claims and the report, from the rows alone."""
    input:
        files_of_runs,
        suite="results/{suite}/suite.json",
        published="params/published.csv",
        judged_by=[file for file in JUDGED_BY if Path(file).is_file()],
    output:
        rows="results/{suite}/runs.csv",
        dictionary="results/{suite}/datapackage.json",
        table=report(
            "results/{suite}/table.csv",
            caption="../captions/table.rst",
            category="{suite}",
            labels={"what": "table"},
        ),
        texts=multiext("results/{suite}/table", ".md", ".tex"),
        metrics="results/{suite}/metrics.json",
        claims="results/{suite}/claims.json",
        figures=report(
            directory("results/{suite}/figures"),
            patterns=["{figure}.svg"],
            caption="../captions/figures.rst",
            category="{suite}",
            labels={"what": "{figure}"},
        ),
        report=report(
            "results/{suite}/report.html",
            caption="../captions/report.rst",
            category="{suite}",
            labels={"what": "report"},
        ),
    log:
        "logs/{suite}/analyse.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        code=code_digest("analyse"),
    shell:
        "logged {log:q} python -m psap analyse results/{wildcards.suite}"


for name in GRIDS:

    rule:
        name:
            name
        input:
            psap_rules.suite_targets(GRIDS[name]),
