"""A study of two encoders of raw audio, from their snapshots to the page, through Snakemake."""

import csv
import json

import pytest
from conftest import Checkout
from made.studies import smoke_config
from test_wav2vec2 import snapshot

from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "results/runs/it/{arm}/0.02h/seed1"


def config():
    """Two donors of one architecture, the shape of wav2vec2-large-lv60 and XLS-R."""
    made = smoke_config()
    made["languages"]["it"] |= {"budgets_hours": [0.02], "test_sets": ["same_voices"]}
    made["inits"] = {
        name: {"name": name.upper(), "path": f"snapshots/{name}", "licence": "Apache-2.0"}
        for name in ("w2v_en", "xlsr")
    }
    of_family = {"family": "wav2vec2_ctc", "tiers": ["offline"]}
    made["arms"] = {name: {"init": name, **of_family} for name in made["inits"]}
    made["contrasts"] = {"warm_start": {"baseline": "w2v_en", "challenger": "xlsr"}}
    made["tiers"] = {"offline": made["tiers"]["offline"]}
    made["precisions"] = {
        "full": {},
        "onnx": {"scheme": "fp32"},
        "int4": {"scheme": "k_quant", "bits": 4, "block_size": 16},
    }
    made["bundle"] = {"arm": "xlsr", "precision": "int4", "tier": "offline", "force": True}
    made["training"]["spec_augment"] = {
        "freq_masks": 0,
        "freq_width": 1,
        "time_masks": 2,
        "time_width": 0.05,
    }
    for key in ("baseline", "challenger"):
        made["statistics"].pop(key)
    made["statistics"] |= {"headline_test_set": "same_voices", "reference_tier": "offline"}
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("raw") / "warmstart")
    for name, sizes in (("w2v_en", {}), ("xlsr", {"initializer_range": 0.03})):
        snapshot(made.folder / "snapshots" / name, "wav2vec2-large", **sizes)
    made.write_config(config())
    return made


def test_a_streaming_tier_of_such_an_arm_is_refused_before_anything_runs(study):
    asked = config()
    asked["tiers"]["560ms"] = {"context": [70, 6]}
    for arm in asked["arms"].values():
        arm["tiers"] = ["offline", "560ms"]
    study.write_config(asked)
    refused = study.snakemake("--dry-run", check=False)
    study.write_config(config())
    assert refused.returncode != 0
    assert "wav2vec2_ctc" in refused.stdout
    assert "560ms" in refused.stdout
    assert "Traceback" not in refused.stdout


def test_two_donors_are_packed_trained_decoded_and_compared(study):
    study.snakemake("--cores", "2")
    for arm in ("w2v_en", "xlsr"):
        source = files.read_json(study.folder / f"resources/inits/{arm}.json")
        assert set(source["files"]) == {
            *("config.json", "preprocessor_config.json", "model.safetensors")
        }
        folder = study.folder / "snapshots" / arm
        assert source["files"]["config.json"] == files.digest(folder / "config.json")
        record = files.read_json(study.folder / RUN.format(arm=arm) / "run.json")
        assert record["family"] == "wav2vec2_ctc"
        assert record["encoder_tensors_loaded"] == record["encoder_tensors"] > 40
        assert record["init_facts"]["do_normalize"] is True
    with open(study.folder / "results/tables/gap.csv", encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["lang"] == "it"]
    assert {(row["test_set"], row["precision"]) for row in rows} == {
        ("same_voices", precision) for precision in config()["precisions"]
    }
    assert (study.folder / "results/report.html").stat().st_size > 10_000
    assert "Nothing to be done" in study.snakemake("--cores", "2").stdout


def test_its_models_are_quantised_and_bundled(study):
    """By the same run: hypotheses of ONNX Runtime, their table, and a bundle."""
    with open(study.folder / "results/tables/quantization.csv", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["lang"] == "it"]
    assert {row["precision"] for row in rows} >= {"onnx", "int4"}
    for precision, same in (("onnx", True), ("int4", False)):
        found = [
            study.folder / f"results/hypotheses/it/xlsr/0.02h/seed1/{name}/offline/same_voices.json"
            for name in ("full", precision)
        ]
        full, quantised = map(files.read_json, found)
        assert (full["engine"], quantised["engine"]) == ("pytorch", "onnxruntime")
        assert quantised["batch_check"]["differing_utterances"] == 0
        if same:
            assert quantised["tokens"] == full["tokens"]
    folder = study.folder / "results/bundles/it/xlsr/0.02h/seed1/int4/offline"
    about = files.read_json(folder / "bundle.json")
    assert (about["form"], about["loads_in"]) == ("offline_ctc", "sherpa")
    (as_it_is,) = about["agreement"]["variants"]
    assert as_it_is["identical"] == about["agreement"]["utterances"] > 0
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "from_omnilingual_asr_ctc" in text
    assert "| int4 | it | same_voices |" in text


def test_an_edited_snapshot_is_packed_and_trained_again(study):
    """Its files are inputs by content; a touched one is none."""
    weights = study.folder / "snapshots/xlsr/model.safetensors"
    weights.touch()
    assert not study.planned()
    settings = study.folder / "snapshots/xlsr/preprocessor_config.json"
    settings.write_text(json.dumps({"do_normalize": False, "sampling_rate": 16000}))
    refused = study.snakemake("--dry-run", check=False)
    assert refused.returncode != 0, "the two donors differ in do_normalize now"
    assert "do_normalize" in refused.stdout
    (study.folder / "snapshots/w2v_en/preprocessor_config.json").write_text(settings.read_text())
    jobs = study.planned()
    assert jobs["train"] == 2


def test_a_donor_is_pretrained_by_the_study_itself(study):
    """With CTC, on languages that are no targets; a snapshot stands beside it."""
    asked = config()
    asked["training"]["model"] |= {"n_layers": 2, "d_model": 64, "n_heads": 2}
    asked["training"]["model"] |= {"subsampling_channels": 16}
    recipe = {
        **{"languages": ["en"], "corpus": "pretraining", "split": "train", "hours": 0.01},
        **{"steps": 3, "seed": 1, "vocab_size": 40, "batch_duration_s": 8},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "schedule": {"name": "cosine", "warmup_steps": 1},
    }
    asked["inits"] = {
        "w2v_en": {"name": "one", "pretrain": recipe},
        "xlsr": {"name": "other", "pretrain": recipe | {"seed": 2}},
    }
    study.write_config(asked)
    study.snakemake("--cores", "2", RUN.format(arm="w2v_en") + "/model.safetensors")
    record = files.read_json(study.folder / "resources/pretrained/w2v_en.json")
    assert record["settings"]["family"] == "wav2vec2_ctc"
    assert record["hours"] == {"en": pytest.approx(0.01, abs=0.002)}
    run = files.read_json(study.folder / RUN.format(arm="w2v_en") / "run.json")
    assert run["encoder_tensors_loaded"] == run["encoder_tensors"] > 40
    assert run["init_facts"]["hidden_size"] == 64
