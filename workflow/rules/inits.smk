"""Encoder donors: fetched by revision and digest, copied from a path, or pretrained here.

in    nothing, or training manifests of the pretraining languages
out   resources/pretrained/{init}.nemo   `make inits`
      resources/inits/{init}.nemo, .json
"""


def pretraining_cuts(wildcards):
    """lang -> CutSet for one init's pretraining."""
    recipe = config["inits"][wildcards.init]["pretrain"]
    return {lang: STUDY.manifest(recipe["corpus"], lang, recipe["split"]) for lang in recipe["languages"]}


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
        gpu=lambda wildcards: STUDY.gpus("train"),
        mem_mb=config["resources"]["train_mem_mb"],
        runtime=config["resources"]["train_runtime_min"],
    params:
        recipe=1,
        cuts=lambda wildcards: named(pretraining_cuts(wildcards)),
        settings=lambda wildcards: as_json(STUDY.pretraining_settings(wildcards.init)),
    message:
        "Pretrain the encoder of init {wildcards.init}"
    shell:
        "python {PROGRAMS}/pretrain_init.py --cuts {params.cuts:q} --settings {params.settings:q} --output {output.model:q}"
        " --log {log:q}"


def init_source(wildcards):
    """What an init is made from on this machine: a given file, or the checkpoint that its recipe makes."""
    settings = config["inits"][wildcards.init]
    if "path" in settings:
        return STUDY.source_path(settings["path"])
    return f"resources/pretrained/{wildcards.init}.nemo" if "pretrain" in settings else []


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
        recipe=1,
        settings=lambda wildcards: as_json(STUDY.init_source(wildcards.init)),
        source=lambda wildcards, input: f"--source {input.source}" if input.source else "",
    message:
        "Init {wildcards.init}"
    shell:
        "python {PROGRAMS}/download_init.py --settings {params.settings:q} {params.source} --output {output.model:q}"
        " --report {output.report:q} --log {log:q}"
