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
        mem_mb=memory_of_data,
        runtime=minutes_of_data,
    params:
        source=source_of_data,
        path=path_of_data,
        photos=photos_of_data,
        fingerprint=fingerprint_of_data,
        code=code_digest("data"),
    shell:
        "logged {log:q} python -m psap data {params.source:q} --path={params.path:q} {params.photos}"
