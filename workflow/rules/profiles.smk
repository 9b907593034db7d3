"""How many utterances of each length bucket fit the GPU (training.batch_profile).

in    the largest budget of a training set, its tokenizer, the init of an arm
out   results/profiles/{arm}/{training_set}.json
"""


rule profile_batches:
    input:
        cuts=lambda wildcards: paths.training_cuts(
            STUDY, wildcards.training_set, STUDY.training_set(wildcards.training_set).budgets[-1]
        ),
        noise=paths.training_noise(STUDY) or [],
        tokenizer=lambda wildcards: tokenizer_files(wildcards, "tokenizer.model"),
        init=lambda wildcards: paths.donor(STUDY, wildcards.arm),
    output:
        "results/profiles/{arm}/{training_set}.json",
    log:
        "logs/profile_batches/{arm}/{training_set}.log",
    benchmark:
        "results/benchmarks/profile_batches/{arm}/{training_set}.tsv"
    conda:
        ENVIRONMENT
    threads: config["resources"]["train_threads"]
    resources:
        gpu=min(1, slices.gpus(STUDY, "train")),
        mem_mb=more(config["resources"]["train_mem_mb"]),
        runtime=60,
    params:
        program=program("profile_batches"),
        version=VERSIONS["profile_batches"],
        family=FAMILY,
        settings=lambda wildcards: RECIPES[wildcards.arm],
        text=lambda wildcards: TEXTS[wildcards.training_set, STUDY.arms[wildcards.arm].tokens],
        tokenizer=lambda wildcards, input: tokenizer_arguments(wildcards),
    message:
        "Batches that fit the GPU, {wildcards.arm} on {wildcards.training_set}"
    shell:
        "python {params.program:q} --family {params.family:q} --train-cuts {input.cuts:q}"
        " --tokenizer {params.tokenizer:q} --init {input.init:q} --settings {params.settings:q}"
        " --text {params.text:q} --output {output:q} --log {log:q}"
