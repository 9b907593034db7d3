"""Head as a contrast: one donor, one tokenizer, one encoder, under a transducer and under CTC."""

import csv
import json
import re

import pytest
from conftest import Checkout
from made.studies import smoke_config

from warmstart.export import bundle

pytestmark = pytest.mark.slow

ARMS = {"ml": "fastconformer_rnnt", "ml_ctc": "fastconformer_ctc"}
RUN = "it/{arm}/0.004h/seed1"
BUNDLE = "results/bundles/it/ml_ctc/0.004h/seed1/int4/560ms"


def head_config() -> dict:
    """The smallest study of the question, with an int4 row and a bundle of the CTC arm."""
    config = smoke_config()
    config["languages"]["it"] |= {"budgets_hours": [0.004], "test_sets": ["same_voices"]}
    config["inits"] = {"ml": config["inits"]["ml"]}
    config["arms"] = {
        "ml": {"init": "ml", "name": "Transducer"},
        "ml_ctc": {"init": "ml", "family": "fastconformer_ctc", "name": "CTC"},
    }
    config["contrasts"] = {"head": {"baseline": "ml", "challenger": "ml_ctc"}}
    config["statistics"] |= {"baseline": None, "challenger": None}
    config["bundle"] = {"arm": "ml_ctc", "precision": "int4", "tier": "560ms", "force": True}
    return config


def test_both_heads_are_planned_with_their_own_bundle(checkout: Checkout, tmp_path):
    made = checkout.copy(tmp_path / "warmstart")
    made.write_config(head_config())
    jobs = made.planned()
    assert jobs["train"] == jobs["quantize"] == 2
    assert jobs["train_tokenizer"] == jobs["download_init"] == 1
    assert jobs["build_bundle_streaming_ctc"] == jobs["describe_bundle"] == 1
    assert "build_bundle" not in jobs
    other = made.planned(f"{BUNDLE.replace('ml_ctc', 'ml')}/README.md")
    assert other["build_bundle"] == 1
    assert "build_bundle_streaming_ctc" not in other


def test_a_study_of_two_heads_runs_from_corpora_to_page_and_bundle(checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    study.write_config(head_config())
    study.snakemake("--cores", "2", "--workflow-profile", "profiles/demo")
    results = study.folder / "results"

    records = {
        arm: json.loads((results / "runs" / RUN.format(arm=arm) / "run.json").read_text())
        for arm in ARMS
    }
    assert {arm: record["family"] for arm, record in records.items()} == ARMS
    one, other = records.values()
    assert one["input_digests"] == other["input_digests"], "the same cuts and tokenizer"
    assert one["start_digests"]["encoder"] == other["start_digests"]["encoder"], "one donor"
    assert one["parameters"]["encoder"] == other["parameters"]["encoder"]

    def table(name):
        path = results / f"tables/{name}.csv"
        with open(path, encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    rates = {(row["arm"], row["precision"], row["tier"]) for row in table("wer")}
    tiers = [("full", "560ms"), ("full", "offline"), ("int4", "560ms")]
    assert rates == {(arm, *place) for arm in ARMS for place in tiers}
    gap = next(row for row in table("gap") if row["languages_as"] == "one")
    assert (gap["contrast"], gap["baseline"], gap["challenger"]) == ("head", "ml", "ml_ctc")
    page = " ".join(re.sub(r"<[^>]+>", " ", (results / "report.html").read_text()).split())
    assert "the family of the model" in page, "what the two differ in"

    about = bundle.verify(study.folder / BUNDLE)
    assert about["form"] == "streaming_ctc"
    assert about["keys"]["arm"] == "ml_ctc"
    assert study.planned() == {}
    (study.folder / BUNDLE / "model.onnx").unlink()
    assert "build_bundle_streaming_ctc" in study.planned(), "a file of it comes back"
