"""One SentencePiece tokenizer a training set and kind of tokens, the same for all arms and budgets.

in    results/pools/{lang}.jsonl.gz, test manifests (coverage report only)
out   results/tokenizers/{training_set}/{tokenizer.model,vocab.txt,coverage.json}
      results/tokenizers/{training_set}.{char,ipa}/   the same, of arms with such tokens
      results/unwritable/{init}.json   what an init that is decoded as it is cannot write
"""

for TOKENS in sorted({"bpe", *(tokens for _, tokens in TOKENIZERS)}):
    FOLDER = paths.tokenizer("{training_set}", TOKENS)

    rule:
        name:
            "train_tokenizer" if TOKENS == "bpe" else f"train_tokenizer_{TOKENS}"
        input:
            pools=lambda wildcards: list(tokenizer_pools(wildcards).values()),
            tests=lambda wildcards: list(
                paths.tokenizer_tests(STUDY, wildcards.training_set).values()
            ),
        output:
            model=f"{FOLDER}/tokenizer.model",
            vocabulary=f"{FOLDER}/vocab.txt",
            coverage=f"{FOLDER}/coverage.json",
        log:
            f"logs/train_tokenizer/{Path(FOLDER).name}.log",
        benchmark:
            f"results/benchmarks/train_tokenizer/{Path(FOLDER).name}.tsv"
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
            settings=lambda wildcards, tokens=TOKENS: settings(
                "tokenizer", slices.tokenizer(STUDY, wildcards.training_set, tokens)
            ),
            # The limit rides on what no job runs again for: it makes no other tokenizer, and
            # another command would be other code.
            directory=lambda wildcards, output: [
                str(Path(output.model).parent),
                *unwritable_limit(),
            ],
        message:
            "Tokenizer of {wildcards.training_set}"
        shell:
            "python {params.program:q} --pools {params.pools:q} --tests {params.tests:q}"
            " --settings {params.settings:q} --output-dir {params.directory:q} --log {log:q}"


rule list_unwritable:
    input:
        init=lambda wildcards: paths.init(STUDY, wildcards.init),
        tests=lambda wildcards: list(paths.unwritable_tests(STUDY, wildcards.init).values()),
        code=code("list_unwritable"),
    output:
        found="results/unwritable/{init}.json",
    log:
        "logs/list_unwritable/{init}.log",
    benchmark:
        "results/benchmarks/list_unwritable/{init}.tsv"
    # Before trainings, which do not wait for it.
    priority: 10
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(config["resources"]["decode_mem_mb"]),
    params:
        program=lambda wildcards, input: input.code[0],
        family=lambda wildcards: zero_shot_arm(wildcards).family,
        tier=lambda wildcards: TIERS[zero_shot_arm(wildcards).tiers[0]],
        tests=lambda wildcards: named(paths.unwritable_tests(STUDY, wildcards.init)),
        settings=lambda wildcards: settings("texts", slices.written(STUDY, wildcards.init)),
        tokens=lambda wildcards: written_by_init(wildcards),
        limit=unwatched(lambda wildcards: unwritable_limit()),
    message:
        "What init {wildcards.init} cannot write"
    shell:
        "python {params.program:q} --family {params.family:q} --init {input.init:q}"
        " --tier {params.tier} --tests {params.tests:q} --settings {params.settings:q}"
        " {params.tokens} {params.limit} --output {output.found:q} --log {log:q}"
