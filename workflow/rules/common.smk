"""The study as read from the configuration, and what all rules share. No rule in here."""

import json
import os
import signal
import sys
from pathlib import Path

BASE = Path(workflow.basedir)
sys.path.insert(0, str(BASE / "workflow" / "scripts"))

from warmstart.data.corpora import open_corpus
from warmstart.data.text import check_examples
from warmstart.models.fastconformer import donor as donors
from warmstart.run import slurm_jobs
from warmstart.run.errors import UserError
from warmstart.run.imports import code_of
from warmstart.study import grid
from warmstart.study.config import refuse_duplicates, validate

# Programs run by the interpreter that runs Snakemake, activated or not; `--sdm conda` puts its own
# in front.
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

# On a shared file system colleagues read what this makes and do not write it, whatever the shell's
# umask; all others stay as it says.
os.umask(os.umask(0) & ~0o050 | 0o020)

# Relative where possible: the path of a checkout must not become an input that changes when the
# folder is renamed.
PROGRAMS = os.path.relpath(BASE / "workflow" / "scripts")
ENVIRONMENT = str(BASE / "envs" / "warmstart.yaml")

# Slurm warns a job before its time is over (--signal in the profile) and tells every process of it,
# this Snakemake included, whose default is to die and take the training along. Ignored here, it is
# ignored by all that start from here but those that listen to it.
if "SLURM_JOB_ID" in os.environ:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


try:
    for path in workflow.configfiles:
        refuse_duplicates(path)
    validate(config, BASE / "workflow" / "schemas" / "config.schema.yaml")
    STUDY = grid.Study(config, os.path.relpath(BASE))
    donors.require_same_kind(STUDY.inits_at_hand(), config["training"]["model"])
    STUDY.check_digests()
    for lang in [*STUDY.languages, *config["support_languages"]]:
        check_examples(lang, {**STUDY.language(lang)["text"], **STUDY.text(lang)})
except UserError as error:
    # WorkflowError prints one line; anything else would print a traceback into Snakemake.
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    corpus=r"[a-z][a-z0-9_]*",
    lang=r"[a-z]{2,3}",
    split=r"[a-z][a-z0-9_]*",
    init=r"[a-z][a-z0-9_]*",
    hours=r"[0-9]+(\.[0-9]+)?",
    seed=r"[0-9]+",
    precision=r"[a-z][a-z0-9]*",
    tier=r"[a-z0-9]+",
    test_set=r"[a-z][a-z0-9_+]*",
    snr_db=r"-?[0-9]+",


def code(name):
    """A program and what it imports, as inputs: cheap rules run again when an idea they use is edited (`shell:` tracks no code).

    Training, download and decode rules do not list theirs: they carry a `recipe` number, raised by whoever changes what they make.
    """
    return code_of(program(name))


def program(name):
    """Path of the program that a rule runs."""
    return f"{PROGRAMS}/{name}.py"


def as_json(value):
    """A slice of the configuration as one argument of a program; `:q` in the shell line quotes it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


# A tier as an argument of a program.
TIERS = {name: as_json(tier.as_json()) for name, tier in STUDY.tiers.items()}


def named(paths):
    """`{name: path}` as the NAME=PATH arguments that programs take."""
    return [f"{name}={path}" for name, path in paths.items()]


# Test sets that a language is scored on, with their manifests, and the same as arguments of
# programs.
TESTS = {
    lang: {name: STUDY.test_manifest(lang, name) for name in STUDY.test_sets(lang)}
    for lang in STUDY.languages
}
TEST_ARGUMENTS = {lang: named(tests) for lang, tests in TESTS.items()}


def shown(category, path, caption, **labels):
    """An output that `snakemake --report` shows, with its caption of workflow/report/captions/."""
    labels = labels or {"name": Path(path).stem}
    return report(
        path, caption=f"../report/captions/{caption}.rst", category=category, labels=labels
    )


def header(hypotheses):
    """The header beside a hypothesis file."""
    return hypotheses.removesuffix("l")


def listed(name):
    """The file that names the files of `name`, for programs that take more of them than a command line holds."""
    return f"results/lists/{name}.txt"


def write_names(paths, output, log):
    """Write one path a line."""
    Path(output).write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    Path(log).write_text(f"{len(paths)} names\n", encoding="utf-8")


def bundle_hypotheses(wildcards):
    """What the README of a bundle has its rates from."""
    return STUDY.bundle_hypotheses(**wildcards)


def run_keys(wildcards):
    """Keys of the run that a job belongs to."""
    return as_json(
        {
            "lang": wildcards.lang,
            "init": wildcards.init,
            "hours": wildcards.hours,
            "seed": int(wildcards.seed),
        }
    )


def tokenizer_tests(wildcards):
    """Test sets whose characters a tokenizer should be able to write."""
    replayed = {
        name: STUDY.test_manifest(wildcards.lang, name) for name in STUDY.replayed_test_sets()
    }
    return STUDY.guard_manifests(wildcards.lang) | replayed


def more(base):
    """What a job is given: `base`, and half of it more with every retry. What ran out of memory or time once would do so again."""
    return lambda wildcards, attempt: base * (attempt + 1) // 2


# A training on several nodes is started by srun inside its job, a task for each device; on one node
# by the program itself.
SEVERAL_NODES = config["training"].get("num_nodes", 1) > 1


def training_tasks():
    """What Snakemake's Slurm plugin needs to know of a training on several nodes (`mpi`: the job calls srun itself)."""
    if not SEVERAL_NODES:
        return {}
    return {
        "mpi": "srun",
        "nodes": config["training"]["num_nodes"],
        "tasks_per_node": config["training"]["devices"],
    }


def training_launcher():
    """What stands before the training program's command."""
    devices = config["training"].get("devices", 1)
    return f"srun --ntasks-per-node={devices} --kill-on-bad-exit=1 " if SEVERAL_NODES else ""


def zero_shot(lang, wildcards):
    """Arguments of a decode without fine-tuning."""
    if wildcards.hours != grid.ZERO_SHOT:
        return []
    prompt = STUDY.zero_shot_prompt(lang, wildcards.init)
    return ["--zero-shot", *(["--prompt", prompt] if prompt else [])]


def by_precision(values):
    """A directive whose value depends on the precision; plain where all are alike, because a function costs every job of a dry run."""
    first, *others = values.values()
    return (
        first
        if all(value == first for value in others)
        else lambda wildcards: values[wildcards.precision]
    )


def corpus_index(wildcards):
    """The tables of somebody's own recordings are inputs: an edited transcript makes its manifests stale."""
    settings = STUDY.corpus_settings(wildcards.corpus, wildcards.lang)
    # Readers of downloads are not asked: theirs never change, and importing them costs a dry run
    # time.
    if settings["kind"] not in ("local", "granary") or "directory" not in settings:
        return []
    return open_corpus(wildcards.corpus, wildcards.lang, settings).tables()


def manifest_limit(wildcards):
    """Argument for the share of unusable recordings that stops a manifest."""
    limit = STUDY.manifest_limit(wildcards.corpus, wildcards.lang)
    return [] if limit is None else ["--max-drop-fraction", str(limit)]


def pretraining_cuts(wildcards):
    """lang -> CutSet for one init's pretraining."""
    recipe = config["inits"][wildcards.init]["pretrain"]
    return {
        lang: STUDY.manifest(recipe["corpus"], lang, recipe["split"])
        for lang in recipe["languages"]
    }


def init_source(wildcards):
    """What an init is made from on this machine: a given file, or the checkpoint that its recipe makes."""
    settings = config["inits"][wildcards.init]
    if "path" in settings:
        return STUDY.source_path(settings["path"])
    return f"resources/pretrained/{wildcards.init}.nemo" if "pretrain" in settings else []


OWNER = Path("results/study.json")


def other_study():
    """What to do where this folder holds the results of another study, or None."""
    if (
        not OWNER.exists()
        or (name := json.loads(OWNER.read_text())["name"]) == config["study"]["name"]
    ):
        return None
    return (
        f"results/ and resources/ here belong to the study {name!r}, not to {config['study']['name']!r}: move both folders away (the"
        f" demo's are removed by `make clean`), or run this study in a folder of its own with --directory FOLDER"
    )


# A run refuses (below); a dry run and the planners would compare with, and learn from, what is not
# theirs.
if other := other_study():
    logger.warning(other)


onstart:
    # A folder holds one study: the demo must not overwrite the pools of a study that has trained
    # for a week, nor lend it its inits. Planners look and print, and claim no folder.
    asked = set(workflow.dag_settings.targets)
    if not asked or asked - PLANNERS:
        if other := other_study():
            raise WorkflowError(other)
        # Jobs of a Snakemake that died write what this one would order again.
        if left := slurm_jobs.jobs_in(Path.cwd()):
            numbers = " ".join(job.split()[0] for job in left)
            raise WorkflowError(
                f"Slurm still has jobs of an earlier Snakemake in this folder: {', '.join(left)}. Wait until they have finished, or"
                f" stop them (`scancel {numbers}`; trainings go on from their last checkpoint), and start again"
            )
        OWNER.parent.mkdir(exist_ok=True)
        OWNER.write_text(json.dumps(config["study"]) + "\n")
