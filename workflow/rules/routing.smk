"""To which of several languages' models, or heads, an utterance is sent. Nothing of it is made
unless a study has the block `routing`.

in    models of training sets of several languages (of ensembles: inits), the cuts that they were
      trained and watched on, test manifests, cross-decodes
out   results/languages/{run}/{tier}.parquet, .json    what language identifiers said
      results/routing/{run}/{tier}.parquet, .json      what every way to choose comes to

{training_set} is the name of a training set or of an ensemble.
"""


rule identify_language:
    input:
        encoder=lambda wildcards: routing.encoder(STUDY, run_of(wildcards)),
        cuts=lambda wildcards: routing.train_cuts(STUDY, run_of(wildcards)),
        dev=lambda wildcards: routing.dev_cuts(STUDY, run_of(wildcards)),
        tests=lambda wildcards: list(routing.test_cuts(STUDY, run_of(wildcards)).values()),
    output:
        said=f"results/languages/{RUN}/{{tier}}.parquet",
        about=f"results/languages/{RUN}/{{tier}}.json",
    log:
        f"logs/identify_language/{RUN}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/identify_language/{RUN}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: config["decoding"]["threads"]
    resources:
        gpu=slices.gpus(STUDY, "decode"),
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("identify_language"),
        version=VERSIONS["identify_language"],
        family=FAMILY,
        tier=lambda wildcards: TIERS[wildcards.tier],
        languages=lambda wildcards: routing.find(STUDY, run_of(wildcards)).languages,
        encoder=identifying_encoder,
        tests=lambda wildcards: named(routing.test_cuts(STUDY, run_of(wildcards))),
        settings=lambda wildcards: settings("identify", routing.settings(STUDY, run_of(wildcards))),
    message:
        f"Languages of test utterances, {THIS_RUN}"
    shell:
        "python {params.program:q} --version {params.version} --family {params.family:q}"
        " --tier {params.tier} --languages {params.languages} {params.encoder:q}"
        " --train-cuts {input.cuts:q} --dev-cuts {input.dev:q} --tests {params.tests:q}"
        " --settings {params.settings:q} --output {output.said:q} --log {log:q}"


rule route:
    input:
        said=rules.identify_language.output.said,
        about=rules.identify_language.output.about,
        tests=rules.identify_language.input.tests,
        hypotheses=lambda wildcards: list(routing.hypotheses(STUDY, run_of(wildcards)).values()),
        headers=lambda wildcards: [
            paths.header(path) for path in routing.hypotheses(STUDY, run_of(wildcards)).values()
        ],
        code=code("route"),
    output:
        rows=f"results/routing/{RUN}/{{tier}}.parquet",
        about=f"results/routing/{RUN}/{{tier}}.json",
    log:
        f"logs/route/{RUN}/{{tier}}.log",
    benchmark:
        f"results/benchmarks/route/{RUN}/{{tier}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(4000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: named(routing.test_cuts(STUDY, run_of(wildcards))),
        hypotheses=lambda wildcards: named(routing.hypotheses(STUDY, run_of(wildcards))),
        settings=lambda wildcards: settings("texts", routing.texts(STUDY, run_of(wildcards))),
    message:
        f"Route {THIS_RUN}"
    shell:
        f"python {{params.program:q}} --run {THIS_RUN} --tier {{wildcards.tier}}"
        " --identified {input.said:q} --tests {params.tests:q}"
        " --hypotheses {params.hypotheses:q} --settings {params.settings:q}"
        " --output {output.rows:q} --log {log:q}"
