"""What `make plan` says of the smallest gap, before anything is there and afterwards."""

import dataclasses
import json
import math

import pandas as pd
import pytest
import yaml
from conftest import ROOT

from warmstart.evidence import power
from warmstart.evidence.analyses import load
from warmstart.evidence.power import Guesses, TestDesign
from warmstart.evidence.tables import write_table
from warmstart.study import config, power_plan
from warmstart.study.grid import Study
from warmstart.study.planning import Planner


@pytest.fixture(scope="module")
def full():
    return config.read_config(str(ROOT / "config.yaml"))


def plan(block, results):
    """The text, without the breaks of its lines."""
    config.validate(block)
    return " ".join(power_plan.text(Planner(Study(block), results)).split())


def asked(full, *langs, **changes):
    """The study of some languages, on FLEURS."""
    languages = {
        lang: {**full["languages"][lang], "test_sets": ["fleurs"], "budgets_hours": [100]}
        for lang in langs
    }
    return {**full, "languages": languages} | changes


def by_hand(utterances, blocks, seeds, languages=1):
    """The smallest gap on a test set of FLEURS, from the defaults of the schema."""
    # 10 s of 2 words a second.
    test_pp2 = power.test_variance_pp2(
        TestDesign(utterances, blocks, 20), Guesses(12, 1.3, 0.5, 0.05)
    )
    one = power.Noise(test_pp2, blocks - 1, 2 * 0.2**2, cells=languages)
    noise = power.mean_noise([one] * languages, same_runs=False)
    return f"{power.smallest_gap(noise, seeds, 0.95, 0.8):.2f} pp"


def test_published_sizes_and_guesses_tell_what_can_be_seen(full, tmp_path):
    said = plan(asked(full, "de"), tmp_path)
    assert f"At 100 h: {by_hand(862, 350, 1)} in one language;" in said
    assert "with one seed and trainings whose WER varies by 0.2 pp (guessed)" in said.replace(
        "With", "with"
    )
    assert "is impossible to see with one seed, whatever the test set" in said
    assert "fleurs 100 1 862 350" in said
    assert "WER of 12 % (planning.test_wer_pct)" in said
    assert "a guess; one seed cannot show it" in said


def test_seeds_and_sure_trainings_see_more(full, tmp_path):
    said = plan(asked(full, "de", seeds=[1, 2, 3]), tmp_path)
    assert f"At 100 h: {by_hand(862, 350, 3)} in one language;" in said
    assert "With 3 seeds" in said
    alike = asked(full, "de")
    alike["statistics"] = {**full["statistics"], "training_sd_pp": 0}
    assert "impossible" not in plan(alike, tmp_path)


def test_a_manifest_takes_the_place_of_what_is_published(full, tmp_path):
    path = tmp_path / "manifests/fleurs/de/test.qc.json"
    path.parent.mkdir(parents=True)
    kept = {"cuts": 400, "hours": 400 * 10 / 3600, "speakers": 0, "blocks": 100}
    path.write_text(json.dumps({"kept": kept}))
    assert f"At 100 h: {by_hand(400, 100, 1)} in one language;" in plan(asked(full, "de"), tmp_path)


@pytest.mark.parametrize("kept", [{"cuts": 1, "blocks": 1}, {"cuts": 50, "blocks": 1}])
def test_one_utterance_or_one_block_gives_no_number(full, tmp_path, kept):
    path = tmp_path / "manifests/fleurs/de/test.qc.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"kept": {"hours": 0.01, **kept}}))
    said = plan(asked(full, "de"), tmp_path)
    assert "At 100 h: not estimable: fewer than two blocks." in said
    assert " pp in one language" not in said


def test_what_was_measured_takes_the_place_of_guesses(full, tmp_path):
    """German has scores of two seeds; Italian is new, and trainings vary for it as for German."""
    block = asked(full, "de", "it", seeds=[1, 2])
    noise = power.Noise(0.1**2, 299, 0.5**2, 4, 4)
    row = {
        "contrast": "warm_start",
        "training_set": "de",
        "lang": "de",
        "languages": 1,
        "test_set": "fleurs",
        "hours": 100,
        "tier": "160ms",
        "asked": "gap",
        "training": "measured",
        "utterances": 500,
        "test_sd_pp": 0.1,
        "test_df": 299,
        "training_sd_pp": 0.5,
        "training_df": 4,
        "training_cells": 4,
        "status": "ok",
    }
    write_table(tmp_path / "tables/power.csv", [row], load("power").columns)
    said = plan(block, tmp_path)
    new = power.test_variance_pp2(TestDesign(865, 350, 20), Guesses(12, 1.3, 0.5, 0.05))
    both = noise, dataclasses.replace(noise, test_pp2=new, test_df=349)
    low, high = (power.smallest_gap(each, 2, 0.95, 0.8) for each in both)
    assert f"At 100 h: {low:.2f} to {high:.2f} pp in one language" in said
    # 0.5 of a gap is 0.35 of an arm.
    assert "trainings whose WER varies by 0.35 pp (measured)" in said
    assert "test sets measured at 1 of 2 gaps" in said


def test_contrasts_of_which_the_same_is_true_are_told_once(full, tmp_path):
    block = asked(full, "de", "it")
    block["statistics"] = {**full["statistics"], "baseline": None, "challenger": None}
    block["contrasts"] = {
        "a": {"baseline": "en", "challenger": "ml"},
        "b": {"baseline": "ml", "challenger": "en"},
    }
    said = plan(block, tmp_path)
    assert said.count("a, b, on fleurs:") == 1
    assert said.count("in the mean of 2") == 1


def test_one_model_for_several_languages_is_trained_once(full, tmp_path):
    block = asked(full, "de", "it") | {
        "training_sets": {"both": {"languages": {"de": 1, "it": 1}}},
        "arms": {name: {"init": name} for name in ("en", "ml")},
    }
    config.validate(block)
    rows = pd.DataFrame(list(power_plan._Plan(Planner(Study(block), tmp_path)).rows()))
    one, mean = rows[rows.lang != "mean"], rows[rows.lang == "mean"].iloc[0]
    assert mean.training_sd_pp == pytest.approx(0.2 * math.sqrt(2))
    assert set(one.training_cells) == {1}
    assert "in the mean of 2, trained on both" in plan(block, tmp_path)


def test_the_demo_is_told_its_own_size(tmp_path):
    said = plan(yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8")), tmp_path)
    assert "new_voices 0.02, 0.08, 0.32 2 60 8" in said
    assert "new_voices: 8 speakers a language (planning.speakers)" in said
