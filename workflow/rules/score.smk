"""Counts of errors per utterance, and the tables and figures made from them.

in    results/hypotheses/{lang}/..., test manifests, pool (word frequencies)
out   results/scores/{lang}.parquet
      results/tables/*.csv, results/figures/*.{svg,png}
"""


rule score:
    input:
        hypotheses=lambda wildcards: STUDY.hypotheses(wildcards.lang),
        headers=lambda wildcards: [header(path) for path in STUDY.hypotheses(wildcards.lang)],
        listed=lambda wildcards: listed(f"hypotheses_{wildcards.lang}"),
        tests=lambda wildcards: list(TESTS[wildcards.lang].values()),
        pool="results/pools/{lang}.jsonl.gz",
        code=code("score"),
    output:
        scores="results/scores/{lang}.parquet",
    log:
        "logs/score/{lang}.log",
    benchmark:
        "results/benchmarks/score/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: TEST_ARGUMENTS[wildcards.lang],
        settings=lambda wildcards: as_json(
            {**STUDY.text_settings(wildcards.lang), **config["scoring"]}
        ),
    message:
        "Score {wildcards.lang}"
    shell:
        "python {params.program:q} --hypotheses @{input.listed:q} --tests {params.tests:q} --train-text {input.pool:q}"
        " --lang {wildcards.lang} --settings {params.settings:q} --output {output.scores:q} --log {log:q}"
