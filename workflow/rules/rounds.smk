"""Runs that are trained in rounds: each round from the model of the one before, on what that chose.

in    budgets of a training set, and the larger one whose texts beyond them are hidden; an init
out   results/runs/{run}/round{n}/    the model of a round, train.csv, run.json
      results/runs/{run}/labels{n}/   cuts.jsonl.gz that it is trained on, labels.parquet, .json
      results/runs/{run}/             the last round's model as that of the run, train.csv, run.json
      results/round_scores/{lang}.parquet   counts of errors of the models of earlier rounds

Nothing here is for a training set without `rounds`. The hypotheses of earlier rounds are
decode.smk's.
"""


rule label_pool:
    input:
        model=round_start,
        labelled=lambda wildcards: list(round_files.labelled(STUDY, run_of(wildcards)).values()),
        heard=lambda wildcards: (
            list(round_files.heard(STUDY, wildcards.training_set).values())
            if round_of(wildcards).data == rounds.PSEUDO
            else []
        ),
        replay=lambda wildcards: paths.pool(one.lang) if (one := replayed(wildcards)) else [],
        tests=lambda wildcards: list(round_files.guards(STUDY, wildcards.training_set).values()),
    output:
        cuts=f"{round_files.labels(RUN, '{round}')}/cuts.jsonl.gz",
        labels=f"{round_files.labels(RUN, '{round}')}/labels.parquet",
        report=f"{round_files.labels(RUN, '{round}')}/labels.json",
    log:
        f"logs/label_pool/{RUN}/{{round}}.log",
    benchmark:
        f"results/benchmarks/label_pool/{RUN}/{{round}}.tsv"
    wildcard_constraints:
        training_set=one_of_names(IN_ROUNDS),
    conda:
        ENVIRONMENT
    threads: config["decoding"]["threads"]
    resources:
        gpu=slices.gpus(STUDY, "decode"),
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=program("label_pool"),
        version=VERSIONS["label_pool"],
        family=FAMILY,
        data=lambda wildcards: round_of(wildcards).data,
        keep=lambda wildcards: round_of(wildcards).keep,
        least=lambda wildcards: round_of(wildcards).min_confidence,
        tier=lambda wildcards: TIERS[
            round_files.label_tier(STUDY, STUDY.arms[wildcards.arm], wildcards.training_set)
        ],
        labelled=lambda wildcards: named(round_files.labelled(STUDY, run_of(wildcards))),
        heard=lambda wildcards: (
            named(round_files.heard(STUDY, wildcards.training_set))
            if round_of(wildcards).data == rounds.PSEUDO
            else []
        ),
        weights=lambda wildcards: json.dumps(
            dict(STUDY.training_set(wildcards.training_set).languages)
        ),
        pools=lambda wildcards: settings(
            "label_pool", round_files.pools(STUDY, wildcards.training_set)
        ),
        tests=lambda wildcards: named(round_files.guards(STUDY, wildcards.training_set)),
        replay=round_replay,
        settings=settings("decode", round_files.label_settings(STUDY)),
    message:
        f"Choose what round {{wildcards.round}} of {THIS_RUN} is trained on"
    shell:
        "python {params.program:q} --version {params.version} --family {params.family:q}"
        f" --run {THIS_RUN} --round {{wildcards.round}} --data {{params.data}}"
        " --keep {params.keep} --min-confidence {params.least} --model {input.model:q}"
        " --tier {params.tier} --labelled {params.labelled:q} --heard {params.heard:q}"
        " --weights {params.weights:q} --pools {params.pools:q} --tests {params.tests:q}"
        " {params.replay:q} --settings {params.settings:q} --output {output.cuts:q}"
        " --labels {output.labels:q} --report {output.report:q} --log {log:q}"


for FILE, ARMS in MODEL_FILES.items():

    rule:
        name:
            ("train_round" if len(MODEL_FILES) == 1 else f"train_round_{Path(FILE).suffix[1:]}")
        input:
            cuts=lambda wildcards: round_files.cuts(STUDY, run_of(wildcards), int(wildcards.round)),
            start=round_start,
            noise=paths.training_noise(STUDY) or [],
            packed=lambda wildcards: list(packed_pools(wildcards).values()),
            profile=batch_profile,
            validation=lambda wildcards: list(
                paths.validation_manifests(STUDY, wildcards.training_set).values()
            ),
            tokenizer=lambda wildcards: tokenizer_files(wildcards, "tokenizer.model"),
            vocabulary=lambda wildcards: tokenizer_files(wildcards, "vocab.txt"),
            init=lambda wildcards: paths.donor(STUDY, wildcards.arm),
            reference=reference,
        output:
            model=f"{round_files.folder(RUN, '{round}')}/{FILE}",
            curve=f"{round_files.folder(RUN, '{round}')}/train.csv",
            run=f"{round_files.folder(RUN, '{round}')}/run.json",
        log:
            f"logs/train_round/{RUN}/{{round}}.log",
        benchmark:
            f"results/benchmarks/train_round/{RUN}/{{round}}.tsv"
        wildcard_constraints:
            arm="|".join(ARMS),
            training_set=one_of_names(IN_ROUNDS),
        conda:
            ENVIRONMENT
        threads: config["resources"]["train_threads"]
        resources:
            **training_tasks(),
            gpu=slices.gpus(STUDY, "train"),
            mem_mb=more(config["resources"]["train_mem_mb"]),
            # Not more with a retry: see rule train.
            runtime=config["resources"]["train_runtime_min"],
        params:
            program=program("train"),
            version=VERSIONS["train"],
            family=FAMILY,
            init=donor_arguments,
            reference=lambda wildcards, input: (
                f"{STUDY.donor(STUDY.arms[STUDY.peers(wildcards.arm)[0]].init)}={input.reference}"
            ),
            settings=lambda wildcards: settings(
                "train", round_files.training(STUDY, run_of(wildcards), int(wildcards.round))
            ),
            pace=unwatched(pace_arguments),
            validation=lambda wildcards: VALIDATION[wildcards.training_set],
            text=lambda wildcards: TEXTS[wildcards.training_set, STUDY.arms[wildcards.arm].tokens],
            tokenizer=lambda wildcards, input: tokenizer_arguments(wildcards),
            directory=lambda wildcards, output: str(Path(output.model).parent),
        message:
            f"Train round {{wildcards.round}} of {THIS_RUN}"
        shell:
            f"{TRAIN} --start {{input.start:q}}"

    rule:
        name:
            ("join_rounds" if len(MODEL_FILES) == 1 else f"join_rounds_{Path(FILE).suffix[1:]}")
        input:
            models=lambda wildcards: round_files.models(STUDY, run_of(wildcards)),
            records=lambda wildcards: [
                f"{round_files.folder(run_of(wildcards).path, number)}/{name}"
                for number in round_files.of(STUDY, wildcards.training_set).numbers
                for name in ("train.csv", "run.json")
            ],
            reports=lambda wildcards: list(choice_reports(wildcards).values()),
        output:
            model=f"results/runs/{RUN}/{FILE}",
            curve=f"results/runs/{RUN}/train.csv",
            run=f"results/runs/{RUN}/run.json",
        log:
            f"logs/join_rounds/{RUN}.log",
        benchmark:
            f"results/benchmarks/join_rounds/{RUN}.tsv"
        wildcard_constraints:
            arm="|".join(ARMS),
            training_set=one_of_names(IN_ROUNDS),
        conda:
            ENVIRONMENT
        threads: 1
        params:
            program=program("join_rounds"),
            version=VERSIONS["join_rounds"],
            data=lambda wildcards: [
                one.data for one in round_files.of(STUDY, wildcards.training_set).each
            ],
            reports=lambda wildcards: named(choice_reports(wildcards)),
        message:
            f"Rounds of {THIS_RUN}"
        shell:
            f"python {{params.program:q}} --run {THIS_RUN} --rounds {{input.models:q}}"
            " --data {params.data} --reports {params.reports:q} --output {output.model:q}"
            " --log {log:q}"


rule score_rounds:
    input:
        hypotheses=lambda wildcards: round_files.hypotheses(STUDY, wildcards.lang),
        headers=lambda wildcards: [
            paths.header(path) for path in round_files.hypotheses(STUDY, wildcards.lang)
        ],
        listed=lambda wildcards: listed(f"rounds_{wildcards.lang}"),
        tests=lambda wildcards: list(tests_in(wildcards.lang).values()),
        pool="results/pools/{lang}.jsonl.gz",
        code=code("score"),
    output:
        scores="results/round_scores/{lang}.parquet",
    log:
        "logs/score_rounds/{lang}.log",
    benchmark:
        "results/benchmarks/score_rounds/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: named(tests_in(wildcards.lang)),
        settings=lambda wildcards: settings("score", slices.scoring(STUDY, wildcards.lang)),
    message:
        "Score the rounds in {wildcards.lang}"
    shell:
        "python {params.program:q} --hypotheses @{input.listed:q} --tests {params.tests:q}"
        " --train-text {input.pool:q} --lang {wildcards.lang} --settings {params.settings:q}"
        " --output {output.scores:q} --log {log:q}"
