"""Hypotheses of a run at one precision and tier, for all test sets of its training set.

in    results/runs/.../model.nemo (and encoder.onnx of a quantised precision), or an init for 0
      hours; test manifests
out   results/hypotheses/{run}/{precision}/{tier}/{test_set}.jsonl, .json
      beside them {test_set}.candidates.parquet, with decoding.log_candidates

One job decodes all test sets, because loading the model costs more than decoding one. Which test
sets there are depends on the training set, and outputs cannot depend on a wildcard: hence one rule
a training set, all from one template. Snakemake removes the outputs of a job before it starts; the
program keeps a second name for those that are still current (`run/kept.py`), so a new test set is
decoded without the old ones. They are not `update`d: of a job that failed Snakemake would put the
former hypotheses back with the time of now, and take those of another model for current.
"""

DECODING = {
    precision: settings("decode", slices.decoding(STUDY, precision))
    for precision in config["precisions"]
}
DECODE_GPUS = {
    precision: slices.decode_gpus(STUDY, precision) for precision in config["precisions"]
}
# Models of rounds are decoded as those of runs are.
for NAME in IN_ROUNDS:
    for ROUND in round_files.earlier(STUDY, NAME):
        DECODING[ROUND], DECODE_GPUS[ROUND] = DECODING[FULL], DECODE_GPUS[FULL]


def run_pattern(training_set):
    """`RUN` of one training set, the other keys still wildcards."""
    return RUN.replace("{training_set}", training_set)


def hypothesis_files(training_set):
    """Patterns of the hypothesis files of one decode."""
    run = run_pattern(training_set)
    return [
        paths.hypothesis(run, "{precision}", "{tier}", slug)
        for slug in paths.test_manifests(STUDY, training_set)
    ]


def decoded_model(training_set):
    """The model behind hypotheses; a pattern where no init is decoded as it is, because a function
    costs every job of a dry run."""
    if training_set in IN_ROUNDS:
        return lambda wildcards: decoded_run_model(training_set, wildcards)
    if not STUDY.zero_shot_runs(training_set) and len(MODEL_FILES) == 1:
        return f"results/runs/{run_pattern(training_set)}/{next(iter(MODEL_FILES))}"
    return lambda wildcards: paths.model(
        STUDY, Run(training_set, wildcards.arm, wildcards.hours, int(wildcards.seed))
    )


def decode_tests(training_set):
    """CutSets that a decode waits for.

    Those that it is not scored on too (the pools need them anyway): one that is taken out of the
    scores decodes nothing again.
    """
    one = STUDY.training_set(training_set)
    guarded = [
        path for lang in one.languages for path in paths.guard_manifests(STUDY, lang).values()
    ]
    return list(dict.fromkeys([*guarded, *paths.test_manifests(STUDY, training_set).values()]))


def decode_arguments(training_set):
    """LANG/TEST_SET=CUTSET, of every test set of a training set."""
    return [
        f"{test.lang}/{test.name}={paths.test_manifest(STUDY, test)}"
        for test in STUDY.test_sets(training_set)
    ]


TEST_ARGUMENTS = {name: decode_arguments(name) for name in STUDY.decoded_sets}
TEST_NAMES = {
    name: [f"{test.lang}/{test.name}" for test in STUDY.test_sets(name)]
    for name in STUDY.decoded_sets
}


for NAME in STUDY.decoded_sets:

    rule:
        name:
            f"decode_{NAME.replace('+', '_')}"
        input:
            model=decoded_model(NAME),
            encoder=lambda wildcards, run=run_pattern(NAME): (
                []
                if wildcards.precision == FULL or rounds.number_of(wildcards.precision)
                else paths.encoder(run, wildcards.precision, wildcards.tier).format(**wildcards)
            ),
            tests=decode_tests(NAME),
        output:
            hypotheses=hypothesis_files(NAME),
            headers=[paths.header(path) for path in hypothesis_files(NAME)],
            candidates=(
                [paths.candidates(path) for path in hypothesis_files(NAME)]
                if config["decoding"]["log_candidates"]
                else []
            ),
        log:
            f"logs/decode/{run_pattern(NAME)}/{{precision}}/{{tier}}.log",
        benchmark:
            f"results/benchmarks/decode/{run_pattern(NAME)}/{{precision}}/{{tier}}.tsv"
        conda:
            ENVIRONMENT
        threads: config["decoding"]["threads"]
        resources:
            gpu=by_precision(DECODE_GPUS),
            mem_mb=more(config["resources"]["decode_mem_mb"]),
        params:
            program=program("decode"),
            version=VERSIONS["decode"],
            family=FAMILY,
            # Values where values do, because on these jobs a dry run spends its time; no message
            # for the same reason.
            tier=lambda wildcards: TIERS[wildcards.tier],
            # Here and not in the command: Snakemake runs a command's Python at the end of this file,
            # when NAME is the last one.
            run=run_pattern(NAME),
            # Not compared: what is missing is decoded, what is there is left alone.
            tests=lambda wildcards, output, name=NAME: TEST_ARGUMENTS[name],
            outputs=lambda wildcards, output, name=NAME: named(
                dict(zip(TEST_NAMES[name], output.hypotheses))
            ),
            zero_shot=(
                (lambda wildcards, name=NAME: zero_shot(name, wildcards))
                if STUDY.zero_shot_runs(NAME)
                else []
            ),
            settings=by_precision(DECODING),
        shell:
            "python {params.program:q} --version {params.version} --family {params.family:q}"
            " --run {params.run} --model {input.model:q} --encoder {input.encoder:q}"
            " {params.zero_shot:q} --precision {wildcards.precision} --tier {params.tier}"
            " --cuts {params.tests:q} --output {params.outputs:q}"
            " --settings {params.settings:q} --log {log:q}"
