"""Tables, figures and the page.

in    results/scores/*.parquet, quantize.json, run.json, train.csv and .qc.json of everything in the study
out   results/tables/*.csv, results/figures/*.{svg,png}, results/report.html
"""

TABLES = ["wer", "gap", "gap_by_tier", "quantization", "fit", "latency", "guideline"]
FIGURES = ["gap_by_hours", "wer_by_hours", "gap_by_tier", "quantization", "training", "validation"]


rule aggregate:
    input:
        scores=[f"results/scores/{lang}.parquet" for lang in STUDY.languages],
        headers=[header(path) for lang in STUDY.languages for path in STUDY.hypotheses(lang)],
        quantized=STUDY.quantize_reports(),
        lists=[listed("headers"), listed("quantized")],
        code=code("aggregate"),
    output:
        tables=[shown("Tables", f"results/tables/{name}.csv", f"table_{name}") for name in TABLES],
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
        settings=as_json(STUDY.statistics_settings()),
        directory=lambda wildcards, output: str(Path(output.tables[0]).parent),
    message:
        "Tables: rates, gaps, intervals, fit"
    shell:
        "python {params.program:q} --scores {input.scores:q} --headers @{input.lists[0]:q} --quantize @{input.lists[1]:q}"
        " --settings {params.settings:q} --output-dir {params.directory} --log {log:q}"


rule plot:
    input:
        tables=rules.aggregate.output.tables,
        curves=[f"{path}/train.csv" for path in RUN_PATHS],
        listed=listed("curves"),
        code=code("plot"),
    output:
        figures=[
            shown("Figures", f"results/figures/{name}.svg", f"figure_{name}") for name in FIGURES
        ],
        images=[f"results/figures/{name}.png" for name in FIGURES],
    log:
        "logs/plot.log",
    benchmark:
        "results/benchmarks/plot.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    params:
        program=lambda wildcards, input: input.code[0],
        settings=as_json(STUDY.display_settings()),
        tables=lambda wildcards, input: str(Path(input.tables[0]).parent),
        directory=lambda wildcards, output: str(Path(output.figures[0]).parent),
    message:
        "Figures"
    shell:
        "python {params.program:q} --tables {params.tables} --train-logs @{input.listed:q} --settings {params.settings:q}"
        " --output-dir {params.directory} --log {log:q}"


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
            for path in STUDY.manifests(lang)
        ],
        tokenizers=[f"results/tokenizers/{lang}/coverage.json" for lang in STUDY.languages],
        scores=rules.aggregate.input.scores,
        code=code("build_report"),
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
    params:
        program=lambda wildcards, input: input.code[0],
        settings=lambda wildcards: as_json(
            {
                **STUDY.display_settings(),
                "licences": {lang: STUDY.licences(lang) for lang in STUDY.pooled_languages},
            }
        ),
        tables=lambda wildcards, input: str(Path(input.tables[0]).parent),
        figures=lambda wildcards, input: str(Path(input.figures[0]).parent),
    message:
        "Report"
    shell:
        "python {params.program:q} --tables {params.tables} --figures {params.figures} --runs @{input.listed:q}"
        " --qc {input.pools:q} --manifests {input.manifests:q} --coverage {input.tokenizers:q} --scores {input.scores:q}"
        " --settings {params.settings:q}"
        " --output {output.report:q} --log {log:q}"
