"""Tables, figures and the page.

in    results/scores/*.parquet, quantize.json, run.json, train.csv and .qc.json of the study;
      results/candidates/*.parquet, with decoding.log_candidates
out   results/tables/*.csv, results/figures/*.{svg,png}, results/report.html

Which tables and figures there are, the analyses say (`warmstart/evidence/analyses`).
"""

from warmstart.evidence import analyses

# File of a figure -> what its analysis calls it; those of a contrast are drawn once for each.
FIGURES = analyses.figures(STUDY.word_contrasts)


ROUTED = routing.routed(STUDY)
UNDERSTOOD = [paths.understood(lang) for lang in understanding.languages(STUDY)]


rule aggregate:
    input:
        scores=paths.scores(STUDY),
        phone_scores=paths.phone_scores(STUDY),
        phones=paths.inventories(STUDY),
        headers=[paths.header(path) for path in HYPOTHESES],
        quantized=paths.quantize_reports(STUDY),
        candidates=paths.counted_candidates(STUDY),
        curves=[f"{path}/train.csv" for path in RUN_PATHS],
        runs=[f"{path}/run.json" for path in RUN_PATHS],
        understood=UNDERSTOOD,
        routed=ROUTED,
        labels=paths.label_reports(STUDY),
        round_scores=round_files.scores(STUDY),
        round_labels=round_files.chosen(STUDY),
        lists=[
            listed(name) for name in ("headers", "quantized", "curves", "routed", "round_labels")
        ],
        code=code("aggregate", *analyses.modules()),
    output:
        tables=[
            shown("Tables", f"results/tables/{name}.csv", f"table_{name}")
            for name in analyses.tables()
        ],
    log:
        "logs/aggregate.log",
    benchmark:
        "results/benchmarks/aggregate.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(8000),
    params:
        program=lambda wildcards, input: input.code[0],
        settings=ordered("statistics", slices.statistics(STUDY)),
        directory=lambda wildcards, output: str(Path(output.tables[0]).parent),
    message:
        "Tables: rates, gaps, intervals, fit"
    shell:
        "python {params.program:q} --scores {input.scores:q} --headers @{input.lists[0]:q}"
        " --quantize @{input.lists[1]:q} --train-logs @{input.lists[2]:q}"
        " --candidates {input.candidates:q}"
        " --phone-scores {input.phone_scores:q} --phones {input.phones:q}"
        " --understood {input.understood:q} --routed @{input.lists[3]:q}"
        " --labels {input.labels:q}"
        " --round-scores {input.round_scores:q} --round-labels @{input.lists[4]:q}"
        " --settings {params.settings:q} --output-dir {params.directory} --log {log:q}"


rule plot:
    input:
        tables=rules.aggregate.output.tables,
        curves=[f"{path}/train.csv" for path in RUN_PATHS],
        runs=[f"{path}/run.json" for path in RUN_PATHS],
        listed=listed("curves"),
        code=code("plot", *analyses.modules()),
    output:
        figures=[
            shown("Figures", f"results/figures/{name}.svg", f"figure_{figure}")
            for name, figure in FIGURES.items()
        ],
        images=[f"results/figures/{name}.png" for name in FIGURES],
    log:
        "logs/plot.log",
    benchmark:
        "results/benchmarks/plot.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(2000),
    params:
        program=lambda wildcards, input: input.code[0],
        settings=ordered("display", slices.display(STUDY)),
        tables=lambda wildcards, input: str(Path(input.tables[0]).parent),
        directory=lambda wildcards, output: str(Path(output.figures[0]).parent),
    message:
        "Figures"
    shell:
        "python {params.program:q} --tables {params.tables} --train-logs @{input.listed:q}"
        " --settings {params.settings:q} --output-dir {params.directory} --log {log:q}"


rule build_report:
    input:
        tables=rules.aggregate.output.tables,
        figures=[*rules.plot.output.figures, *rules.plot.output.images],
        runs=[f"{path}/run.json" for path in RUN_PATHS],
        listed=listed("runs"),
        pools=[f"results/pools/{lang}.qc.json" for lang in STUDY.pooled_languages],
        manifests=[
            path.replace(".jsonl.gz", ".qc.json")
            for lang in STUDY.pooled_languages
            for path in paths.manifests(STUDY, lang)
        ],
        tokenizers=[f"{paths.tokenizer(*key)}/coverage.json" for key in TOKENIZERS],
        unwritable=[paths.unwritable(init) for init in STUDY.zero_shot_inits()],
        scores=rules.aggregate.input.scores,
        tests=[path for lang in STUDY.scored_languages for path in tests_in(lang).values()],
        code=code("build_report", *analyses.modules()),
        templates=[
            f"{PROGRAMS}/../report/{name}" for name in ("template.html", "style.css", "report.js")
        ],
    output:
        report=shown("Report", "results/report.html", "report"),
    log:
        "logs/build_report.log",
    benchmark:
        "results/benchmarks/build_report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=more(2000),
    params:
        program=lambda wildcards, input: input.code[0],
        settings=lambda wildcards: ordered("report", page_settings()),
        tables=lambda wildcards, input: str(Path(input.tables[0]).parent),
        figures=lambda wildcards, input: str(Path(input.figures[0]).parent),
        tests=lambda wildcards: named(
            {
                f"{lang}/{name}": path
                for lang in STUDY.scored_languages
                for name, path in tests_in(lang).items()
            }
        ),
    message:
        "Report"
    shell:
        "python {params.program:q} --tables {params.tables} --figures {params.figures}"
        " --runs @{input.listed:q} --qc {input.pools:q} --manifests {input.manifests:q}"
        " --coverage {input.tokenizers:q} {input.unwritable:q} --scores {input.scores:q} --tests {params.tests:q}"
        " --settings {params.settings:q} --output {output.report:q} --log {log:q}"
