"""The study that demo/arms.yaml asks for, in its smallest form, from corpora to the page.

Five arms, four contrasts, three training sets, one of them of two languages.
"""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Checkout
from made.studies import smoke_config

pytestmark = pytest.mark.slow

ARMS = ["en", "ml", "scratch", "ml_adapter", "ml_ctc", "ml_lora"]
LORA_TENSORS = "model.safetensors"
LORA = {"kind": "lora", "rank": 4, "alpha": 8, "layers": "*linear_[qv]"}
SETS = ["it", "fr", "it+fr"]
CONTRASTS = ["warm_start", "from_scratch", "adapter", "head"]


def laid_over(base: dict, own: dict) -> dict:
    """Two configurations as Snakemake merges them."""
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = laid_over(merged[key], value) if both else value
    return merged


def arms_config() -> dict:
    """The shipped study over the smoke study: one budget, one tier, six steps."""
    base = smoke_config()
    demo = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    base["languages"] = {
        lang: {**demo["languages"][lang], "budgets_hours": [0.004], "test_sets": ["same_voices"]}
        for lang in ("it", "fr")
    }
    own = yaml.safe_load((ROOT / "demo/arms.yaml").read_text(encoding="utf-8"))
    config = laid_over(base, own)
    config["tiers"] = {name: config["tiers"][name] for name in ("560ms", "offline")}
    config["precisions"] = {"full": {"tiers": ["560ms"]}}
    config["bundle"] = None
    config["arms"]["ml_lora"] = {"init": "ml", "adaptation": LORA}
    return config


@pytest.fixture(scope="module")
def study(checkout: Checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("arms") / "warmstart")
    made.write_config(arms_config())
    made.snakemake("--cores", "2", "--workflow-profile", "profiles/demo")
    return made


def table(study: Checkout, name: str) -> list[dict]:
    with open(study.folder / f"results/tables/{name}.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_arm_was_trained_on_every_training_set(study):
    runs = {
        (record["training_set"], record["arm"]): record
        for path in study.folder.glob("results/runs/*/*/*/*/run.json")
        for record in [json.loads(path.read_text(encoding="utf-8"))]
    }
    assert set(runs) == {(name, arm) for name in SETS for arm in ARMS}
    assert {record["family"] for (_, arm), record in runs.items() if arm == "ml_ctc"} == {
        "fastconformer_ctc"
    }
    for name in SETS:
        adapter, full = runs[name, "ml_adapter"], runs[name, "ml"]
        assert adapter["adaptation"] == {"kind": "adapter", "dim": 64}
        assert adapter["trained_parameters"] < full["trained_parameters"]
        assert adapter["input_digests"]["train_cuts"] == full["input_digests"]["train_cuts"]
        # New modules come from the seed alone: the same whatever the donor.
        digests = [runs[name, arm]["start_digests"] for arm in ("en", "ml", "scratch")]
        assert len({digest["encoder"] for digest in digests}) == 3
        assert len({digest["joint"] for digest in digests}) == 1


def test_a_lora_lies_beside_its_model_and_its_cost_in_the_table(study):
    for name in SETS:
        folder = study.folder / f"results/runs/{name}/ml_lora/0.004h/seed1"
        beside = json.loads((folder / "run.json").read_text(encoding="utf-8"))["beside_sha256"]
        assert set(beside) == {f"adapter/adapter_{end}" for end in ("config.json", LORA_TENSORS)}
        assert all((folder / file).is_file() for file in beside)
    rows = {
        (row["training_set"], row["lang"], row["arm"]): row
        for row in table(study, "adaptation")
        if row["tier"] == "560ms"
    }
    kinds = {arm: row["adaptation"] for (_, _, arm), row in rows.items()}
    assert kinds == dict.fromkeys(ARMS, "full") | {"ml_adapter": "adapter", "ml_lora": "lora"}
    for (name, _, arm), row in rows.items():
        record = study.folder / f"results/runs/{name}/{arm}/0.004h/seed1/run.json"
        said = json.loads(record.read_text(encoding="utf-8"))
        own = said["trained_mb"] / (2 if name == "it+fr" else 1)
        assert float(row["mb_per_language"]) == pytest.approx(own, abs=1e-4)
        assert 0 < float(row["step_s"]) < float(row["loop_step_s"])
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "What does an adaptation cost?" in page


def test_a_model_of_two_languages_heard_both_and_is_scored_on_both(study):
    record = study.folder / "results/runs/it+fr/ml/0.004h/seed1/run.json"
    heard = json.loads(record.read_text(encoding="utf-8"))["language_hours"]
    assert set(heard) == {"it", "fr"}
    assert all(hours == pytest.approx(0.004, rel=0.2) for hours in heard.values())
    rows = [row for row in table(study, "wer") if row["training_set"] == "it+fr"]
    assert {row["lang"] for row in rows} >= {"it", "fr"}
    folder = study.folder / "results/hypotheses/it+fr/ml/0.004h/seed1/full/560ms"
    header = json.loads((folder / "fr_same_voices.json").read_text(encoding="utf-8"))
    assert (header["lang"], header["test_set"]) == ("fr", "same_voices")


def test_every_contrast_has_its_gaps_laws_and_guideline(study):
    for name in ("gap", "fit", "guideline"):
        assert {row["contrast"] for row in table(study, name)} == set(CONTRASTS), name
    gaps = [row for row in table(study, "gap") if row["languages_as"] == "one"]
    assert len(gaps) == len(CONTRASTS) * 4  # it and fr, each by its own set and by it+fr
    for row in gaps:
        assert float(row["gap_pp"]) == pytest.approx(
            float(row["wer_baseline_pct"]) - float(row["wer_challenger_pct"]), abs=1e-3
        )


def test_the_page_shows_every_contrast(study):
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    text = re.sub(r"<[^>]+>", " ", page)
    for title in ("Multilingual, adapters", "Multilingual, CTC", "From scratch", "English-only"):
        assert title in text
    for contrast in CONTRASTS:
        assert contrast in page, contrast
    assert "Italian + French" in text


def test_nothing_is_left_to_do_and_a_new_contrast_trains_nothing(study):
    assert study.planned() == {}
    config = study.read_config()
    config["contrasts"]["bottleneck"] = {"baseline": "en", "challenger": "ml_adapter"}
    study.write_config(config, "more.yaml")
    jobs = study.planned(config="more.yaml")
    assert set(jobs) == {"aggregate", "plot", "build_report"}


def test_a_new_arm_and_a_new_training_set_run_their_own_jobs(study):
    config = study.read_config()
    config["arms"]["ml_frozen"] = {
        "init": "ml",
        "adaptation": {"kind": "freeze", "encoder_layers": 1, "steps": 2},
    }
    study.write_config(config, "more.yaml")
    jobs = study.planned(config="more.yaml")
    assert jobs["train"] == len(SETS)
    assert not {"build_pool", "train_tokenizer", "mix_training_set", "download_init"} & set(jobs)
    config = study.read_config()
    config["training_sets"]["mostly_it"] = {"languages": {"it": 1, "fr": 0.5}}
    study.write_config(config, "more.yaml")
    jobs = study.planned(config="more.yaml")
    assert (jobs["train"], jobs["train_lora"]) == (len(ARMS) - 1, 1)
    assert jobs["mix_training_set"] == jobs["train_tokenizer"] == 1
    assert {name for name in jobs if name.startswith("decode_")} == {"decode_mostly_it"}


def test_the_command_of_a_job_is_shown_and_runs_from_the_settings_of_its_run(study, tmp_path):
    import shlex
    import subprocess
    import sys

    run = "results/runs/it/ml_adapter/0.004h/seed1"
    program = [sys.executable, "workflow/scripts/show_job.py", f"{run}/model.nemo"]
    shown = subprocess.run(
        [*program, "--config", "smoke.yaml"],
        cwd=study.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--run it/ml_adapter/0.004h/seed1" in shown
    assert "{" not in shown, "no JSON on a command line"
    command = shlex.split(shown.replace("\\\n", " "))
    again = {
        "--settings": f"@{run}/settings.yaml",
        "--run-dir": tmp_path,
        "--log": tmp_path / "log",
    }
    again["--output"] = tmp_path / "model.nemo"
    for option, value in again.items():
        command[command.index(option) + 1] = str(value)
    place = command.index("--pace")
    del command[place : place + 2]
    subprocess.run([sys.executable, *command[1:]], cwd=study.folder, check=True)
    made, before = (Path(tmp_path) / "model.nemo", study.folder / run / "model.nemo")
    assert made.read_bytes() == before.read_bytes()
