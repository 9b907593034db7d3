"""From which encoder should a streaming recogniser for a new language start? One study, from
corpora to report.

Edit config.yaml (the full study) or pass another one whole: `snakemake --configfile demo.yaml`.
"""

import os
import sys

from snakemake.utils import min_version

min_version("9.0")
if sys.version_info < (3, 11, 4):
    # Else NeMo would fail on its first model, after the downloads: it unpacks with a filter that
    # 3.11.4 brought.
    raise WorkflowError(
        f"Python 3.11.4 or later is needed, this is {sys.version.split()[0]}; `make` installs into "
        "one you name"
    )

# A folder that is named with --directory may have its own config.yaml, or use the one that lies
# here.
OWN_CONFIG = "config.yaml" if os.path.exists("config.yaml") else f"{workflow.basedir}/config.yaml"

# A file given with --configfile replaces config.yaml; Snakemake alone would merge the two, and the
# demo would inherit 8 languages.
if "languages" not in config:

    configfile: OWN_CONFIG


# Only looked at with `--sdm apptainer`; built from envs/warmstart.def.
container: "envs/warmstart.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpora.smk"
include: "workflow/rules/manifests.smk"
include: "workflow/rules/pools.smk"
include: "workflow/rules/tokenizers.smk"
include: "workflow/rules/inits.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/profiles.smk"
include: "workflow/rules/rounds.smk"
include: "workflow/rules/quantize.smk"
include: "workflow/rules/decode.smk"
include: "workflow/rules/crossed.smk"
include: "workflow/rules/lists.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/candidates.smk"
include: "workflow/rules/phones.smk"
include: "workflow/rules/understand.smk"
include: "workflow/rules/routing.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/bundle.smk"
include: "workflow/rules/planning.smk"


localrules:
    all,
    all_manifests,
    all_pools,
    all_inits,
    all_pretrained,
    all_models,
    all_hypotheses,
    all_scores,
    report,
    write_list,
    hours,
    cost,
    plan,


# What README lists under "What comes out" comes back when it was deleted; `report` asks for the page
# alone.
rule all:
    default_target: True
    input:
        rules.build_report.output.report,
        bundles.wanted(STUDY),
        rules.aggregate.output.tables,
        rules.plot.output,
        [path for page in bundles.wanted(STUDY) for path in bundles.files_of(STUDY, page)],
        # The targets are the main process's; a job's own would look for thousands of files.
        products.deleted(STUDY) if workflow.is_main_process else [],


rule all_manifests:
    input:
        [path for lang in STUDY.pooled_languages for path in paths.manifests(STUDY, lang)],


rule all_pools:
    input:
        [paths.training_cuts(STUDY, run.training_set, run.hours) for run in STUDY.runs()],


rule all_inits:
    input:
        [paths.init(STUDY, init) for init in STUDY.donors()],


rule all_pretrained:
    input:
        [
            paths.pretrained(STUDY, init)
            for init in STUDY.inits
            if "pretrain" in config["inits"][init]
        ],


rule all_models:
    input:
        [paths.model(STUDY, run) for run in STUDY.runs()],


rule all_hypotheses:
    input:
        paths.hypotheses(STUDY),


rule all_scores:
    input:
        paths.scores(STUDY),
        paths.phone_scores(STUDY),


rule report:
    input:
        rules.build_report.output.report,
