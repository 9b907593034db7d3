"""Dry runs with real Snakemake: both shipped configurations, in a clone with no data."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout
from made.studies import smoke_config

from warmstart.study import slices, stages
from warmstart.study.config import validate
from warmstart.study.grid import Study
from warmstart.study.overlays import read_validated
from warmstart.study.settings_files import SettingsFiles


def shipped(path: Path) -> Study:
    """The study of a shipped configuration."""
    return Study(read_validated([path]))


@pytest.mark.slow
def test_dry_run_of_the_full_study_needs_no_data(checkout: Checkout):
    jobs = checkout.planned(config=None)
    # 50 runs; int4 at one tier each; de 10 runs x 5 (precision, tier) pairs.
    assert jobs["train"] == 50
    assert jobs["quantize"] == 50
    assert jobs["decode_de"] == 50
    assert jobs["decode_cs"] == 10
    assert jobs["subset_budget"] == 25
    assert jobs["download_init"] == 2
    assert jobs["build_bundle"] == jobs["describe_bundle"] == 8


@pytest.mark.slow
def test_dry_run_of_the_demo_starts_at_shipped_encoders(checkout: Checkout):
    jobs = checkout.planned(config="demo.yaml")
    assert jobs["train"] == 12
    assert "pretrain_init" not in jobs


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_dry_run_of_every_shipped_study_needs_no_data(checkout: Checkout, path):
    study = shipped(path)
    jobs = checkout.planned(config=f"studies/{path.name}")
    # One rule for each kind of model file; of a run in rounds the one that joins them.
    whole = r"(train|join_rounds)(_(?!tokenizer|round)[a-z]+)?"
    trained = sum(count for rule, count in jobs.items() if re.fullmatch(whole, rule))
    assert trained == len(study.runs())


def test_the_law_is_asked_as_its_plan_says():
    """docs/law.md: three languages, six budgets over a factor of 64, three seeds, two starts."""
    study = shipped(ROOT / "studies/law.yaml")
    budgets = [study.budgets(name) for name in study.training_sets]
    assert len(budgets) == 3
    for hours in (list(map(float, each)) for each in budgets):
        assert len(hours) == 6
        assert hours[-1] / hours[0] == 64
    assert len(study.runs()) == 3 * 6 * 3 * 2


@pytest.mark.slow
def test_one_language_or_one_run_is_a_target_of_its_own(checkout: Checkout):
    jobs = checkout.planned("results/scores/cs.parquet", config=None)
    assert {name for name in jobs if name.startswith("decode_")} == {"decode_cs"}
    assert (jobs["train"], jobs["build_pool"]) == (2, 1)  # both inits at the one budget of Czech
    jobs = checkout.planned("results/runs/de/ml/250h/seed1/model.nemo", config=None)
    assert (jobs["train"], jobs["subset_budget"], jobs["build_pool"]) == (1, 1, 1)
    assert not {"quantize", "decode_de", "score"} & set(jobs)


@pytest.mark.slow
def test_a_bundle_of_one_run_takes_that_run_alone(checkout: Checkout):
    jobs = checkout.planned("results/bundles/de/ml/100h/seed1/int4/560ms/README.md", config=None)
    assert {
        name: jobs[name] for name in ("train", "quantize", "build_bundle", "describe_bundle")
    } == dict.fromkeys(("train", "quantize", "build_bundle", "describe_bundle"), 1)
    assert jobs["decode_de"] == 2  # int4 and full at this tier
    assert not {"score", "aggregate", "plot", "build_report"} & set(jobs)
    # int4 is decoded at 560 ms only: the rates of this bundle are of full, and no encoder is
    # quantised for them.
    jobs = checkout.planned("results/bundles/de/ml/100h/seed1/int4/160ms/README.md", config=None)
    assert (jobs["train"], jobs["decode_de"], jobs.get("quantize")) == (1, 1, None)


@pytest.mark.slow
def test_no_command_outgrows_what_linux_takes_as_one_argument(checkout: Checkout, tmp_path):
    """Four seeds make 4000 hypothesis files; Linux refuses an argument over 128 KiB, and a shell
    line is one."""
    config = checkout.read_config("config.yaml") | {"seeds": [1, 2, 3, 4]}
    path = tmp_path / "seeds.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    output = checkout.snakemake("--dry-run", "--printshellcmds", config=str(path)).stdout
    commands = re.findall(r"^Shell command: (.*)$", output, re.MULTILINE)
    assert len(commands) > 1000
    assert max(len(command.encode()) for command in commands) < 16 * 1024


DEAR_COMMANDS = {
    "download_corpus": "7d3046d7a4bec409",
    "prepare_manifest": "5c05b33373c0faf4",
    "build_pool": "5ad7cc4735deee2c",
    "subset_budget": "8bde2fb5bbfd67d1",
    "mix_training_set": "46ccd4ff78b56321",
    "train_tokenizer": "bef98ed51fa6997a",
    "download_init": "df89dd24ac7e4912",
    "pretrain_init": "2cfc33f4b1185302",
    "train": "95c2899b940bac8e",
    "decode_it": "0df3bdd10b81f22c",
    "quantize": "27a1ae594df10ba0",
    "build_bundle": "a973c4446a7d0702",
}
"""Rule -> digest of its command as the studies that are finished have recorded it."""


@pytest.mark.slow
def test_commands_of_dear_jobs_are_those_of_finished_studies(checkout: Checkout):
    """Snakemake compares the text of a command, names of inputs in it too: an edit makes every
    finished job of the rule again. A new argument goes into a param that is not compared, as the
    experts of `train` do; who means the edit says so in CHANGELOG.md and puts the digest here."""
    asking = checkout.folder / "commands.smk"
    asking.write_text(
        'include: "Snakefile"\n'
        "for one in workflow.rules:\n"
        "    if one.shellcmd:\n"
        "        print('COMMAND', one.name, repr(one.shellcmd))\n"
    )
    try:
        said = checkout.snakemake("--dry-run", "--snakefile", asking.name, config="demo.yaml")
    finally:
        asking.unlink()
    found = dict(re.findall(r"^COMMAND (\w+) (.*)$", said.stdout, re.MULTILINE))
    digests = {
        name: hashlib.sha256(ast.literal_eval(found[name]).encode()).hexdigest()[:16]
        for name in DEAR_COMMANDS
    }
    assert digests == DEAR_COMMANDS


def test_every_rule_says_what_makes_it_stale():
    """By its code as inputs, or by a version; planners print and write nothing."""
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        if path.name == "planning.smk":
            continue
        for rule in re.split(r"^ *rule\b", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            if re.search(r"^ +shell:", rule, re.M):
                assert re.search(r"\b(\w*code|version)=|VERSIONS\[", rule), (path.name, rule[:80])


@pytest.mark.slow
def test_edited_labels_over_own_audio_make_their_manifests_stale(checkout: Checkout, tmp_path):
    """Published releases never change; one's own transcripts and labels do."""
    labels = tmp_path / "audio" / "it" / "yodas" / "it_asr_000.jsonl"
    labels.parent.mkdir(parents=True)
    labels.write_text('{"audio_filepath": "a.flac", "text": "uno"}\n')
    config = checkout.read_config("demo.yaml")
    config["corpora"]["mined"] = {
        "kind": "granary",
        "train_split": "train",
        "directory": str(tmp_path / "audio"),
    }
    config["languages"]["it"]["corpora"]["mined"] = "it"
    path = tmp_path / "mined.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    target = ("resources/corpora/mined/it/complete.json", "--directory", str(tmp_path / "work"))
    checkout.snakemake("--cores", "1", *target, config=str(path))
    assert checkout.planned(*target, config=str(path)) == {}
    labels.write_text('{"audio_filepath": "a.flac", "text": "due"}\n')
    assert checkout.planned(*target, config=str(path)) == {"download_corpus": 1}


@pytest.mark.slow
def test_noisy_test_sets_are_made_from_the_clean_ones(checkout: Checkout, tmp_path):
    config = smoke_config()
    config["noise"] = {"directory": "demo/speech/fr"}
    config["test_sets"]["same_voices+noise5db"] = {
        "corpus": "spoken",
        "split": "test_same",
        "noise_snr_db": 5,
    }
    config["languages"]["it"]["test_sets"].append("same_voices+noise5db")
    (tmp_path / "noisy.yaml").write_text(
        yaml.safe_dump(config, allow_unicode=True), encoding="utf-8"
    )
    output = checkout.snakemake("--summary", config=str(tmp_path / "noisy.yaml")).stdout
    assert "results/manifests/spoken/it/test_same+noise5db.jsonl.gz\t-\tprepare_noise" in output
    assert (
        output.count("/same_voices+noise5db.jsonl\t") == 10
    )  # 4 runs at 2 tiers, 2 quantised ones at one


@pytest.mark.slow
def test_every_kind_of_precision_is_planned_and_only_pytorch_asks_for_gpus(
    checkout: Checkout, tmp_path
):
    """The commented examples of config.yaml, put in."""
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    section = text[
        text.index("precisions:\n") : text.index("# Which model of each language becomes a bundle")
    ]
    config = smoke_config()
    config["precisions"] = yaml.safe_load(section.replace("  # ", "  "))["precisions"]
    expected = ["full", "int4", "onnx", "int8", "int4rtn", "int4a4", "int4fast"]
    assert list(config["precisions"]) == expected
    config["resources"]["decode_gpus"] = 1
    config["decoding"]["device"] = "auto"
    validate(config)
    path = tmp_path / "precisions.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    jobs = checkout.planned(config=str(path))
    # 4 runs at 2 tiers; int4 for all runs, the five others for the 2 runs of the largest budget,
    # all at one tier.
    assert jobs["decode_it"] == 4 * 2 + 4 + 5 * 2
    assert jobs["quantize"] == 4 + 5 * 2
    study = Study(config, ROOT)
    for precision, gpus, device in [
        ("int4a4", 0, "cpu"),
        ("onnx", 0, "cpu"),
        ("int4rtn", 1, "auto"),
        ("full", 1, "auto"),
    ]:
        assert slices.decode_gpus(study, precision) == gpus
        assert slices.decoding(study, precision)["device"] == device
    wanted = [
        f"results/hypotheses/it/ml/0.02h/seed1/{name}/560ms/human.jsonl"
        for name in ("int4a4", "int4rtn")
    ]
    output = checkout.snakemake("--dry-run", "--printshellcmds", *wanted, config=str(path)).stdout
    runs = "--encoder results/runs/it/ml/0.02h/seed1"
    commands = {name: next(line for line in output.splitlines() if f"{runs}/{name}/" in line)
                for name in ("int4a4", "int4rtn")}  # fmt: skip
    for name, command in commands.items():
        given = stages.canonical("decode", slices.decoding(study, name))
        assert f"--settings @{SettingsFiles().path('decode', given)}" in command
    config["precisions"]["onnx"]["tiers"] = ["offline"]
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    refused = checkout.snakemake("--dry-run", config=str(path), check=False)
    assert "precisions.onnx.tiers: offline is offline" in refused.stdout


@pytest.mark.slow
def test_make_bundle_names_the_target_or_says_what_is_wrong(checkout: Checkout, tmp_path):
    """The locale in LANG is no language; make is really run, with this environment in the place of
    .venv."""
    (tmp_path / "smoke.yaml").write_text(
        yaml.safe_dump(smoke_config(), allow_unicode=True), encoding="utf-8"
    )
    environment = {**os.environ, "LANG": "it"}

    def make(*variables: str) -> subprocess.CompletedProcess[str]:
        fixed = [
            f"BIN={os.path.dirname(sys.executable)}",
            f"CONFIG={tmp_path / 'smoke.yaml'}",
            "SNAKEMAKE_OPTIONS=--dry-run",
        ]
        # `-o`: as if the environment were installed.
        command = ["make", "-s", "-o", ".venv/.installed", "bundle", *fixed, *variables]
        return subprocess.run(
            command,
            cwd=checkout.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = make("LANG=it", "INIT=ml", "HOURS=0.02")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "results/bundles/it/ml/0.02h/seed1/int4/560ms"
    assert "build_bundle" in done.stdout + done.stderr
    full = make("LANG=it", "INIT=en", "HOURS=0.004", "PRECISION=full", "TIER=560ms", "SEED=1")
    assert full.stdout.splitlines()[-1] == "results/bundles/it/en/0.004h/seed1/full/560ms"
    for variables, message in [
        (("INIT=ml", "HOURS=0.02"), "LANG is not given: make bundle LANG=it INIT=ml HOURS=0.02"),
        (("LANG=it", "INIT=ml", "HOURS=7"), "HOURS=7 is not in this study; allowed: 0.004, 0.02"),
        (
            ("LANG=it", "INIT=ml", "HOURS=0.02", "TIER=offline"),
            "TIER=offline is not in this study; allowed: 560ms",
        ),
        (("LANG=de", "INIT=ml", "HOURS=0.02"), "LANG=de is not in this study; allowed: it"),
    ]:
        refused = make(*variables)
        assert refused.returncode
        assert message in refused.stderr


@pytest.mark.slow
def test_the_full_study_runs_in_another_folder(checkout: Checkout, tmp_path):
    """Its own configuration, or that of the checkout where it has none; data of the configuration
    lie beside the Snakefile."""
    elsewhere = str(tmp_path / "study")
    output = checkout.snakemake(
        "--dry-run", "--directory", elsewhere, "--profile", "slurm", config=None
    ).stdout
    assert "train                  50" in output
    (tmp_path / "study/config.yaml").write_text(
        yaml.safe_dump(smoke_config(), allow_unicode=True), encoding="utf-8"
    )
    output = checkout.snakemake("--dry-run", "--directory", elsewhere, config=None).stdout
    assert "decode_it" in output
    assert "decode_de" not in output


@pytest.mark.slow
def test_a_block_that_stands_twice_is_not_lost_in_silence(checkout: Checkout, tmp_path):
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    path = tmp_path / "twice.yaml"
    path.write_text(
        text + "\ncorpora:\n  own: {kind: local, train_split: train, directory: /data}\n",
        encoding="utf-8",
    )
    refused = checkout.snakemake("--dry-run", config=str(path), check=False)
    assert refused.returncode
    first = text[: text.index("\ncorpora:\n")].count("\n") + 2
    assert f"'corpora' stands twice at the top level, in lines {first} and" in refused.stdout


HEAVY = {"torch", "nemo", "pandas", "numpy", "lhotse", "scipy", "matplotlib"}


def heavy_modules_of_a_dry_run(folder) -> set[str]:
    """Which heavy packages a dry run in `folder` has imported."""
    program = (
        "import sys\n"
        "from snakemake.cli import main\n"
        "try:\n"
        "    main(['--dry-run', '--quiet', 'all'])\n"
        "except SystemExit as ended:\n"
        "    assert not ended.code, ended.code\n"
        f"print('HEAVY', *sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(done.stdout.strip().splitlines()[-1].split()[1:])


@pytest.mark.slow
def test_dry_run_imports_nothing_heavy_beyond_what_snakemake_does(checkout: Checkout, tmp_path):
    # Snakemake loads its plugins at every start, and the Slurm plugin imports pandas: that much is
    # not ours.
    (tmp_path / "Snakefile").write_text("rule all:\n    output: 'x'\n    shell: 'touch {output}'\n")
    assert (
        heavy_modules_of_a_dry_run(checkout.folder)
        <= heavy_modules_of_a_dry_run(tmp_path)
        <= {"pandas", "numpy"}
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda config: config.update(trainning={}), "unknown key 'trainning'"),
        (lambda config: config["languages"]["it"].update(budgets_hours=[0.02, 9]), "it: 9 h asked"),
        (
            lambda config: config["languages"]["it"]["text"].update(
                examples=[["ciao 2", "ciao tre"]]
            ),
            "ciao due",
        ),
    ],
)
def test_a_fault_in_the_config_stops_the_dry_run_with_one_line(
    checkout: Checkout, tmp_path, change, expected
):
    config = smoke_config()
    change(config)
    path = tmp_path / "faulty.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    done = checkout.snakemake("--dry-run", config=str(path), check=False)
    assert done.returncode != 0
    assert expected in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.slow
def test_another_study_does_not_overwrite_the_one_that_is_here(checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    study.write_config(smoke_config())
    (study.folder / "results").mkdir()
    (study.folder / "results/study.json").write_text('{"name": "full", "title": ""}')
    assert "belong to the study 'full'" in study.snakemake("--dry-run", "all_pools").stdout
    done = study.snakemake("--cores", "1", "all_pools", check=False)
    assert done.returncode != 0
    assert "belong to the study 'full'" in done.stdout
    assert not (study.folder / "results/pools").exists()


def test_every_rule_calls_a_program_of_its_name_and_every_program_has_a_test():
    rules = set()
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        source = path.read_text(encoding="utf-8")
        for program in re.findall(r'(?:program=program\("|\bcode\(\s*")(\w+)', source):
            assert (ROOT / f"workflow/scripts/{program}.py").exists(), program
            rules.add(program)
    declared = {
        name
        for path in (ROOT / "workflow/rules").glob("*.smk")
        for name in re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    # A list of file names is written by Snakemake itself: no program. The planners' programs say
    # what they plan.
    programs = {
        "hours": "plan_hours",
        "cost": "plan_cost",
        "plan": "plan_gap",
        "prepare_noise_training": "prepare_noise",
        "score_rounds": "score",
    }
    assert {programs.get(name, name) for name in declared - {"write_list"}} <= rules
    tested = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("*/test_*.py")
    )
    assert not {program for program in rules if program not in tested}
