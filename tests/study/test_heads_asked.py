"""Training sets with a head a language: what follows from the key, and what is refused."""

import dataclasses

import pytest
from test_arms import demo, make

from warmstart import models
from warmstart.run.errors import UserError
from warmstart.study import bundles, notes, paths, slices, stages
from warmstart.study.checks.tokenizers import letters
from warmstart.study.grid import TestSet

HEADS = {"languages": {"it": 1, "fr": 1}, "heads": "per_language"}
OF_FAMILY = {"family": "wav2vec2_ctc", "tiers": ["offline"], "precisions": ["full"]}


def raw_demo(**changes):
    """The demo's languages for encoders of raw audio."""
    made = demo(training_sets={"it": {"languages": {"it": 1}}, "it+fr": dict(HEADS)})
    made["inits"] = {name: {"name": name, "path": f"/donors/{name}"} for name in ("en", "ml")}
    made["arms"] = {name: {"init": name, **OF_FAMILY} for name in ("en", "ml")}
    made["contrasts"] = {"warm_start": {"baseline": "en", "challenger": "ml"}}
    made["statistics"]["reference_tier"] = "offline"
    made["bundle"] = None
    made["languages"]["fr"]["budgets_hours"] = made["languages"]["it"]["budgets_hours"]
    return made | changes


def test_a_head_has_the_tokenizer_of_its_language_alone():
    study = make(raw_demo())
    assert study.heads("it+fr") == ["it", "fr"]
    assert study.heads("it") == []
    assert paths.tokenizers_of(study, "it+fr", "bpe") == {
        "it": "results/tokenizers/it",
        "fr": "results/tokenizers/fr",
    }
    assert paths.tokenizers_of(study, "it", "bpe") == {"it": "results/tokenizers/it"}
    assert paths.tokenizers(study) == {("it", "bpe"): ["en", "ml"], ("fr", "bpe"): ["en", "ml"]}
    alone = stages.canonical("tokenizer", slices.tokenizer(study, "fr"))
    assert list(alone["text"]) == ["fr"], "fr is no training set, and has a tokenizer all the same"
    assert "languages" not in alone


def test_each_kind_of_tokens_has_a_tokenizer_a_head():
    made = raw_demo()
    made["training_sets"]["shared"] = {"languages": {"it": 1, "fr": 1}}
    made["arms"]["ml_char"] = {"init": "ml", **OF_FAMILY, "tokens": "char"}
    study = make(made)
    assert paths.tokenizers_of(study, "it+fr", "char") == {
        "it": "results/tokenizers/it.char",
        "fr": "results/tokenizers/fr.char",
    }
    assert paths.tokenizers(study) == {
        (name, tokens): arms
        for name in ("it", "fr", "shared")
        for tokens, arms in (("bpe", ["en", "ml"]), ("char", ["ml_char"]))
    }


def test_a_replayed_language_has_a_head_too():
    made = raw_demo()
    made["test_sets"]["numbers"] = {"corpus": "pretraining", "split": "test_same"}
    made["support_languages"]["en"] |= {
        "training_corpora": ["pretraining"],
        "test_sets": ["numbers"],
    }
    made["training_sets"]["it+fr"]["replay"] = {"lang": "en", "fraction": 0.2}
    study = make(made)
    assert study.heads("it+fr") == ["it", "fr", "en"]
    assert TestSet("en", "numbers") in study.crossed_tests("it+fr")


def test_all_heads_hear_all_test_sets_at_one_tier():
    study = make(raw_demo())
    assert study.crossed_sets == ["it+fr"]
    found = paths.crossed(study)
    tests = study.test_sets("it+fr")
    assert len(found) == 2 * len(study.runs("it+fr")) * len(tests)
    assert not {one.path for one in found} & set(paths.hypotheses(study))
    italian = paths.crossed(study, "it")
    assert {one.test.lang for one in italian} == {"it"}
    assert {(one.precision, one.tier) for one in found} == {("full", "offline")}
    run = study.runs("it+fr")[0].path
    assert italian[0].path == f"results/hypotheses/{run}/full/offline/heads/it/it_same_voices.jsonl"


def test_models_of_one_language_each_hear_the_others_where_an_ensemble_is_asked_for():
    made = raw_demo()
    made["training_sets"]["fr"] = {"languages": {"fr": 1}}
    study = make(made)
    # As the block `routing` gives it.
    study.config["routing"] = {"ensembles": {"mono": ["it", "fr"]}}
    assert study.crossed_sets == ["it", "it+fr", "fr"]
    assert study.crossed_heads("fr") == ["fr"]
    assert {test.lang for test in study.crossed_tests("fr")} == {"it", "fr"}
    slugs = {
        one.path.split("/")[-1] for one in paths.crossed(study) if one.run.training_set == "fr"
    }
    assert {"same_voices.jsonl", "it_same_voices.jsonl"} <= slugs


REFUSED = {
    "one language": (
        {
            "training_sets": {
                "it": {**HEADS, "languages": {"it": 1}},
                "fr": {"languages": {"fr": 1}},
            }
        },
        r"training_sets.it.heads is per_language, and it is its only language: remove the key",
    ),
    "a family with one head": (
        {"arms": {name: {"init": name, "tiers": ["offline"]} for name in ("en", "ml")}},
        r"training_sets.it\+fr.heads is per_language, and models of family fastconformer_rnnt have "
        r"one head for all languages; families with a head a language: wav2vec2_ctc. Take it\+fr "
        r"out of arms.en.training_sets, or give the arm another family",
    ),
    "phones": (
        {
            "arms": {
                name: {"init": name, **OF_FAMILY, "tokens": tokens}
                for name, tokens in (("en", "char"), ("ml", "ipa"))
            },
            "contrasts": {
                "warm_start": {"baseline": "en", "challenger": "ml", "may_differ": ["tokens"]}
            },
        },
        r"heads is per_language, and arms.ml writes phones \(tokens: ipa\).*give the arm tokens: "
        r"bpe or char, or take it\+fr out of its training_sets",
    ),
    "no such way": (
        {"training_sets": {"it+fr": {**HEADS, "heads": "many"}}},
        r"training_sets.it\+fr.heads.*'many'.*shared.*per_language",
    ),
    "two sets that differ in nothing": (
        {"training_sets": {"it+fr": HEADS, "again": HEADS}},
        "are equal: the same languages, weights, replay, heads, labels and rounds",
    ),
    "a vocabulary too small for one of them": (
        {"training_sets": {"it+fr": HEADS}, "tokenizer": {"vocab_size": 30}},
        r"the alphabets of head it of training set it\+fr have 36 letters.*vocab_size to 38",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused(case):
    changes, said = REFUSED[case]
    with pytest.raises(UserError, match=said):
        make(raw_demo(**changes))


def test_a_vocabulary_need_not_hold_the_letters_of_all_languages():
    study = make(raw_demo())
    sizes = [len(letters(study, langs)) for langs in (["it"], ["fr"], ["it", "fr"])]
    enough = {"tokenizer": {"vocab_size": max(sizes[:2]) + 2}}
    assert sizes[2] > max(sizes[:2])
    make(raw_demo(**enough))
    with pytest.raises(UserError, match=r"the alphabets of training set it\+fr have"):
        make(raw_demo(training_sets={"it+fr": {"languages": {"it": 1, "fr": 1}}}, **enough))


def test_a_bundle_of_several_heads_has_files_and_examples_of_each():
    made = raw_demo()
    made["routing"] = {"ensembles": {}}
    study = make(made)
    study.config["bundle"] = {"arm": "ml", "precision": "full", "tier": "offline"}
    readmes = bundles.wanted(study)
    assert [path.split("/")[2] for path in readmes] == ["it", "it+fr"]
    assert not notes.without_bundle(study)
    names = [path.split("/")[-1] for path in bundles.files_of(study, readmes[1])]
    heads = ["head_it.onnx", "head_fr.onnx", "tokens_it.txt", "tokens_fr.txt"]
    assert names == ["encoder.onnx", *heads, "example.wav", "bundle.json"]
    found = bundles.find(study, "it+fr", "ml", "0.02", "full", bundles.tiers(study, "ml")[0])
    assert found.split("/")[2] == "it+fr"
    of_heads, of_one = (
        next(maker for maker in bundles.makers(study) if name in maker.training_sets)
        for name in ("it+fr", "it")
    )
    assert of_heads.rule == "build_bundle_offline_ctc_heads_it_fr"
    assert of_one.rule == "build_bundle_offline_ctc"
    assert of_one.training_sets == ["it"]
    assert [path.split("/")[3] for path in bundles.examples(study, "it+fr")] == ["it", "fr"]
    assert len(bundles.examples(study, "it")) == 1
    run = next(run for run in study.runs("it+fr") if run.arm == "ml")
    (said,) = bundles.identified(study, run, "offline")
    assert said == f"results/languages/{run.path}/offline.json"
    assert not bundles.identified(study, run, "560ms")
    study.config["routing"] = None
    assert not bundles.identified(study, run, "offline")


def test_a_family_that_bundles_one_head_is_said_by_the_dry_run(monkeypatch):
    study = make(raw_demo())
    study.config["bundle"] = {"arm": "ml", "precision": "full", "tier": "offline"}
    one_head = dataclasses.replace(models.KINDS["wav2vec2_ctc"], heads_bundle="")
    monkeypatch.setitem(models.KINDS, "wav2vec2_ctc", one_head)
    study = make(raw_demo())
    study.config["bundle"] = {"arm": "ml", "precision": "full", "tier": "offline"}
    assert [path.split("/")[2] for path in bundles.wanted(study)] == ["it"]
    (said,) = notes.without_bundle(study)
    assert said.startswith("bundle: none is made of it+fr, because training_sets.*.heads gives")
    assert [maker.training_sets for maker in bundles.makers(study)] == [["it"]]
    with pytest.raises(UserError, match="makes no bundle of models with a head a language"):
        bundles.find(study, "it+fr", "ml", "0.02", "full", bundles.tiers(study, "ml")[0])


def test_sets_that_differ_in_their_heads_stand_side_by_side():
    """The question itself: one head for all, or one each."""
    made = raw_demo()
    made["training_sets"]["shared"] = {"languages": {"it": 1, "fr": 1}}
    study = make(made)
    assert paths.tokenizers_of(study, "shared", "bpe") == {"shared": "results/tokenizers/shared"}
    labels = [study.training_set(name).label for name in ("it+fr", "shared")]
    assert labels == ["Italian + French, a head each", "Italian + French"]
    one, other = (paths.training_cuts(study, name, "0.02") for name in ("it+fr", "shared"))
    assert one != other
