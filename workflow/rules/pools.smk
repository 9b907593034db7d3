"""Every usable training cut of a language in budget order, and the nested budgets cut from it.

in    results/manifests/...   training splits, and all test splits for the leak guard
out   results/pools/{lang}.jsonl.gz, .qc.json
      results/budgets/{lang}/{hours}h.jsonl.gz, .json
      results/replay/{lang}/{hours}h.jsonl.gz, .json   with training.replay only
"""


rule build_pool:
    input:
        training=lambda wildcards: list(STUDY.training_manifests(wildcards.lang).values()),
        tests=lambda wildcards: list(STUDY.guard_manifests(wildcards.lang).values()),
    output:
        pool="results/pools/{lang}.jsonl.gz",
        report=shown("Data", "results/pools/{lang}.qc.json", "pool", language="{lang}"),
    log:
        "logs/build_pool/{lang}.log",
    benchmark:
        "results/benchmarks/build_pool/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=more(2000),
    params:
        program=program("build_pool"),
        recipe=1,
        training=lambda wildcards: named(STUDY.training_manifests(wildcards.lang)),
        tests=lambda wildcards: named(STUDY.guard_manifests(wildcards.lang)),
        settings=lambda wildcards: as_json(STUDY.pool_settings(wildcards.lang)),
        # Only stops the job: as a function of `input` it is no reason for Snakemake to make pools,
        # and all trainings, anew.
        limit=lambda wildcards, input: config["filters"]["max_drop_fraction"],
    message:
        "Pool of {wildcards.lang}"
    shell:
        "python {params.program:q} --lang {wildcards.lang} --manifests {params.training:q} --tests {params.tests:q}"
        " --settings {params.settings:q} --max-drop-fraction {params.limit} --output {output.pool:q} --report {output.report:q}"
        " --threads {threads} --log {log:q}"


rule subset_budget:
    input:
        pool="results/pools/{lang}.jsonl.gz",
    output:
        cuts="results/budgets/{lang}/{hours}h.jsonl.gz",
        report="results/budgets/{lang}/{hours}h.json",
    log:
        "logs/subset_budget/{lang}/{hours}h.log",
    benchmark:
        "results/benchmarks/subset_budget/{lang}/{hours}h.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("subset_budget"),
        recipe=1,
    message:
        "{wildcards.hours} h of {wildcards.lang}"
    shell:
        "python {params.program:q} --pool {input.pool:q} --hours {wildcards.hours} --output {output.cuts:q}"
        " --report {output.report:q} --log {log:q}"


rule mix_replay:
    input:
        budget="results/budgets/{lang}/{hours}h.jsonl.gz",
        pool=STUDY.replay_pool() or [],
    output:
        cuts="results/replay/{lang}/{hours}h.jsonl.gz",
        report="results/replay/{lang}/{hours}h.json",
    log:
        "logs/mix_replay/{lang}/{hours}h.log",
    benchmark:
        "results/benchmarks/mix_replay/{lang}/{hours}h.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("mix_replay"),
        recipe=1,
        lang=lambda wildcards: config["training"]["replay"]["lang"],
        fraction=lambda wildcards: config["training"]["replay"]["fraction"],
    message:
        "Replay {params.lang} in {wildcards.hours} h of {wildcards.lang}"
    shell:
        "python {params.program:q} --budget {input.budget:q} --pool {input.pool:q} --lang {params.lang}"
        " --fraction {params.fraction} --output {output.cuts:q} --report {output.report:q} --log {log:q}"
