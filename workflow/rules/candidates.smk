"""What the best tokens of each emission come to, block by block.

in    {test_set}.candidates.parquet beside the hypotheses of a language, its test manifests
out   results/candidates/{lang}.parquet   for results/tables/saturation.csv

Asked for only with decoding.log_candidates: elsewhere there is nothing to count.
"""


rule count_candidates:
    input:
        candidates=lambda wildcards: [
            paths.candidates(path) for path in paths.hypotheses(STUDY, wildcards.lang)
        ],
        headers=lambda wildcards: [
            paths.header(path) for path in paths.hypotheses(STUDY, wildcards.lang)
        ],
        listed=lambda wildcards: listed(f"candidates_{wildcards.lang}"),
        tests=lambda wildcards: list(tests_in(wildcards.lang).values()),
        code=code("count_candidates"),
    output:
        counted="results/candidates/{lang}.parquet",
    log:
        "logs/count_candidates/{lang}.log",
    benchmark:
        "results/benchmarks/count_candidates/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(4000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: named(tests_in(wildcards.lang)),
        settings=lambda wildcards: settings("score", slices.counting(STUDY, wildcards.lang)),
    message:
        "Count candidates in {wildcards.lang}"
    shell:
        "python {params.program:q} --hypotheses @{input.listed:q} --tests {params.tests:q}"
        " --lang {wildcards.lang} --settings {params.settings:q} --output {output.counted:q}"
        " --log {log:q}"
