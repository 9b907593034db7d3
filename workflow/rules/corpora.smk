"""Raw releases: downloaded or made, verified, never modified.

in    nothing, or the index of a local corpus
out   resources/corpora/{corpus}/{lang}/complete.json   files and digests; only its presence says
      that the folder is whole
"""


rule download_corpus:
    input:
        index=corpus_index,
    output:
        complete="resources/corpora/{corpus}/{lang}/complete.json",
    log:
        "logs/download_corpus/{corpus}/{lang}.log",
    benchmark:
        "results/benchmarks/download_corpus/{corpus}/{lang}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        download=1,
    params:
        program=program("download_corpus"),
        version=VERSIONS["download_corpus"],
        settings=lambda wildcards: settings(
            "corpus", slices.corpus(STUDY, wildcards.corpus, wildcards.lang)
        ),
        # A parameter, not an output: what was fetched before a connection broke survives the failed
        # job.
        directory=lambda wildcards, output: str(Path(output.complete).parent),
    message:
        "Fetch {wildcards.corpus}, {wildcards.lang}"
    shell:
        "python {params.program:q} --corpus {wildcards.corpus} --lang {wildcards.lang}"
        " --settings {params.settings:q} --directory {params.directory:q}"
        " --output {output.complete:q} --log {log:q}"
