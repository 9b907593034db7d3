"""Names of files that are too many for a command line: Linux takes 128 KB in one argument, and a
shell line is one argument.

in    nothing: which files there are follows from the configuration
out   results/lists/{name}.txt   one path a line; programs take it as @FILE
"""

HYPOTHESES = paths.hypotheses(STUDY)
RUN_PATHS = [f"results/runs/{run.path}" for run in STUDY.runs()]
LISTS = {
    **{
        f"hypotheses_{lang}": lambda lang=lang: paths.hypotheses(STUDY, lang, phones=False)
        for lang in STUDY.scored_languages
    },
    **{
        f"candidates_{lang}": lambda lang=lang: paths.hypotheses(STUDY, lang)
        for lang in STUDY.scored_languages
    },
    **{
        f"phones_{lang}": lambda lang=lang: paths.hypotheses(STUDY, lang, phones=True)
        for lang in STUDY.scored_languages
    },
    **{
        f"rounds_{lang}": lambda lang=lang: round_files.hypotheses(STUDY, lang)
        for lang in STUDY.scored_languages
    },
    "round_labels": lambda: round_files.chosen(STUDY),
    "headers": lambda: [paths.header(path) for path in HYPOTHESES],
    "quantized": lambda: paths.quantize_reports(STUDY),
    "routed": lambda: routing.routed(STUDY),
    "curves": lambda: [f"{path}/train.csv" for path in RUN_PATHS],
    "runs": lambda: [f"{path}/run.json" for path in RUN_PATHS],
}


rule write_list:
    output:
        paths="results/lists/{name}.txt",
    log:
        "logs/write_list/{name}.log",
    wildcard_constraints:
        name="|".join(LISTS),
    params:
        paths=lambda wildcards: LISTS[wildcards.name](),
    message:
        "Names of {wildcards.name}"
    run:
        write_names(params.paths, output.paths, log[0])
