"""Hypotheses of a run at one precision and tier, for all test sets of its language.

in    results/runs/.../model.nemo (and encoder.onnx of a quantised precision), or an init for 0 hours; test manifests
out   results/hypotheses/{lang}/{init}/{hours}h/seed{seed}/{precision}/{tier}/{test_set}.jsonl, .json

One job decodes all test sets, because loading the model costs more than decoding one. Which test
sets there are depends on the language, and outputs cannot depend on a wildcard: hence one rule a
language, all from one template. The outputs are `update`d: a job finds the hypotheses that are
still current and leaves them alone, so a new test set is decoded without the old ones."""

HYPOTHESES = "results/hypotheses/{lang}/{{init}}/{{hours}}h/seed{{seed}}/{{precision}}/{{tier}}/{test_set}.{ending}"
QUANTIZED_ENCODER = f"results/runs/{grid.RUN}/{{precision}}/{{tier}}/encoder.onnx"


DECODING = {
    precision: as_json(STUDY.decoding_settings(precision)) for precision in config["precisions"]
}
DECODE_GPUS = {precision: STUDY.decode_gpus(precision) for precision in config["precisions"]}


for LANG in STUDY.languages:

    rule:
        name:
            f"decode_{LANG}"
        input:
            model=(
                (
                    lambda wildcards, lang=LANG: STUDY.decoded_model(
                        lang, wildcards.init, wildcards.hours, wildcards.seed
                    )
                )
                if STUDY.zero_shot_runs(LANG)
                else f"results/runs/{LANG}/{{init}}/{{hours}}h/seed{{seed}}/model.nemo"
            ),
            encoder=lambda wildcards, lang=LANG: (
                []
                if wildcards.precision == grid.FULL
                else QUANTIZED_ENCODER.format(lang=lang, **wildcards)
            ),
            # Those it is not scored on too (the pool needs them anyway): one taken out of the
            # scores decodes nothing again.
            tests=list(
                dict.fromkeys([*STUDY.guard_manifests(LANG).values(), *TESTS[LANG].values()])
            ),
        output:
            hypotheses=[
                update(HYPOTHESES.format(lang=LANG, test_set=name, ending="jsonl"))
                for name in STUDY.test_sets(LANG)
            ],
            headers=[
                update(HYPOTHESES.format(lang=LANG, test_set=name, ending="json"))
                for name in STUDY.test_sets(LANG)
            ],
        log:
            f"logs/decode/{LANG}/{{init}}/{{hours}}h/seed{{seed}}/{{precision}}/{{tier}}.log",
        benchmark:
            f"results/benchmarks/decode/{LANG}/{{init}}/{{hours}}h/seed{{seed}}/{{precision}}/{{tier}}.tsv"
        conda:
            ENVIRONMENT
        threads: config["decoding"]["threads"]
        resources:
            gpu=by_precision(DECODE_GPUS),
            mem_mb=more(config["resources"]["decode_mem_mb"]),
        params:
            program=program("decode"),
            recipe=4,
            # Values where values do, functions where they must, and no message: on these jobs a dry
            # run spends its time.
            run=f'{{"hours": "{{hours}}", "init": "{{init}}", "lang": "{LANG}", "precision": "{{precision}}", "seed": {{seed}}}}',
            tier=lambda wildcards: TIERS[wildcards.tier],
            # As functions of `output` these are not compared: what is missing is decoded, what is
            # there is left alone.
            tests=lambda wildcards, output, lang=LANG: TEST_ARGUMENTS[lang],
            outputs=lambda wildcards, output, lang=LANG: named(
                dict(zip(TESTS[lang], output.hypotheses))
            ),
            zero_shot=(
                (lambda wildcards, lang=LANG: zero_shot(lang, wildcards))
                if STUDY.zero_shot_runs(LANG)
                else []
            ),
            settings=by_precision(DECODING),
        shell:
            "python {params.program:q} --model {input.model:q} --encoder {input.encoder:q} {params.zero_shot:q} --keys {params.run:q} --tier {params.tier:q}"
            " --cuts {params.tests:q} --output {params.outputs:q} --settings {params.settings:q} --log {log:q}"
