"""Phones: which ones languages have, and errors of the models that write them.

in    pools, training manifests of pretraining languages; hypotheses of arms with `tokens: ipa`
out   results/phones/{lang}.json          for results/tables/phone_coverage.csv
      results/phone_scores/{lang}.parquet for results/tables/per.csv
"""


rule list_phones:
    input:
        cuts=lambda wildcards: paths.inventory_texts(STUDY, wildcards.lang),
        code=code("list_phones"),
    output:
        phones="results/phones/{lang}.json",
    log:
        "logs/list_phones/{lang}.log",
    benchmark:
        "results/benchmarks/list_phones/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(2000),
    params:
        program=lambda wildcards, input: input.code[0],
        settings=lambda wildcards: settings("score_phones", slices.phones(STUDY, wildcards.lang)),
    message:
        "Phones of {wildcards.lang}"
    shell:
        "python {params.program:q} --lang {wildcards.lang} --cuts {input.cuts:q}"
        " --settings {params.settings:q} --output {output.phones:q} --log {log:q}"


rule score_phones:
    input:
        hypotheses=lambda wildcards: paths.hypotheses(STUDY, wildcards.lang, phones=True),
        headers=lambda wildcards: [
            paths.header(path) for path in paths.hypotheses(STUDY, wildcards.lang, phones=True)
        ],
        listed=lambda wildcards: listed(f"phones_{wildcards.lang}"),
        tests=lambda wildcards: list(tests_in(wildcards.lang).values()),
        inventory="results/phones/{lang}.json",
        code=code("score_phones"),
    output:
        scores="results/phone_scores/{lang}.parquet",
    log:
        "logs/score_phones/{lang}.log",
    benchmark:
        "results/benchmarks/score_phones/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(4000),
    params:
        program=lambda wildcards, input: input.code[0],
        tests=lambda wildcards: named(tests_in(wildcards.lang)),
        settings=lambda wildcards: settings("score_phones", slices.phones(STUDY, wildcards.lang)),
    message:
        "Score phones of {wildcards.lang}"
    shell:
        "python {params.program:q} --hypotheses @{input.listed:q} --tests {params.tests:q}"
        " --inventory {input.inventory:q} --lang {wildcards.lang} --settings {params.settings:q}"
        " --output {output.scores:q} --log {log:q}"
