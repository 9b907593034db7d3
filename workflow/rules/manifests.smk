"""Lhotse CutSets, one supervision a cut.

in    resources/corpora/{corpus}/{lang}/complete.json
out   results/manifests/{corpus}/{lang}/{split}.jsonl.gz, .qc.json
      results/manifests/{corpus}/{lang}/{split}+noise{snr_db}db.jsonl.gz
      results/manifests/{corpus}/{lang}/{split}.traits.json   of test sets, read by scoring alone
      results/noise/training.jsonl.gz   with noise.training only
"""


rule prepare_manifest:
    input:
        complete="resources/corpora/{corpus}/{lang}/complete.json",
    output:
        cuts="results/manifests/{corpus}/{lang}/{split}.jsonl.gz",
        report="results/manifests/{corpus}/{lang}/{split}.qc.json",
    log:
        "logs/prepare_manifest/{corpus}/{lang}/{split}.log",
    benchmark:
        "results/benchmarks/prepare_manifest/{corpus}/{lang}/{split}.tsv"
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=more(4000),
        # Decoding every file of the largest corpus (2000 h of MLS) was estimated at 8 hours.
        runtime=more(720),
    params:
        program=program("prepare_manifest"),
        version=VERSIONS["prepare_manifest"],
        settings=lambda wildcards: settings(
            "corpus", slices.corpus(STUDY, wildcards.corpus, wildcards.lang)
        ),
        # As a function of `input` it is no reason to make manifests anew: it only stops the job.
        limit=lambda wildcards, input: manifest_limit(wildcards),
        directory=lambda wildcards, input: str(Path(input.complete).parent),
    message:
        "Manifest of {wildcards.corpus}, {wildcards.lang}, {wildcards.split}"
    shell:
        "python {params.program:q} --corpus {wildcards.corpus} --lang {wildcards.lang}"
        " --split {wildcards.split} --settings {params.settings:q}"
        " --directory {params.directory:q} --output {output.cuts:q}"
        " --report {output.report:q} {params.limit} --threads {threads} --log {log:q}"


rule list_traits:
    input:
        cuts="results/manifests/{corpus}/{lang}/{split}.jsonl.gz",
        # A gender that is filled in leaves the manifest as it is.
        tables=corpus_index,
        code=traits_code,
    output:
        traits="results/manifests/{corpus}/{lang}/{split}.traits.json",
    log:
        "logs/list_traits/{corpus}/{lang}/{split}.log",
    benchmark:
        "results/benchmarks/list_traits/{corpus}/{lang}/{split}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=lambda wildcards, input: input.code[0],
        settings=lambda wildcards: settings(
            "corpus", slices.corpus(STUDY, wildcards.corpus, wildcards.lang)
        ),
        # Not an input: a corpus that was removed to save room is not fetched again for this.
        directory=lambda wildcards, output: f"resources/corpora/{wildcards.corpus}/{wildcards.lang}",
    message:
        "Speakers of {wildcards.corpus}, {wildcards.lang}, {wildcards.split}"
    shell:
        "python {params.program:q} --corpus {wildcards.corpus} --lang {wildcards.lang}"
        " --split {wildcards.split} --settings {params.settings:q}"
        " --directory {params.directory:q} --cuts {input.cuts:q} --output {output.traits:q}"
        " --log {log:q}"


rule prepare_noise:
    input:
        cuts="results/manifests/{corpus}/{lang}/{split}.jsonl.gz",
    output:
        cuts="results/manifests/{corpus}/{lang}/{split}+noise{snr_db}db.jsonl.gz",
    log:
        "logs/prepare_noise/{corpus}/{lang}/{split}+noise{snr_db}db.log",
    benchmark:
        "results/benchmarks/prepare_noise/{corpus}/{lang}/{split}+noise{snr_db}db.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("prepare_noise"),
        version=VERSIONS["prepare_noise"],
        directory=lambda wildcards: STUDY.source_path(config["noise"]["directory"]),
        seed=lambda wildcards: config["noise"]["seed"],
    message:
        "Noise under {wildcards.corpus}, {wildcards.lang}, {wildcards.split}:"
        " {wildcards.snr_db} dB"
    shell:
        "python {params.program:q} --directory {params.directory:q} --cuts {input.cuts:q}"
        " --snr-db {wildcards.snr_db} --seed {params.seed} --output {output.cuts:q} --log {log:q}"


rule prepare_noise_training:
    output:
        cuts="results/noise/training.jsonl.gz",
    log:
        "logs/prepare_noise/training.log",
    benchmark:
        "results/benchmarks/prepare_noise/training.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=program("prepare_noise"),
        version=VERSIONS["prepare_noise"],
        directory=lambda wildcards: STUDY.source_path(
            config["noise"]["training"].get("directory", config["noise"]["directory"])
        ),
    message:
        "Noise for training"
    shell:
        "python {params.program:q} --directory {params.directory:q} --output {output.cuts:q}"
        " --log {log:q}"
