"""Encoder donors: fetched by revision and digest, copied from a path, or pretrained here.

in    nothing, or training manifests of the pretraining languages
out   resources/pretrained/{init}.nemo   `make inits`
      resources/inits/{init}.nemo, .json

Donors of different kinds have files of different names: one rule a kind.
"""

for SUFFIX, INITS in PRETRAINED.items():

    rule:
        name:
            "pretrain_init" if len(PRETRAINED) == 1 else f"pretrain_init_{SUFFIX[1:]}"
        input:
            cuts=lambda wildcards: list(pretraining_cuts(wildcards).values()),
        output:
            model=f"resources/pretrained/{{init}}{SUFFIX}",
        log:
            "logs/pretrain_init/{init}.log",
        benchmark:
            "results/benchmarks/pretrain_init/{init}.tsv"
        wildcard_constraints:
            init="|".join(INITS),
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            gpu=min(1, slices.gpus(STUDY, "train")),
            mem_mb=more(config["resources"]["train_mem_mb"]),
            runtime=config["resources"]["train_runtime_min"],
        params:
            program=program("pretrain_init"),
            version=VERSIONS["pretrain_init"],
            cuts=lambda wildcards: named(pretraining_cuts(wildcards)),
            settings=lambda wildcards: settings(
                "pretrain", slices.pretraining(STUDY, wildcards.init)
            ),
        message:
            "Pretrain the encoder of init {wildcards.init}"
        shell:
            "exec python {params.program:q} --cuts {params.cuts:q} --settings {params.settings:q}"
            " --output {output.model:q} --log {log:q}"


for SUFFIX, INITS in DONORS.items():

    rule:
        name:
            "download_init" if len(DONORS) == 1 else f"download_init_{SUFFIX[1:] or 'snapshot'}"
        input:
            source=init_source,
        output:
            model=f"resources/inits/{{init}}{SUFFIX}",
            report="resources/inits/{init}.json",
        log:
            "logs/download_init/{init}.log",
        benchmark:
            "results/benchmarks/download_init/{init}.tsv"
        wildcard_constraints:
            init="|".join(INITS),
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            download=1,
        params:
            program=program("download_init"),
            version=VERSIONS["download_init"],
            hub=lambda wildcards: settings("init", slices.init_source(STUDY, wildcards.init)),
            source=donor_source,
            pack=unwatched(donor_packing),
            # No reason to fetch the file anew: what is here is compared while the DAG is built.
            digest=unwatched(
                lambda wildcards: (
                    ["--sha256", found]
                    if (found := slices.init_digest(STUDY, wildcards.init))
                    else []
                )
            ),
        message:
            "Init {wildcards.init}"
        shell:
            "python {params.program:q} --hub {params.hub:q} {params.source:q} {params.pack:q}"
            " {params.digest}"
            " --output {output.model:q} --report {output.report:q} --log {log:q}"
