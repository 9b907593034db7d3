"""A study whose batches fill the device: the profile is made by its rule, and every run follows
it."""

import json

import pytest
from conftest import Checkout
from made.studies import smoke_config

from warmstart.training.batch_profile import Profile

pytestmark = pytest.mark.slow


def test_both_arms_are_trained_with_one_profile_that_was_made_before(checkout: Checkout, tmp_path):
    study = checkout.copy(tmp_path / "warmstart")
    config = smoke_config()
    config["study"]["name"] = "profiled"
    config["training"] |= {"batch_profile": True, "bucket_bins_s": 3}
    study.write_config(config, "profiled.yaml")
    lang = next(iter(config["languages"]))
    hours = config["languages"][lang]["budgets_hours"][0]
    runs = [f"results/runs/{lang}/{arm}/{hours}h/seed1" for arm in ("en", "ml")]
    planned = study.planned(*(f"{run}/run.json" for run in runs), config="profiled.yaml")
    assert planned["profile_batches"] == 1
    study.snakemake(
        *("--cores", "1", "--nolock", *(f"{run}/run.json" for run in runs)), config="profiled.yaml"
    )
    path = study.folder / f"results/profiles/en/{lang}.json"
    made = Profile.read(path)
    assert made.device == "CPU"
    assert len(made.counts) <= 3
    records = [
        json.loads((study.folder / run / "run.json").read_text(encoding="utf-8")) for run in runs
    ]
    digests = {record["input_digests"]["batch_profile"] for record in records}
    assert len(digests) == 1
    assert {record["settings"]["batch_profile"] for record in records} == {"results/profiles/en"}
    assert records[0]["hours_seen"] == records[1]["hours_seen"]
