"""What is asked of routing: its runs, files and settings, its faults, and nothing unless asked."""

import copy
import dataclasses
import functools

import pytest
from conftest import ROOT

from warmstart import models
from warmstart.run.errors import UserError
from warmstart.study import checks, config, paths, routing, stages
from warmstart.study.grid import Run, Study

W2V = {"family": "wav2vec2_ctc", "tiers": ["offline"], "precisions": ["full"]}


@functools.cache
def _demo() -> dict:
    return config.load_config(ROOT / "demo.yaml")


def demo() -> dict:
    return copy.deepcopy(_demo())


def asked(**block) -> dict:
    """The demo with raw-audio arms, a set of each language and one of both."""
    made = demo()
    made["inits"] = {name: {"name": name, "path": f"snapshots/{name}"} for name in ("en", "ml")}
    made["arms"] = {name: {"init": name, **W2V} for name in ("en", "ml")}
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "fr": {"languages": {"fr": 1}, "budgets_hours": [0.08, 0.32]},
        "both": {"languages": {"it": 1, "fr": 1}, "heads": "per_language"},
    }
    made["bundle"], made["precisions"] = None, {"full": {}}
    made["tiers"] = {"offline": {"context": [70, 13], "offline": True}}
    made["statistics"]["reference_tier"] = "offline"
    made["routing"] = {"ensembles": {"apart": ["it", "fr"]}, **block}
    return made


def make(made: dict) -> Study:
    config.validate(made)
    study = Study(made, ROOT)
    checks.check(study)
    return study


def test_a_study_that_does_not_ask_has_none_of_it():
    study = make(demo())
    assert routing.choices(study) == {}
    assert routing.routed(study) == []


def test_sets_of_several_languages_are_asked_and_ensembles_what_all_members_have():
    study = make(asked())
    assert routing.choices(study)["both"].models == {"it": "both", "fr": "both"}
    assert routing.choices(study)["apart"].models == {"it": "it", "fr": "fr"}
    runs = [run for choice, run in routing.runs(study) if choice.ensemble]
    assert {(run.training_set, run.hours) for run in runs} == {("apart", "0.08"), ("apart", "0.32")}
    # Three budgets of both, two of the ensemble, two arms.
    assert len(routing.routed(study)) == 10
    assert routing.routed(study)[0] == "results/routing/both/en/0.02h/seed1/offline.parquet"


def test_heads_share_the_encoder_of_their_run_and_members_their_init():
    study = make(asked())
    both, apart = Run("both", "ml", "0.08", 1), Run("apart", "ml", "0.08", 1)
    assert routing.encoder(study, both) == "results/runs/both/ml/0.08h/seed1/model.safetensors"
    assert routing.encoder(study, apart) == "resources/inits/ml.safetensors"
    assert routing.train_cuts(study, both) == ["results/mixtures/both/0.08h.jsonl.gz"]
    assert routing.train_cuts(study, apart) == [
        "results/budgets/it/0.08h.jsonl.gz",
        "results/budgets/fr/0.08h.jsonl.gz",
    ]
    assert len(routing.dev_cuts(study, apart)) == 2
    assert set(routing.test_cuts(study, both)) == {
        f"{lang}/{name}" for lang in ("it", "fr") for name in ("same_voices", "new_voices", "human")
    }
    files = routing.hypotheses(study, both)
    assert files["it/human/fr"] == (
        "results/hypotheses/both/ml/0.08h/seed1/full/offline/heads/fr/it_human.jsonl"
    )
    assert len(files) == 12
    files = routing.hypotheses(study, apart)
    assert files["it/human/fr"] == (
        "results/hypotheses/fr/ml/0.08h/seed1/full/offline/heads/fr/it_human.jsonl"
    )
    # What is asked for is what cross-decodes make.
    made = {one.path for one in paths.crossed(study)}
    assert set(files.values()) | set(routing.hypotheses(study, both).values()) <= made


def test_one_head_for_all_languages_has_its_usual_decodes():
    made = asked()
    del made["training_sets"]["both"]["heads"]
    study = make(made)
    files = routing.hypotheses(study, Run("both", "ml", "0.08", 1))
    assert files["it/human/it"] == (
        "results/hypotheses/both/ml/0.08h/seed1/full/offline/it_human.jsonl"
    )
    assert len(files) == 6


def test_settings_hold_what_changes_what_is_said_and_no_default():
    study = make(asked(seconds_heard=[0.5, "all"]))
    settings = routing.settings(study, Run("both", "ml", "0.08", 1))
    assert stages.canonical("identify", settings) == {
        "seconds_heard": [0.5, "all"],
        "device": "cpu",
    }
    assert set(routing.texts(study, Run("both", "ml", "0.08", 1))) == {"it", "fr"}


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"ensembles": {"apart": ["it", "de"]}}, r"ensembles\.apart has 'de'"),
        ({"ensembles": {"apart": ["it", "both"]}}, "training set of it, fr"),
        ({"ensembles": {"apart": ["it", "it2"]}}, "both of it"),
        ({"ensembles": {"both": ["it", "fr"]}}, "name of a training set"),
        ({"ensembles": {"en": ["it", "fr"]}}, "of a language"),
        ({"ensembles": {"apart": ["it"]}}, "apart"),
        ({"seconds_heard": [0]}, "seconds_heard"),
        ({"seconds_heard": ["half"]}, "seconds_heard"),
        ({"second_heard": [1]}, "second_heard"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_dry_run(block, says):
    made = asked(**block)
    made["training_sets"]["it2"] = {"languages": {"it": 1}, "budgets_hours": [0.04]}
    with pytest.raises(UserError, match=says):
        make(made)


def test_members_without_a_common_budget_and_studies_without_a_choice_are_refused():
    made = asked()
    made["training_sets"]["fr"]["budgets_hours"] = [0.05]
    with pytest.raises(
        UserError, match=r"ensembles\.apart: no arm, budget and seed that all of it"
    ):
        make(made)
    made = asked(ensembles={})
    del made["training_sets"]["both"]
    with pytest.raises(UserError, match="no training set has several languages"):
        make(made)


@pytest.mark.parametrize("heads", ["shared", "per_language"])
def test_phones_are_not_routed(heads):
    """What a wrong model costs is counted in words."""
    made = asked()
    made["training_sets"]["both"]["heads"] = heads
    made["arms"]["phones"] = {"init": "ml", **W2V, "tokens": "ipa"}
    if heads == "per_language":
        made["arms"]["phones"]["training_sets"] = ["it", "fr"]
    with pytest.raises(
        UserError, match=r"routing: arm phones writes phones \(tokens: ipa\).*in words"
    ):
        make(made)


def test_families_that_cannot_say_how_sure_they_are_are_in_no_ensemble(monkeypatch):
    silent = dataclasses.replace(models.kind_of("fastconformer_rnnt"), confidence=False)
    monkeypatch.setitem(models.KINDS, "fastconformer_rnnt", silent)
    made = demo()
    made["routing"] = {"ensembles": {"apart": ["it", "fr"]}}
    with pytest.raises(
        UserError, match=r"apart: models of arm en \(family fastconformer_rnnt\) do"
    ):
        make(made)
