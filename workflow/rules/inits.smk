"""Encoder donors: fetched by revision and digest, copied from a path, or pretrained here.

in    nothing, or training manifests of the pretraining languages
out   resources/pretrained/{init}.nemo   `make inits`
      resources/inits/{init}.nemo, .json
"""


rule pretrain_init:
    input:
        cuts=lambda wildcards: list(pretraining_cuts(wildcards).values()),
    output:
        model="resources/pretrained/{init}.nemo",
    log:
        "logs/pretrain_init/{init}.log",
    benchmark:
        "results/benchmarks/pretrain_init/{init}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=min(1, STUDY.gpus("train")),
        mem_mb=more(config["resources"]["train_mem_mb"]),
        runtime=config["resources"]["train_runtime_min"],
    params:
        program=program("pretrain_init"),
        recipe=1,
        cuts=lambda wildcards: named(pretraining_cuts(wildcards)),
        settings=lambda wildcards: as_json(STUDY.pretraining_settings(wildcards.init)),
    message:
        "Pretrain the encoder of init {wildcards.init}"
    shell:
        "exec python {params.program:q} --cuts {params.cuts:q} --settings {params.settings:q} --output {output.model:q}"
        " --log {log:q}"


rule download_init:
    input:
        source=init_source,
    output:
        model="resources/inits/{init}.nemo",
        report="resources/inits/{init}.json",
    log:
        "logs/download_init/{init}.log",
    benchmark:
        "results/benchmarks/download_init/{init}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        download=1,
    params:
        program=program("download_init"),
        recipe=1,
        hub=lambda wildcards: as_json(STUDY.init_source(wildcards.init)),
        source=lambda wildcards, input: ["--source", input.source] if input.source else [],
        # As a function of `input` it is no reason to fetch the file anew: what is here is compared
        # while the DAG is built.
        digest=lambda wildcards, input: (
            ["--sha256", found] if (found := STUDY.init_digest(wildcards.init)) else []
        ),
    message:
        "Init {wildcards.init}"
    shell:
        "python {params.program:q} --hub {params.hub:q} {params.source:q} {params.digest} --output {output.model:q}"
        " --report {output.report:q} --log {log:q}"
