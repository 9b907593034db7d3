"""A study of one encoder with a head a language, from its snapshot to the page, through
Snakemake."""

import csv

import pytest
import test_wav2vec2_study
import yaml
from conftest import ROOT, Checkout
from test_wav2vec2 import snapshot

from warmstart.run import files

pytestmark = pytest.mark.slow

RUN = "it+fr/w2v_en/0.004h/seed1"
CROSSED = f"results/hypotheses/{RUN}/full/offline/heads"


def config():
    """Italian and French, a head each; and what is as it was: one head for both."""
    made = test_wav2vec2_study.config()
    demo = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    made["languages"] = {
        lang: {**demo["languages"][lang], "budgets_hours": [0.004], "test_sets": ["same_voices"]}
        for lang in ("it", "fr")
    }
    both = {"languages": {"it": 1, "fr": 1}}
    made["training_sets"] = {"it+fr": {**both, "heads": "per_language"}, "shared": both}
    made["precisions"] = {"full": {}}
    made["bundle"] = None
    return made


@pytest.fixture(scope="module")
def study(checkout, tmp_path_factory) -> Checkout:
    made = checkout.copy(tmp_path_factory.mktemp("heads") / "warmstart")
    for name, sizes in (("w2v_en", {}), ("xlsr", {"initializer_range": 0.03})):
        snapshot(made.folder / "snapshots" / name, "wav2vec2-large", **sizes)
    made.write_config(config())
    return made


def test_a_dry_run_plans_a_tokenizer_a_head(study):
    jobs = study.planned()
    assert jobs["train_tokenizer"] == 3, "it, fr, and shared"
    assert jobs["train"] == 4
    assert not any(name.startswith("cross_decode") for name in jobs)


def test_heads_are_trained_decoded_scored_and_crossed(study):
    crossed = f"{CROSSED}/fr/it_same_voices.jsonl"
    study.snakemake("--cores", "2", "all", crossed)
    record = files.read_json(study.folder / f"results/runs/{RUN}/run.json")
    assert set(record["parameters"]) == {"encoder", "head_it", "head_fr"}
    assert set(record["input_digests"]["tokenizer"]) == {"it", "fr"}
    for head in ("it", "fr"):
        for lang in ("it", "fr"):
            header = files.read_json(study.folder / f"{CROSSED}/{head}/{lang}_same_voices.json")
            assert (header["head"], header["lang"]) == (head, lang)
    with open(study.folder / "results/tables/wer.csv", encoding="utf-8", newline="") as stream:
        found = {(row["training_set"], row["lang"]) for row in csv.DictReader(stream)}
    assert {(name, lang) for name in ("it+fr", "shared") for lang in ("it", "fr")} <= found
    page = (study.folder / "results/report.html").read_text(encoding="utf-8")
    assert "Italian + French, a head each" in page
    assert "Nothing to be done" in study.snakemake("--cores", "2", "all", crossed).stdout


def test_another_head_is_another_model_and_no_other_is_made_again(study):
    """The key of one training set makes its own runs stale, and no others."""
    made = config()
    made["training_sets"]["it+fr"]["heads"] = "shared"
    made["training_sets"]["shared"]["heads"] = "per_language"
    study.write_config(made)
    assert study.planned()["train"] == 4
    study.write_config(config())
    assert not study.planned()
