# A run is one process: it trains (or resumes), compacts, evaluates, tracks, and writes its files last. What it resumes
# from lies in state/, which no rule declares, since Snakemake deletes what rules declare before a job starts again.
# Rows are in git: `update` keeps the old ones until the new are there, whatever interrupts the job.


rule dense:
    """Train a dense network: the baseline, and the start of the pretrained runs."""
    input:
        inputs_of_run,
    output:
        row=update("results/{suite}/{model}/dense/seed{seed}/run.json"),
        epochs=update("results/{suite}/{model}/dense/seed{seed}/epochs.csv"),
        weights="checkpoints/{suite}/{model}/dense/seed{seed}/model.safetensors",
        architecture="checkpoints/{suite}/{model}/dense/seed{seed}/architecture.json",
    log:
        "logs/{suite}/{model}/dense/seed{seed}.log",
    retries: RETRIES
    conda:
        ENVIRONMENT
    threads: threads_of_run
    resources:
        gpu=gpu_of_run,
        mem_mb=memory_of_run,
        runtime=minutes_of_run,
    params:
        run=psap_rules.run_path,
        config=run_hash,
        code=code_digest("train"),
    shell:
        "logged {log:q} python -m psap train {params.run:q} --threads {threads} --processes {resources.gpu}"


use rule dense as prune with:
    output:
        row=update(
            "results/{suite}/{model}/{init}/{method}/{target}/seed{seed}/run.json"
        ),
        epochs=update(
            "results/{suite}/{model}/{init}/{method}/{target}/seed{seed}/epochs.csv"
        ),
        history=update(
            "results/{suite}/{model}/{init}/{method}/{target}/seed{seed}/history.csv"
        ),
        weights="checkpoints/{suite}/{model}/{init}/{method}/{target}/seed{seed}/model.safetensors",
        architecture="checkpoints/{suite}/{model}/{init}/{method}/{target}/seed{seed}/architecture.json",
    log:
        "logs/{suite}/{model}/{init}/{method}/{target}/seed{seed}.log",
    wildcard_constraints:
        method=PRUNING,


use rule prune as retrain with:
    output:
        row=update(
            "results/{suite}/{model}/{init}/{method}/{target}/seed{seed}/run.json"
        ),
        epochs=update(
            "results/{suite}/{model}/{init}/{method}/{target}/seed{seed}/epochs.csv"
        ),
        weights="checkpoints/{suite}/{model}/{init}/{method}/{target}/seed{seed}/model.safetensors",
        architecture="checkpoints/{suite}/{model}/{init}/{method}/{target}/seed{seed}/architecture.json",
    wildcard_constraints:
        method=RETRAINING,
