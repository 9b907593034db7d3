"""Hypotheses by the heads of all languages, whatever is spoken: what a router may choose from.

in    a run with a head a language, or one of a language beside others (`routing.ensembles`); test
      manifests of all its languages
out   results/hypotheses/{run}/full/{tier}/heads/{head}/{test_set}.jsonl, .json

Nothing asks for them but routing. One rule a training set, as in decode.smk, and for its reason.
"""


def crossed_files(training_set):
    """HEAD:LANG/TEST_SET -> pattern of the hypotheses."""
    one = STUDY.training_set(training_set)
    return {
        f"{head}:{test.lang}/{test.name}": paths.cross_hypothesis(
            run_pattern(training_set), FULL, "{tier}", head, test.slug(one)
        )
        for head in STUDY.crossed_heads(training_set)
        for test in STUDY.crossed_tests(training_set)
    }


def crossed_manifests(training_set):
    """LANG/TEST_SET -> CutSet."""
    return {
        f"{test.lang}/{test.name}": paths.test_manifest(STUDY, test)
        for test in STUDY.crossed_tests(training_set)
    }


CROSSED_FILES = {name: crossed_files(name) for name in STUDY.crossed_sets}
CROSSED_MANIFESTS = {name: crossed_manifests(name) for name in STUDY.crossed_sets}


for NAME in STUDY.crossed_sets:

    rule:
        name:
            f"cross_decode_{NAME.replace('+', '_')}"
        input:
            model=lambda wildcards, name=NAME: paths.model(
                STUDY, Run(name, wildcards.arm, wildcards.hours, int(wildcards.seed))
            ),
            tests=list(CROSSED_MANIFESTS[NAME].values()),
        output:
            hypotheses=list(CROSSED_FILES[NAME].values()),
            headers=[paths.header(path) for path in CROSSED_FILES[NAME].values()],
        log:
            f"logs/cross_decode/{run_pattern(NAME)}/{{tier}}.log",
        benchmark:
            f"results/benchmarks/cross_decode/{run_pattern(NAME)}/{{tier}}.tsv"
        conda:
            ENVIRONMENT
        threads: config["decoding"]["threads"]
        resources:
            gpu=slices.gpus(STUDY, "decode"),
            mem_mb=more(config["resources"]["decode_mem_mb"]),
        params:
            program=program("cross_decode"),
            version=VERSIONS["cross_decode"],
            family=FAMILY,
            tier=lambda wildcards: TIERS[wildcards.tier],
            run=run_pattern(NAME),
            head=[] if STUDY.heads(NAME) else ["--head", *STUDY.crossed_heads(NAME)],
            # Not compared: what is missing is decoded, what is there is left alone.
            tests=lambda wildcards, output, name=NAME: named(CROSSED_MANIFESTS[name]),
            outputs=lambda wildcards, output, name=NAME: named(
                dict(zip(CROSSED_FILES[name], output.hypotheses))
            ),
            settings=settings("decode", slices.decoding(STUDY, FULL)),
        shell:
            "python {params.program:q} --version {params.version} --family {params.family:q}"
            " --run {params.run} --model {input.model:q} {params.head:q} --tier {params.tier}"
            " --cuts {params.tests:q} --output {params.outputs:q}"
            " --settings {params.settings:q} --log {log:q}"
