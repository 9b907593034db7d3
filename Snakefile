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
        f"Python 3.11.4 or later is needed, this is {sys.version.split()[0]}; `make` installs into one you name"
    )

# A file given with --configfile replaces config.yaml; Snakemake alone would merge the two, and the
# demo would inherit 8 languages.
if "languages" not in config:

    # A folder that is named with --directory may have its own, or use the one that lies here.
    configfile: "config.yaml" if os.path.exists("config.yaml") else os.path.join(workflow.basedir, "config.yaml")


# Only looked at with `--sdm apptainer`; built from envs/warmstart.def.
container: "envs/warmstart.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/corpora.smk"
include: "workflow/rules/manifests.smk"
include: "workflow/rules/pools.smk"
include: "workflow/rules/tokenizers.smk"
include: "workflow/rules/inits.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/quantize.smk"
include: "workflow/rules/decode.smk"
include: "workflow/rules/lists.smk"
include: "workflow/rules/score.smk"
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
    plot,
    build_report,


rule all:
    default_target: True
    input:
        rules.build_report.output.report,
        STUDY.bundles(),


rule all_manifests:
    input:
        [path for lang in STUDY.pooled_languages for path in STUDY.manifests(lang)],


rule all_pools:
    input:
        [
            STUDY.training_cuts(lang, hours)
            for lang in STUDY.languages
            for hours in STUDY.budgets(lang)
        ],


rule all_inits:
    input:
        [f"resources/inits/{init}.nemo" for init in STUDY.donors()],


rule all_pretrained:
    input:
        [
            f"resources/pretrained/{init}.nemo"
            for init in STUDY.inits
            if "pretrain" in config["inits"][init]
        ],


rule all_models:
    input:
        [f"results/runs/{run.path}/model.nemo" for run in STUDY.runs()],


rule all_hypotheses:
    input:
        [path for lang in STUDY.languages for path in STUDY.hypotheses(lang)],


rule all_scores:
    input:
        [f"results/scores/{lang}.parquet" for lang in STUDY.languages],


rule report:
    input:
        rules.build_report.output.report,
