"""Fine-tuning: two runs of a pair differ in the encoder's weights and in nothing else.

in    results/budgets/{lang}/{hours}h.jsonl.gz (or results/replay/...), results/tokenizers/{lang}/, resources/inits/{init}.nemo
out   results/runs/{lang}/{init}/{hours}h/seed{seed}/{model.nemo,train.csv,run.json}
"""


rule train:
    input:
        cuts=lambda wildcards: STUDY.training_cuts(wildcards.lang, wildcards.hours),
        noise=STUDY.training_noise() or [],
        validation=lambda wildcards: STUDY.validation_manifest(wildcards.lang),
        tokenizer="results/tokenizers/{lang}/tokenizer.model",
        vocabulary="results/tokenizers/{lang}/vocab.txt",
        init=lambda wildcards: f"resources/inits/{STUDY.donor(wildcards.init)}.nemo",
        # Only looked at: an encoder of another kind stops before step 1. Not all inits, or a new
        # one would make every model stale; not the baseline of the gaps, or another one would; and
        # no `ancient`, behind which Snakemake overlooks edited params.
        reference=f"resources/inits/{STUDY.donors()[0]}.nemo",
    output:
        model=f"results/runs/{grid.RUN}/model.nemo",
        curve=f"results/runs/{grid.RUN}/train.csv",
        run=f"results/runs/{grid.RUN}/run.json",
    log:
        f"logs/train/{grid.RUN}.log",
    benchmark:
        f"results/benchmarks/train/{grid.RUN}.tsv"
    conda:
        ENVIRONMENT
    threads: config["resources"]["train_threads"]
    resources:
        **training_tasks(),
        gpu=STUDY.gpus("train"),
        mem_mb=more(config["resources"]["train_mem_mb"]),
        # Not more with a retry: a training that ran out of time goes on where it was.
        runtime=config["resources"]["train_runtime_min"],
    params:
        program=program("train"),
        # Raise when training makes something else than before from the same settings.
        recipe=1,
        reference=lambda wildcards, input: f"{STUDY.donors()[0]}={input.reference}",
        run=run_keys,
        settings=lambda wildcards: as_json(STUDY.training_settings()),
        # A function of the output: what follows from outputs Snakemake does not compare, so an edit
        # makes no finished model stale.
        pace=lambda wildcards, output: as_json(STUDY.training_pace()),
        text=lambda wildcards: as_json(STUDY.text(wildcards.lang)),
        # A run from scratch takes the architecture of another init's file, not its weights.
        init=lambda wildcards, input: (
            ["scratch", "--like", input.init]
            if "scratch" in config["inits"][wildcards.init]
            else [input.init]
        ),
        tokenizer=lambda wildcards, input: str(Path(input.tokenizer).parent),
        # Snakemake removes the declared outputs of a failed job; checkpoints are not declared, so a
        # killed run resumes from them.
        directory=lambda wildcards, output: str(Path(output.model).parent),
    message:
        "Train {wildcards.lang} from {wildcards.init} on {wildcards.hours} h, seed {wildcards.seed}"
    shell:
        # `exec`: a shell in between would die of a scheduler's SIGTERM, and the job would be over
        # before its checkpoint is written.
        "exec "
        + training_launcher()
        + "python {params.program:q} --train-cuts {input.cuts:q} --dev-cuts {input.validation:q} --tokenizer {params.tokenizer:q}"
        " --init {params.init:q} --same-kind-as {params.reference:q} --keys {params.run:q} --settings {params.settings:q}"
        " --pace {params.pace:q} --text {params.text:q}"
        " --recipe {params.recipe} --run-dir {params.directory:q} --output {output.model:q} --log {log:q}"
