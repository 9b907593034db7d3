"""What is understood of what was heard: topics, answers, and what donors know of topics. Nothing of
it is made unless a study has the block `understanding`.

in    results/scores/{lang}.parquet, tables of topics and questions; for probes donors and manifests
out   results/probes/{init}/{lang}.parquet
      results/understanding/{lang}.parquet, .json
"""

# An init is heard by the family of its first arm.
PROBERS = {arm.init: arm for arm in reversed(STUDY.arms.values())}


rule probe_init:
    input:
        donor=lambda wildcards: paths.init(STUDY, STUDY.donor(wildcards.init)),
        cuts=lambda wildcards: list(understanding.heard(STUDY, wildcards.lang).values()),
    output:
        states="results/probes/{init}/{lang}.parquet",
    log:
        "logs/probe_init/{init}/{lang}.log",
    benchmark:
        "results/benchmarks/probe_init/{init}/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: config["decoding"]["threads"]
    resources:
        gpu=slices.gpus(STUDY, "decode"),
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("probe_init"),
        version=VERSIONS["probe_init"],
        family=lambda wildcards: PROBERS[wildcards.init].family,
        tier=lambda wildcards: understanding.tier(STUDY, wildcards.init).as_text(),
        random=random_weights,
        cuts=lambda wildcards: named(understanding.heard(STUDY, wildcards.lang)),
        settings=settings("decode", slices.decoding(STUDY, FULL)),
    message:
        "States of init {wildcards.init} in {wildcards.lang}"
    shell:
        "python {params.program:q} --version {params.version} --donor {input.donor:q}"
        " --family {params.family:q} --tier {params.tier} {params.random} --cuts {params.cuts:q}"
        " --settings {params.settings:q} --output {output.states:q} --log {log:q}"


rule understand:
    input:
        scores="results/scores/{lang}.parquet",
        tables=lambda wildcards: understanding.tables(STUDY, wildcards.lang),
        learnt=lambda wildcards: understanding.manifests(STUDY, wildcards.lang),
        states=lambda wildcards: [
            path
            for of_arm in understanding.states(STUDY, wildcards.lang).values()
            for path in of_arm.values()
        ],
        code=code("understand"),
    output:
        rows="results/understanding/{lang}.parquet",
        about="results/understanding/{lang}.json",
    log:
        "logs/understand/{lang}.log",
    benchmark:
        "results/benchmarks/understand/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        settings=lambda wildcards: settings(
            "understand", understanding.settings(STUDY, wildcards.lang)
        ),
    message:
        "Topics and answers in {wildcards.lang}"
    shell:
        "python {params.program:q} --scores {input.scores:q} --settings {params.settings:q}"
        " --output {output.rows:q} --log {log:q}"
