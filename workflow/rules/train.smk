"""Fine-tuning: two runs of a contrast differ in what their arms differ in, and in nothing else.

in    a budget or a mixture, the tokenizer of its tokens (results/tokenizers/), an init
out   results/runs/{run}/   the model, train.csv, run.json, settings.yaml; of a LoRA also adapter/
"""

VALIDATION = {name: named(paths.validation_manifests(STUDY, name)) for name in STUDY.training_sets}
TEXTS = {
    (name, tokens): settings("texts", slices.texts(STUDY, name, tokens))
    for name in STUDY.training_sets
    for tokens in {arm.tokens for arm in STUDY.arms.values()}
}
RECIPES = {arm: settings("train", slices.training(STUDY, arm)) for arm in STUDY.arms}
# Whether some run is made of others.
EXPERTS = any(experts.named_by(arm) for arm in STUDY.arms.values())
PACES = {arm: settings("train", slices.pace(STUDY, arm)) for arm in STUDY.arms}


def donor_arguments(wildcards, input):
    """What a run starts from.

    A run from scratch takes the architecture of another init's file, not its weights.
    """
    init = config["inits"][STUDY.arms[wildcards.arm].init]
    return ["scratch", "--like", input.init] if "scratch" in init else [input.init]


def tokenizers_of(wildcards):
    """Folder of the tokenizer of each head of a run."""
    tokens = STUDY.arms[wildcards.arm].tokens
    return paths.tokenizers_of(STUDY, wildcards.training_set, tokens)


def tokenizer_files(wildcards, name):
    """A file of each of them."""
    return [f"{folder}/{name}" for folder in tokenizers_of(wildcards).values()]


def tokenizer_arguments(wildcards):
    """The folder of the tokenizer, or LANG=FOLDER of each head."""
    found = tokenizers_of(wildcards)
    return named(found) if STUDY.heads(wildcards.training_set) else list(found.values())


def reference(wildcards):
    """The donor with which a run's is compared before step 1: that of its first peer.

    Not all donors, or a new one would make every model stale; and no `ancient`, behind which
    Snakemake overlooks edited parameters.
    """
    return paths.donor(STUDY, STUDY.peers(wildcards.arm)[0])


def expert_files(wildcards):
    """The updates that a run is made of: of experts that are fused, and of teachers."""
    run = run_of(wildcards)
    found = [*experts.fused(STUDY, run).values(), *experts.teachers(STUDY, run).values()]
    return [path for expert in found for path in paths.beside(STUDY, expert)]


def expert_arguments(wildcards):
    """--experts and --teachers with the folders of these."""
    run, words = run_of(wildcards), []
    for option, found in (
        ("--experts", experts.fused(STUDY, run)),
        ("--teachers", experts.teachers(STUDY, run)),
    ):
        folders = {lang: experts.folder(expert) for lang, expert in found.items()}
        words += [option, *named(folders)] if folders else []
    return words


def packed_pools(wildcards):
    """Language -> index of the shards that a run reads; none where it reads files."""
    return paths.packed_pools(STUDY, wildcards.training_set, wildcards.arm)


def pace_arguments(wildcards):
    """The pace, and the shards: no model changes with either."""
    found = {lang: str(Path(index).parent) for lang, index in packed_pools(wildcards).items()}
    return [PACES[wildcards.arm], *(["--packed", *named(found)] if found else [])]


# What rounds of a run are trained by too.
TRAIN = (
    # `exec`: a shell in between would die of a scheduler's SIGTERM, and the job would be over
    # before its checkpoint is written.
    "exec "
    + training_launcher()
    + "python {params.program:q} --version {params.version} --family {params.family:q}"
    f" --run {THIS_RUN} --init {{params.init:q}} --same-kind-as {{params.reference:q}}"
    " --train-cuts {input.cuts:q} --dev-cuts {params.validation:q}"
    " --tokenizer {params.tokenizer:q} --settings {params.settings:q}"
    " --pace {params.pace:q}"
    " --text {params.text:q} --run-dir {params.directory:q} --output {output.model:q}"
    " --log {log:q}"
)


# Families differ in the file that a model is, adaptations in what they write beside it, and an
# output cannot depend on a wildcard: one rule for each combination, from one template.
for (FILE, BESIDE), ARMS in TRAININGS.items():

    rule:
        name:
            training_rule(FILE, BESIDE)
        input:
            cuts=lambda wildcards: paths.training_cuts(
                STUDY, wildcards.training_set, wildcards.hours
            ),
            noise=paths.training_noise(STUDY) or [],
            packed=lambda wildcards: list(packed_pools(wildcards).values()),
            profile=batch_profile,
            validation=lambda wildcards: list(
                paths.validation_manifests(STUDY, wildcards.training_set).values()
            ),
            tokenizer=lambda wildcards: tokenizer_files(wildcards, "tokenizer.model"),
            vocabulary=lambda wildcards: tokenizer_files(wildcards, "vocab.txt"),
            init=lambda wildcards: paths.donor(STUDY, wildcards.arm),
            reference=reference,
            experts=expert_files if EXPERTS else [],
        output:
            *written_beside(ARMS),
            model=f"results/runs/{RUN}/{FILE}",
            curve=f"results/runs/{RUN}/train.csv",
            run=f"results/runs/{RUN}/run.json",
        log:
            f"logs/train/{RUN}.log",
        benchmark:
            f"results/benchmarks/train/{RUN}.tsv"
        wildcard_constraints:
            arm="|".join(ARMS),
            training_set=one_of_names(AT_ONCE),
        conda:
            ENVIRONMENT
        threads: config["resources"]["train_threads"]
        resources:
            **training_tasks(),
            gpu=slices.gpus(STUDY, "train"),
            mem_mb=more(config["resources"]["train_mem_mb"]),
            # Not more with a retry: a training that ran out of time goes on where it was.
            runtime=config["resources"]["train_runtime_min"],
        params:
            program=program("train"),
            version=VERSIONS["train"],
            family=FAMILY,
            init=donor_arguments,
            reference=lambda wildcards, input: (
                f"{STUDY.donor(STUDY.arms[STUDY.peers(wildcards.arm)[0]].init)}={input.reference}"
            ),
            settings=lambda wildcards: RECIPES[wildcards.arm],
            pace=unwatched(pace_arguments),
            validation=lambda wildcards: VALIDATION[wildcards.training_set],
            text=lambda wildcards: TEXTS[wildcards.training_set, STUDY.arms[wildcards.arm].tokens],
            # Not compared, because it takes `input`; the files themselves are.
            # Experts go with it, because a command with one more place in it would train all again.
            tokenizer=lambda wildcards, input: [
                *tokenizer_arguments(wildcards),
                *(expert_arguments(wildcards) if EXPERTS else []),
            ],
            # Snakemake removes the declared outputs of a failed job; checkpoints are not declared,
            # so a killed run resumes from them.
            directory=lambda wildcards, output: str(Path(output.model).parent),
        message:
            f"Train {THIS_RUN}"
        shell:
            TRAIN
