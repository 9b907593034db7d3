"""What a study will take, and what it may tell: tables for the terminal. Nothing is downloaded,
made or claimed.

in    the configuration, and what there is of results/ already
out   nothing: `snakemake --cores 1 hours` prints each time it is asked (and leaves a copy in logs/)

`make plan` is the fourth planner: it asks Snakemake itself, so it is no rule.
"""

PLANNERS = {"hours", "cost", "plan"}

# In the order of the file, which the tables keep.
PLANNED = SettingsFiles("logs/planned", live=not workflow.is_main_process, in_order=True)
PLANNED_CONFIG = PLANNED.path("config", config)


rule hours:
    log:
        "logs/hours.log",
    params:
        program=program("plan_hours"),
        config=PLANNED_CONFIG,
    message:
        "Hours, budgets, disk and licences"
    shell:
        "python {params.program:q} --config {params.config:q} 2>&1 | tee {log:q}"


rule cost:
    log:
        "logs/cost.log",
    params:
        program=program("plan_cost"),
        config=PLANNED_CONFIG,
    message:
        "Cost of each run"
    shell:
        "python {params.program:q} --config {params.config:q} 2>&1 | tee {log:q}"


rule plan:
    log:
        "logs/plan.log",
    params:
        program=program("plan_gap"),
        hours=(
            config["plan_hours"]
            if isinstance(config["plan_hours"], list)
            else [config["plan_hours"]]
        ),
        wer=(config["plan_wer"] if isinstance(config["plan_wer"], list) else [config["plan_wer"]]),
        settings=config["statistics"],
    message:
        "Expected gap and WER of a language that is not in the study"
    shell:
        "python {params.program:q} --tables results/tables --hours {params.hours} --published"
        " --wer {params.wer}"
        " --test-set {params.settings[headline_test_set]:q}"
        " --tier {params.settings[reference_tier]:q}"
        " --confidence {params.settings[confidence]} 2>&1 | tee {log:q}"
