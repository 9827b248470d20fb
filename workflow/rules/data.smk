rule data:
    """Read and check every image of a data set, once."""
    output:
        data="data/{dataset}.safetensors",
        manifest="data/{dataset}.json",
    log:
        "logs/data/{dataset}.log",
    conda:
        ENVIRONMENT
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        suite=suite_with_data,
        source=source_with_data,
        code=code_digest("data"),
    shell:
        "python -m psap data {params.suite:q} 2> {log:q}"
