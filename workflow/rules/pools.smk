"""What runs are trained on: pools, the nested budgets cut from them, and mixtures.

in    results/manifests/...   training splits, and all test splits for the leak guard
out   results/pools/{lang}.jsonl.gz, .qc.json   every usable cut of a language, in budget order
      results/shar/{lang}/index.npy, report.json, *.tar   audio of a pool, where storage is shar
      results/budgets/{lang}/{hours}h.jsonl.gz, .json
      results/dirty_labels/{training_set}/{lang}/{hours}h.jsonl.gz, .json   texts made wrong
      results/mixtures/{training_set}/{hours}h.jsonl.gz, .json
"""


rule build_pool:
    input:
        training=lambda wildcards: list(paths.training_manifests(STUDY, wildcards.lang).values()),
        tests=lambda wildcards: list(paths.guard_manifests(STUDY, wildcards.lang).values()),
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
        version=VERSIONS["build_pool"],
        training=lambda wildcards: named(paths.training_manifests(STUDY, wildcards.lang)),
        tests=lambda wildcards: named(paths.guard_manifests(STUDY, wildcards.lang)),
        settings=lambda wildcards: settings("pool", slices.pool(STUDY, wildcards.lang)),
        limit=unwatched(lambda wildcards: config["filters"]["max_drop_fraction"]),
    message:
        "Pool of {wildcards.lang}"
    shell:
        "python {params.program:q} --lang {wildcards.lang} --manifests {params.training:q}"
        " --tests {params.tests:q} --settings {params.settings:q}"
        " --max-drop-fraction {params.limit} --output {output.pool:q} --report {output.report:q}"
        " --threads {threads} --log {log:q}"


rule pack_pool:
    input:
        pool="results/pools/{lang}.jsonl.gz",
    output:
        index="results/shar/{lang}/index.npy",
        report="results/shar/{lang}/report.json",
    log:
        "logs/pack_pool/{lang}.log",
    benchmark:
        "results/benchmarks/pack_pool/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=more(2000),
    params:
        program=program("pack_pool"),
        version=VERSIONS["pack_pool"],
    message:
        "Shards of {wildcards.lang}"
    shell:
        "python {params.program:q} --pool {input.pool:q} --output {output.index:q}"
        " --report {output.report:q} --version {params.version} --threads {threads} --log {log:q}"


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
        version=VERSIONS["subset_budget"],
    message:
        "{wildcards.hours} h of {wildcards.lang}"
    shell:
        "python {params.program:q} --pool {input.pool:q} --hours {wildcards.hours}"
        " --output {output.cuts:q} --report {output.report:q} --log {log:q}"


rule corrupt_labels:
    input:
        budget=lambda wildcards: clean_budget(wildcards),
        tests=lambda wildcards: list(paths.guard_manifests(STUDY, wildcards.lang).values()),
    output:
        cuts="results/dirty_labels/{training_set}/{lang}/{hours}h.jsonl.gz",
        report="results/dirty_labels/{training_set}/{lang}/{hours}h.json",
    log:
        "logs/corrupt_labels/{training_set}/{lang}/{hours}h.log",
    benchmark:
        "results/benchmarks/corrupt_labels/{training_set}/{lang}/{hours}h.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("corrupt_labels"),
        version=VERSIONS["corrupt_labels"],
        tests=lambda wildcards: named(paths.guard_manifests(STUDY, wildcards.lang)),
        settings=lambda wildcards: settings(
            "labels", slices.labels(STUDY, wildcards.training_set, wildcards.lang)
        ),
    message:
        "Dirty labels of {wildcards.training_set}: {wildcards.hours} h of {wildcards.lang}"
    shell:
        "python {params.program:q} --training-set {wildcards.training_set}"
        " --lang {wildcards.lang} --hours {wildcards.hours} --budget {input.budget:q}"
        " --tests {params.tests:q} --settings {params.settings:q}"
        " --output {output.cuts:q} --report {output.report:q} --log {log:q}"


rule mix_training_set:
    input:
        budgets=lambda wildcards: list(mixture_parts(wildcards).values()),
        replay=lambda wildcards: paths.pool(one.lang) if (one := replayed(wildcards)) else [],
    output:
        cuts="results/mixtures/{training_set}/{hours}h.jsonl.gz",
        report="results/mixtures/{training_set}/{hours}h.json",
    log:
        "logs/mix_training_set/{training_set}/{hours}h.log",
    benchmark:
        "results/benchmarks/mix_training_set/{training_set}/{hours}h.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("mix_training_set"),
        version=VERSIONS["mix_training_set"],
        parts=lambda wildcards: named(mixture_parts(wildcards)),
        weights=lambda wildcards: named(STUDY.training_set(wildcards.training_set).languages),
        replay=lambda wildcards: (
            ["--replay", f"{one.lang}={paths.pool(one.lang)}", "--fraction", str(one.fraction)]
            if (one := replayed(wildcards))
            else []
        ),
    message:
        "{wildcards.hours} h of {wildcards.training_set}"
    shell:
        "python {params.program:q} --parts {params.parts:q} --weights {params.weights:q}"
        " {params.replay:q}"
        " --output {output.cuts:q} --report {output.report:q} --log {log:q}"
