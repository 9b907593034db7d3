"""`retention:` — which languages are tested before and after, what is compared with what, and what
the dry run refuses."""

import copy

import pytest
from conftest import ROOT

from warmstart.run.errors import UserError
from warmstart.study import checks, config, data_plan, paths, slices
from warmstart.study.grid import Run, Study, TestSet

SETS = {
    "it": {"languages": {"it": 1}},
    "it_en10": {"languages": {"it": 1}, "replay": {"lang": "en", "fraction": 0.1}},
    "fr": {"languages": {"fr": 1}},
}
ARMS = {
    "en": {"init": "en"},
    "ml": {"init": "ml"},
    "ml_adapter": {"init": "ml", "adaptation": {"kind": "adapter", "dim": 64}},
    "ml_slow": {"init": "ml", "training": {"optimizer": {"lr": 0.001}}},
}
# The family of the heads with which these inits were pretrained.
ARMS = {name: {**arm, "family": "fastconformer_ctc"} for name, arm in ARMS.items()}


def demo(languages=("en", "de"), **asked):
    made = config.load_config(ROOT / "demo.yaml")
    made["retention"] = {"languages": list(languages), **asked}
    made["training_sets"], made["arms"] = copy.deepcopy(SETS), copy.deepcopy(ARMS)
    made["precisions"], made["bundle"] = {"full": {}}, None
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    for lang in ("en", "de"):
        made["support_languages"][lang] |= {
            "training_corpora": ["pretraining"],
            "test_sets": ["numbers"],
        }
    for init in made["inits"].values():
        init["zero_shot"] = {}
    return made


def checked(made):
    config.validate(made)
    study = Study(made, ROOT)
    checks.check(study)
    return study


def test_every_run_is_tested_in_the_languages_of_donors_and_so_are_donors():
    study = checked(demo())
    after = [TestSet(lang, "numbers") for lang in ("en", "de")]
    for name in SETS:
        assert study.test_sets(name)[-2:] == after
    # What is replayed is not tested twice.
    assert len(study.test_sets("it_en10")) == len(study.test_sets("it"))
    assert study.test_sets("en") == [after[0]]
    assert study.zero_shot_runs("en") == [Run("en", arm, "0", 1) for arm in ("en", "ml")]
    assert study.runs("en") == []
    assert study.decoded_sets == [*SETS, "en", "de"]
    english = paths.hypotheses(study, "en")
    assert "results/hypotheses/en/ml/0h/seed1/full/560ms/numbers.jsonl" in english
    assert "results/hypotheses/it/ml_adapter/0.32h/seed1/full/560ms/en_numbers.jsonl" in english
    assert study.pooled_languages == ["it", "fr", "en", "de"]
    # They enter no gap.
    targets = slices.statistics(study)["targets"]
    assert (targets["en"], targets["de"], targets["it_en10"]) == ([], [], ["it"])
    assert "de" in data_plan.plan(study)


def test_what_is_compared_with_what_is_told_to_the_tables():
    assert slices.statistics(checked(demo()))["retention"] == {
        "languages": ["en", "de"],
        "joint": None,
        "replay": {"it": 0.0, "it_en10": 0.1, "fr": 0.0},
        "plain": {"it": "it", "it_en10": "it", "fr": "fr"},
        "donors": {"en": "en", "ml": "ml", "ml_adapter": "ml", "ml_slow": "ml"},
        # An arm with another recipe is no reference for the adapter, and is its own.
        "full": {"en": "en", "ml": "ml", "ml_adapter": "ml", "ml_slow": "ml_slow"},
    }


def test_a_joint_training_set_hears_all_of_them():
    assert checked(demo(["en"], joint="it_en10")).config["retention"]["joint"] == "it_en10"
    with pytest.raises(UserError, match=r"retention\.joint is 'it_en10', .* not hear de"):
        checked(demo(joint="it_en10"))
    with pytest.raises(UserError, match=r"retention\.joint .*'it_en1'.*it_en10"):
        checked(demo(["en"], joint="it_en1"))


def test_a_language_that_models_do_not_know_is_refused_before_they_are_trained(monkeypatch):
    made = demo(["en", "de"])
    made["inits"] = {"w": {"name": "W", "path": "/donors/w", "zero_shot": {}}}
    made["arms"] = {
        "w": {"init": "w", "family": "whisper", "tiers": ["offline"]},
        "w_head": {"init": "w", "family": "whisper", "adaptation": {"kind": "head_only"}},
    }
    made["arms"]["w_head"]["tiers"] = ["offline"]
    made["contrasts"] = {"head": {"baseline": "w", "challenger": "w_head"}}
    made["statistics"]["reference_tier"] = "offline"
    for key in ("baseline", "challenger"):
        del made["statistics"][key]
    study = checked(made)
    checks.arms.check_donors(study)
    there = ("it", "fr", "en")
    monkeypatch.setattr("warmstart.models.whisper.family.PUBLISHED_LANGUAGES", there)
    with pytest.raises(UserError, match=r"arms.w: Whisper has no token for language de"):
        checks.arms.check_donors(study)


def test_a_target_language_can_be_one_that_a_donor_knows():
    study = checked(demo(["fr"]))
    assert study.test_sets("it")[-1].lang == "fr"
    assert slices.statistics(study)["targets"]["fr"] == ["fr"]
    assert study.pooled_languages == ["it", "fr", "en"]


def test_without_the_key_a_study_means_what_it_did():
    made = demo()
    del made["retention"]
    study = checked(made)
    assert study.decoded_sets == list(SETS)
    assert study.test_sets("it")[-1].lang == "it"
    assert "retention" not in slices.statistics(study)
    # What replays English says nothing of English itself, as before.
    made["training_sets"] = {}
    made["training"]["replay"] = {"lang": "en", "fraction": 0.1}
    study = checked(made)
    assert [one.name for one in study.training_sets.values()] == ["it", "fr"]
    assert study.training_set("en").replay is None


def without_zero_shot(made):
    for init in made["inits"].values():
        init["zero_shot"] = None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_zero_shot, r"no init is decoded in them before.*inits\.en\.zero_shot: \{\}"),
        (
            lambda made: made["support_languages"]["de"].pop("test_sets"),
            r"retention\.languages has 'de'; support_languages\.de lacks test_sets",
        ),
        (
            lambda made: made["retention"].update(languages=["xx"]),
            r"retention\.languages .*'xx'",
        ),
        (
            lambda made: made.update(
                training_sets={"both": {"languages": {"it": 1, "fr": 1}, "heads": "per_language"}},
                arms={name: {**arm, "family": "wav2vec2_ctc"} for name, arm in ARMS.items()},
            ),
            r"has 'en', and training_sets\.both has heads: per_language \(it, fr\), none of which",
        ),
        (lambda made: made["retention"].update(languages=[]), r"retention\.languages is \[\]"),
        (lambda made: made["retention"].pop("languages"), r"retention lacks 'languages'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(change, expected):
    made = demo()
    change(made)
    with pytest.raises(UserError, match=expected):
        checked(made)
