"""One SentencePiece BPE tokenizer a training set, the same for all arms and budgets.

in    results/pools/{lang}.jsonl.gz, test manifests (coverage report only)
out   results/tokenizers/{training_set}/{tokenizer.model,vocab.txt,coverage.json}
"""


rule train_tokenizer:
    input:
        pools=lambda wildcards: list(tokenizer_pools(wildcards).values()),
        tests=lambda wildcards: list(paths.tokenizer_tests(STUDY, wildcards.training_set).values()),
    output:
        model="results/tokenizers/{training_set}/tokenizer.model",
        vocabulary="results/tokenizers/{training_set}/vocab.txt",
        coverage="results/tokenizers/{training_set}/coverage.json",
    log:
        "logs/train_tokenizer/{training_set}.log",
    benchmark:
        "results/benchmarks/train_tokenizer/{training_set}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=program("train_tokenizer"),
        version=VERSIONS["train_tokenizer"],
        pools=lambda wildcards: named(tokenizer_pools(wildcards)),
        tests=lambda wildcards: named(paths.tokenizer_tests(STUDY, wildcards.training_set)),
        settings=lambda wildcards: settings(
            "tokenizer", slices.tokenizer(STUDY, wildcards.training_set)
        ),
        directory=lambda wildcards, output: str(Path(output.model).parent),
    message:
        "Tokenizer of {wildcards.training_set}"
    shell:
        "python {params.program:q} --pools {params.pools:q} --tests {params.tests:q}"
        " --settings {params.settings:q} --output-dir {params.directory:q} --log {log:q}"
