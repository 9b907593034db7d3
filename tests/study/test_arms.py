"""Arms, training sets, test sets and contrasts: what follows from them, and what is refused."""

import copy
import dataclasses

import pytest
from conftest import ROOT

from warmstart import models
from warmstart.models.tier import Tier
from warmstart.run.errors import UserError
from warmstart.study import bundles, checks, config, paths, slices, stages
from warmstart.study.grid import Run, Study, TestSet

ARMS = {
    "en": {"init": "en"},
    "ml": {"init": "ml"},
    "scratch": {"init": "scratch"},
    "ml_adapter": {"init": "ml", "adaptation": {"kind": "adapter", "dim": 64}},
    "ml_ctc": {"init": "ml", "family": "fastconformer_ctc"},
}
SETS = {
    "it": {"languages": {"it": 1}},
    "fr": {"languages": {"fr": 1}},
    "it+fr": {"languages": {"it": 1, "fr": 0.5}},
}
CONTRASTS = {
    "warm_start": {"baseline": "en", "challenger": "ml"},
    "adapter": {"baseline": "ml", "challenger": "ml_adapter"},
}


def demo(**changes) -> dict:
    """The demo's configuration with arms, training sets and contrasts."""
    made = config.load_config(ROOT / "demo.yaml")
    made["inits"]["scratch"] = {"name": "From scratch", "scratch": "en"}
    made["arms"], made["training_sets"] = copy.deepcopy(ARMS), copy.deepcopy(SETS)
    made["contrasts"] = copy.deepcopy(CONTRASTS)
    for key in ("baseline", "challenger"):
        del made["statistics"][key]
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = made
        for part in parents:
            node = node[part]
        node[last] = value
    return made


def make(made: dict) -> Study:
    made = copy.deepcopy(made)
    config.validate(made)
    study = Study(made, ROOT)
    checks.check(study)
    return study


def test_a_path_names_its_run_wherever_the_levels_stand():
    run = Run("it+fr", "ml_adapter", "0.32", 2)
    assert run.path == "it+fr/ml_adapter/0.32h/seed2"
    for path in (
        run.path,
        f"results/runs/{run.path}/model.nemo",
        f"/data/x/results/hypotheses/{run.path}/full/560ms/it_human.jsonl",
    ):
        assert Run.of_path(path) == run
    with pytest.raises(UserError, match=r"results/pools/it.jsonl.gz names no run; a run is"):
        Run.of_path("results/pools/it.jsonl.gz")


@pytest.mark.parametrize("name", ["demo.yaml", "config.yaml"])
def test_without_the_new_blocks_a_study_means_what_it_did(name):
    study = make(config.load_config(ROOT / name))
    assert list(study.arms) == study.inits
    assert list(study.training_sets) == study.languages == study.decoded_sets
    assert [one.arms for one in study.contrasts.values()] == [("en", "ml")]
    lang = study.languages[0]
    largest = study.budgets(lang)[-1]
    assert study.runs(lang)[0].path == f"{lang}/en/{study.budgets(lang)[0]}h/seed1"
    assert paths.training_cuts(study, lang, largest) == paths.budget(lang, largest)
    assert paths.hypotheses(study)[0].split("/")[2:4] == [lang, "en"]
    assert slices.recipe_of(study, "en") == slices.recipe_of(study, "ml")


def test_runs_are_the_product_of_training_sets_arms_budgets_and_seeds():
    study = make(demo())
    assert len(study.runs()) == 3 * 5 * 3 * 1
    study = make(
        demo(
            arms__ml_adapter__budgets_hours=[0.32], arms__ml_ctc__training_sets=["it"], seeds=[1, 2]
        )
    )
    assert len(study.runs()) == 2 * (3 * 3 * 3 + 3 * 1 + 1 * 3)
    assert {run.hours for run in study.runs() if run.arm == "ml_adapter"} == {"0.32"}


def test_a_budget_counts_the_hours_of_a_language_of_weight_1():
    study = make(demo())
    both = study.training_set("it+fr")
    assert both.budgets == ["0.02", "0.08", "0.32"]
    assert both.parts("0.32") == {"it": "0.32", "fr": "0.16"}
    assert paths.training_cuts(study, "it+fr", "0.32") == "results/mixtures/it+fr/0.32h.jsonl.gz"
    assert both.label == "Italian + French"


def test_a_model_of_two_languages_is_scored_on_both():
    study = make(demo())
    own, both = study.training_set("it"), study.training_set("it+fr")
    assert [test.slug(own) for test in study.test_sets("it")] == [
        "same_voices",
        "new_voices",
        "human",
    ]
    assert [test.slug(both) for test in study.test_sets("it+fr")] == [
        f"{lang}_{name}" for lang in ("it", "fr") for name in ("same_voices", "new_voices", "human")
    ]
    assert TestSet("fr", "human").slug(both) == "fr_human"
    italian = paths.hypotheses(study, "it")
    assert "results/hypotheses/it+fr/en/0.32h/seed1/full/560ms/it_human.jsonl" in italian
    assert "results/hypotheses/it/en/0.32h/seed1/full/560ms/human.jsonl" in italian
    assert not [path for path in italian if "fr_human" in path]
    assert study.scored_languages == ["it", "fr"]


def test_what_is_replayed_is_scored_in_its_own_language():
    made = demo()
    made["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "fr_en": {"languages": {"fr": 1}, "replay": {"lang": "en", "fraction": 0.2}},
    }
    study = make(made)
    assert study.scored_languages == ["it", "fr", "en"]
    assert study.pooled_languages == ["it", "fr", "en"]
    assert study.test_sets("fr_en")[-1] == TestSet("en", "numbers")
    assert set(paths.test_manifests(study, "fr_en")) == {
        "same_voices",
        "new_voices",
        "human",
        "en_numbers",
    }
    assert paths.training_cuts(study, "fr_en", "0.02") == "results/mixtures/fr_en/0.02h.jsonl.gz"
    assert slices.statistics(study)["targets"] == {"it": ["it"], "fr_en": ["fr"]}


def test_the_old_key_of_replay_is_a_property_of_every_training_set():
    made = config.load_config(ROOT / "demo.yaml")
    made["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    made["training"]["replay"] = {"lang": "en", "fraction": 0.2}
    study = make(made)
    assert {one.replay.lang for one in study.training_sets.values()} == {"en"}
    assert "replay" not in slices.training(study, "en")


def test_an_arm_trains_by_the_recipe_but_for_what_it_says():
    made = demo()
    made["arms"]["ml"]["training"] = {"optimizer": {"lr": 3.0e-5}, "steps": {"epochs": 4}}
    study = make(made)
    study_recipe, own = (slices.recipe_of(study, name) for name in ("en", "ml"))
    assert own["optimizer"] == {**study_recipe["optimizer"], "lr": 3.0e-5}
    assert own["steps"] == {"epochs": 4}
    assert {key for key in own if own[key] != study_recipe[key]} == {"optimizer", "steps"}
    assert slices.recipe_of(study, "ml_adapter")["adaptation"] == {"kind": "adapter", "dim": 64}


def test_peers_are_what_contrasts_connect_over_one_kind_of_encoder():
    made = demo()
    made["contrasts"]["head"] = {"baseline": "ml", "challenger": "ml_ctc"}
    study = make(made)
    assert study.peers("ml_adapter") == ["en", "ml", "ml_adapter", "ml_ctc"]
    assert study.peers("ml_ctc") == ["en", "ml", "ml_adapter", "ml_ctc"]
    assert study.peers("scratch") == ["scratch"]
    made["contrasts"]["adapter"]["may_differ"] = ["architecture"]
    assert make(made).peers("ml_adapter") == ["ml_adapter"]


def test_the_bundle_may_be_named_by_its_arm():
    made = demo()
    made["bundle"] = {"arm": "ml_adapter", "precision": "int4", "tier": "560ms"}
    wanted = bundles.wanted(make(made))
    assert wanted[0] == "results/bundles/it/ml_adapter/0.32h/seed1/int4/560ms/README.md"
    assert len(wanted) == 3


FAULTS = {
    "unknown init of an arm": (
        {"arms__ml__init": "mll"},
        ["arms.ml.init has 'mll' (did you mean 'ml'?)", "allowed: en, ml, scratch"],
    ),
    "unknown family": (
        {"arms__ml__family": "fastconformer_rnn"},
        ["arms.ml: family 'fastconformer_rnn' is unknown (did you mean 'fastconformer_rnnt'"],
    ),
    "unknown adaptation": (
        {"arms__ml_adapter__adaptation": {"kind": "adaptor"}},
        ["arms.ml_adapter.adaptation", "'adaptor'", "did you mean 'adapter'"],
    ),
    "unknown option of an adaptation": (
        {"arms__ml_adapter__adaptation": {"kind": "adapter", "dimm": 64}},
        ["arms.ml_adapter.adaptation", "'dimm'", "dim"],
    ),
    "adapters in a random encoder": (
        {"arms__scratch__adaptation": {"kind": "adapter", "dim": 64}},
        ["arms.scratch", "'adapter'", "random"],
    ),
    "unknown training set of an arm": (
        {"arms__ml__training_sets": ["es"]},
        ["arms.ml.training_sets has 'es'", "allowed: fr, it, it+fr"],
    ),
    "unknown tier of an arm": ({"arms__ml__tiers": ["80ms"]}, ["arms.ml.tiers has '80ms'"]),
    "arm without full precision": (
        {"arms__ml__precisions": ["int4"]},
        ["arms.ml.precisions", "'full'", "add it"],
    ),
    "arm whose budgets nobody has": (
        {"arms__ml__budgets_hours": [7]},
        ["arms.ml.budgets_hours has '7'", "allowed: 0.02, 0.08, 0.32"],
    ),
    "arm with one budget that nobody has": (
        {"arms__ml__budgets_hours": [0.02, 7]},
        ["arms.ml.budgets_hours has '7'", "allowed: 0.02, 0.08, 0.32"],
    ),
    "arm that differs on paper only": (
        {"arms__other": {"init": "ml", "name": "O", "training": {"optimizer": {"lr": 2.0e-3}}}},
        ["arms.ml and arms.other are equal", "'ml'"],
    ),
    "arm that differs in its pace": (
        {"arms__other": {"init": "ml", "name": "O", "training": {"validate_every_steps": 10}}},
        ["arms.ml and arms.other are equal", "'ml'"],
    ),
    "arms of one legend": (
        {"arms__ml_adapter__name": "Multilingual"},
        ["arms.ml and arms.ml_adapter", "'Multilingual'", "another name"],
    ),
    "what an init brings in an arm": (
        {"arms__ml__training": {"model": {"n_layers": 5}}},
        ["arms.ml.training.model has n_layers", "another init"],
    ),
    "freezing that never ends": (
        {"arms__ml__adaptation": {"kind": "freeze", "encoder_layers": 1, "steps": 480}},
        ["arms.ml", "adaptation.steps is 480", "480 steps", "lower it"],
    ),
    "freezing of nothing": (
        {
            "arms__ml__adaptation": {
                "kind": "freeze",
                "encoder_layers": 0,
                "feature_encoder": "never",
            }
        },
        ["arms.ml.adaptation", "nothing is held", "the kind full"],
    ),
    "head alone on random weights": (
        {"arms__scratch__adaptation": {"kind": "head_only"}},
        ["arms.scratch", "'head_only' keeps the encoder as it was", "another init"],
    ),
    "headline without its tier": (
        {"arms__ml__tiers": ["560ms"]},
        ["contrasts.warm_start is the headline", "1120ms", "arms.ml.tiers", "add it"],
    ),
    "random copy of a random init": (
        {"inits__other": {"name": "O", "scratch": "scratch"}},
        ["inits.other.scratch has 'scratch'", "allowed: en, ml"],
    ),
    "training sets of one name in rules": (
        {"training_sets__it_fr": {"languages": {"it": 1, "fr": 0.5}}},
        ["training_sets.it+fr and training_sets.it_fr", "rename"],
    ),
    "training sets that are equal": (
        {"training_sets__italian": {"languages": {"it": 1}}},
        ["training_sets.it and training_sets.italian are equal"],
    ),
    "weight of nothing": (
        {"training_sets__it+fr": {"languages": {"it": 1, "fr": 1.0e-9}}},
        ["training_sets.it+fr.languages gives fr the weight 1e-09", "raise it"],
    ),
    "replay of a target language": (
        {"training_sets__it__replay": {"lang": "fr", "fraction": 0.1}},
        ["training_sets.it.replay.lang is 'fr'", "a target language", "weights"],
    ),
    "key of the study in an arm": (
        {"arms__ml__training": {"devices": 2}},
        ["arms.ml.training.devices belongs to the study", "training.devices"],
    ),
    "contexts in an arm": (
        {"arms__ml__training": {"model": {"contexts": [[70, 1]]}}},
        ["arms.ml.training.model.contexts belongs to the study", "training.model.contexts"],
    ),
    "misspelt key of the recipe in an arm": (
        {"arms__ml__training": {"optimiser": {"lr": 1.0}}},
        ["'optimiser'", "arms.ml.training", "did you mean 'optimizer'"],
    ),
    "recipe of an arm that cannot be": (
        {"arms__ml__training": {"steps": {"fixed": 10}}},
        ["arms.ml", "warmup_steps is 30", "10 steps"],
    ),
    "arm with a word of the tables": (
        {"arms__gap": {"init": "ml"}},
        ["arms.gap", "a word of its own", "another name"],
    ),
    "training set with a word of the tables": (
        {"training_sets__own": {"languages": {"it": 1}}},
        ["training_sets.own", "a word of its own", "another name"],
    ),
    "two equal arms": (
        {"arms__other": {"init": "ml"}},
        ["arms.ml and arms.other are equal", "'ml'"],
    ),
    "contrast of an unknown arm": (
        {"contrasts__warm_start__challenger": "mll"},
        ["contrasts.warm_start.challenger has 'mll' (did you mean 'ml'?)"],
    ),
    "contrast of an arm with itself": (
        {"contrasts__warm_start__challenger": "en"},
        ["contrasts.warm_start.baseline and challenger are both 'en'"],
    ),
    "contrast without a common budget": (
        {"arms__ml__budgets_hours": [0.02], "arms__en__budgets_hours": [0.08, 0.32]},
        ["contrasts.warm_start compares 'en' with 'ml'", "no training set and budget in common"],
    ),
    "contrast without a common tier": (
        {"arms__ml__tiers": ["560ms"], "arms__en__tiers": ["offline"]},
        ["contrasts.warm_start compares 'en' with 'ml'", "no tier in common (offline; 560ms)"],
    ),
    "contrasts and the old pair": (
        {"statistics__baseline": "en"},
        ["statistics.baseline is 'en'", "warm_start", "remove it"],
    ),
    "neither contrasts nor a pair": (
        {"contrasts": {}},
        ["no contrasts", "'baseline' and 'challenger'"],
    ),
    "training set of an unknown language": (
        {"training_sets__it": {"languages": {"itt": 1}}},
        ["training_sets.it.languages has 'itt' (did you mean 'it'?)"],
    ),
    "training set with the name of another language": (
        {"training_sets__fr": {"languages": {"it": 1}}},
        ["training_sets.fr has the name of a language", "give it another name"],
    ),
    "training set in which nothing weighs 1": (
        {"training_sets__it+fr": {"languages": {"it": 0.5, "fr": 0.5}}},
        ["training_sets.it+fr.languages", "it: 0.5, fr: 0.5", "weight 1"],
    ),
    "training set without a common budget": (
        {"languages__fr__budgets_hours": [0.1]},
        ["training_sets.it+fr", "no budget in common", "give it budgets_hours"],
    ),
    "language in no training set": (
        {"training_sets": {"it": {"languages": {"it": 1}}}},
        ["languages.fr (French) is in no training set", "it"],
    ),
    "replay for the study and training sets": (
        {"training__replay": {"lang": "en", "fraction": 0.1}},
        ["training.replay", "training_sets.NAME.replay"],
    ),
    "replay of a language without a pool": (
        {"training_sets__it": {"languages": {"it": 1}, "replay": {"lang": "en", "fraction": 0.1}}},
        ["training_sets.it.replay.lang is 'en'", "lacks training_corpora, test_sets"],
    ),
    "more of a language than there is": (
        {"training_sets__it+fr": {"languages": {"it": 1, "fr": 1}, "budgets_hours": [3]}},
        ["training_sets.it+fr.budgets_hours has 3", "3 h of it", "0.36 h available"],
    ),
    "batches of an arm by a profile of its own": (
        {"arms__ml__training": {"batch_profile": True}},
        ["arms.ml.training.batch_profile belongs to the study", "one order of data"],
    ),
    "weights in bfloat16 of a family without": (
        {
            "arms__ml__family": "wav2vec2_ctc",
            "arms__ml__tiers": ["offline"],
            "training__precision": "bf16-true",
        },
        ["arms.ml", "training.precision is 'bf16-true'", "wav2vec2_ctc", "give bf16-mixed"],
    ),
    "bundle of two spellings": ({"bundle__arm": "ml"}, ["bundle", "two spellings"]),
}


def test_arms_that_are_compared_are_trained_with_one_profile_of_batches():
    study = make(demo(training__batch_profile=True, training__bucket_bins_s=30))
    folders = {slices.training(study, arm)["batch_profile"] for arm in ("en", "ml")}
    assert folders == {"results/profiles/en"}
    assert paths.batch_profile(study, "it+fr", "ml") == "results/profiles/en/it+fr.json"
    plain = make(demo())
    assert slices.training(plain, "ml")["batch_profile"] is False
    assert "batch_profile" not in stages.canonical("train", slices.training(plain, "ml"))
    assert paths.batch_profile(plain, "it", "ml") is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"contrasts__head": {"baseline": "ml", "challenger": "ml_ctc"}},
            "measures arms.en .* arms.ml_ctc has another family .*'fastconformer_ctc', there 'fast",
        ),
        ({"arms__ml__training": {"joint_mb": 500}}, "arms.ml has another training.joint_mb .500"),
        ({"arms__ml__tokens": "char"}, "arms.ml has another tokens .'char', there 'bpe'"),
        (
            {"arms__en__adaptation": {"kind": "adapter"}},
            "measures arms.en, whose encoder does not learn, and arms.ml, .* above it",
        ),
    ],
)
def test_arms_that_another_batch_fits_are_not_trained_with_one_profile(changes, says):
    for name in ("warm_start", "adapter"):
        changes = {**changes, f"contrasts__{name}__may_differ": ["tokens"]}
    make(demo(**changes))
    with pytest.raises(UserError, match=says):
        make(demo(**changes, training__batch_profile=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_name_value_and_remedy(fault):
    changes, expected = FAULTS[fault]
    with pytest.raises(UserError) as caught:
        make(demo(**changes))
    for part in expected:
        assert part in str(caught.value)


def test_a_training_set_without_a_test_set_is_refused():
    made = demo()
    made["languages"]["fr"]["test_sets"] = []
    with pytest.raises(UserError, match=r"languages\.fr\.test_sets"):
        make(made)


def test_policies_of_the_feature_encoder_and_the_head_alone_are_arms_of_a_study():
    frozen = {"kind": "freeze", "encoder_layers": 0, "feature_encoder": "always"}
    waiting = {"kind": "freeze", "encoder_layers": 1, "steps": 9}
    study = make(
        demo(
            arms__ml_frozen={"init": "ml", "adaptation": frozen},
            arms__ml_head={"init": "ml", "adaptation": {"kind": "head_only"}},
            arms__ml_ctc_head={
                "init": "ml",
                "family": "fastconformer_ctc",
                "adaptation": {"kind": "head_only"},
            },
            arms__ml_waiting={"init": "ml", "adaptation": waiting},
            contrasts__frozen={"baseline": "ml", "challenger": "ml_frozen"},
            contrasts__head={"baseline": "ml", "challenger": "ml_head"},
        )
    )
    adaptations = {
        name: stages.canonical("train", slices.training(study, name)).get("adaptation")
        for name in study.arms
    }
    assert adaptations["ml_frozen"] == frozen
    assert adaptations["ml_head"] == {"kind": "head_only"}
    # What was asked for before there was a policy is what it was, in every digest and record.
    assert adaptations["ml_waiting"] == waiting
    assert dict(study.arms["ml_waiting"].adaptation) == waiting
    spelled = demo(
        arms__other={"init": "ml", "adaptation": {**waiting, "feature_encoder": "steps"}}
    )
    spelled["arms"]["ml"]["adaptation"] = waiting
    with pytest.raises(UserError, match=r"arms\.ml and arms\.other are equal"):
        make(spelled)


def test_a_bundle_of_a_family_that_makes_none_is_refused(monkeypatch):
    without = dataclasses.replace(models.KINDS["fastconformer_ctc"], bundle="")
    monkeypatch.setitem(models.KINDS, "fastconformer_ctc", without)
    with pytest.raises(
        UserError,
        match=r"bundle.init is 'ml_ctc': family fastconformer_ctc makes no .* fastconformer_rnnt",
    ):
        make(demo(bundle__init="ml_ctc"))
    study = make(demo())
    with pytest.raises(UserError, match="fastconformer_ctc makes no bundle"):
        bundles.find(study, "it", "ml_ctc", "0.32")


def test_bundles_have_the_files_of_their_arms_form():
    study = make(demo(bundle__init="ml_ctc"))
    assert bundles.arms_by_form(study)["streaming_ctc"] == ["ml_ctc"]
    page = bundles.wanted(study)[0]
    assert [path.rpartition("/")[2] for path in bundles.files_of(study, page)] == [
        *("model.onnx", "tokens.txt", "example.wav", "bundle.json")
    ]
    assert bundles.rule_of("streaming_ctc") == "build_bundle_streaming_ctc"
    assert bundles.rule_of("mine:FORM") == "build_bundle_mine_FORM"


def test_a_form_that_hears_whole_utterances_takes_offline_tiers_alone(monkeypatch):
    whole = dataclasses.replace(models.FORMS["streaming_ctc"], streams=False)
    monkeypatch.setitem(models.FORMS, "streaming_ctc", whole)
    assert bundles.tiers(make(demo()), "ml_ctc") == ["offline"]
    with pytest.raises(UserError, match=r"tier 560ms streams; a bundle of family .* offline tier"):
        models.require_bundle_tier("fastconformer_ctc", Tier("560ms", 70, 6))
