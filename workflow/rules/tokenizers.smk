"""One SentencePiece BPE tokenizer a language, the same for all inits and budgets.

in    results/pools/{lang}.jsonl.gz, test manifests (coverage report only)
out   results/tokenizers/{lang}/{tokenizer.model,vocab.txt,coverage.json}
"""


rule train_tokenizer:
    input:
        pool="results/pools/{lang}.jsonl.gz",
        tests=lambda wildcards: list(tokenizer_tests(wildcards).values()),
        replay=STUDY.replay_pool() or [],
    output:
        model="results/tokenizers/{lang}/tokenizer.model",
        vocabulary="results/tokenizers/{lang}/vocab.txt",
        coverage="results/tokenizers/{lang}/coverage.json",
    log:
        "logs/train_tokenizer/{lang}.log",
    benchmark:
        "results/benchmarks/train_tokenizer/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=program("train_tokenizer"),
        recipe=1,
        tests=lambda wildcards: named(tokenizer_tests(wildcards)),
        settings=lambda wildcards: as_json(STUDY.tokenizer_settings(wildcards.lang)),
        directory=lambda wildcards, output: str(Path(output.model).parent),
    message:
        "Tokenizer of {wildcards.lang}"
    shell:
        "python {params.program:q} --pool {input.pool:q} --tests {params.tests:q} --settings {params.settings:q}"
        " --output-dir {params.directory:q} --log {log:q}"
