"""Counts of errors per utterance.

in    results/hypotheses/..., test manifests of a language and the traits of their speakers, its
      pool (word frequencies)
out   results/scores/{lang}.parquet   of all runs that are tested in the language
"""


rule score:
    input:
        hypotheses=lambda wildcards: paths.hypotheses(STUDY, wildcards.lang, phones=False),
        headers=lambda wildcards: [
            paths.header(path) for path in paths.hypotheses(STUDY, wildcards.lang, phones=False)
        ],
        listed=lambda wildcards: listed(f"hypotheses_{wildcards.lang}"),
        tests=lambda wildcards: list(tests_in(wildcards.lang).values()),
        traits=lambda wildcards: sorted(set(traits_in(wildcards.lang).values())),
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
        tests=lambda wildcards: named(tests_in(wildcards.lang)),
        traits=lambda wildcards: named(traits_in(wildcards.lang)),
        settings=lambda wildcards: settings("score", slices.scoring(STUDY, wildcards.lang)),
    message:
        "Score {wildcards.lang}"
    shell:
        "python {params.program:q} --hypotheses @{input.listed:q} --tests {params.tests:q}"
        " --traits {params.traits:q} --train-text {input.pool:q} --lang {wildcards.lang} --settings {params.settings:q}"
        " --output {output.scores:q} --log {log:q}"
