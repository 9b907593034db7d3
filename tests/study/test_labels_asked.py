"""Training sets with dirty labels: what follows from the key, and what the dry run refuses."""

import pytest
from conftest import ROOT

from warmstart.data.labels import Labels
from warmstart.run.errors import UserError
from warmstart.study import checks, config, paths, slices
from warmstart.study.grid import Study

DIRTY = {"corrupt": 0.25, "kind": "swap"}


def study(labels=None, **changes):
    """The demo with a clean and a dirty set of Italian; `changes` are of the dirty set."""
    made = config.load_config(ROOT / "demo.yaml")
    dirty = {"languages": {"it": 1}, "labels": labels or DIRTY, **changes}
    made["training_sets"] = {
        "it": {"languages": {"it": 1}},
        "it_dirty": dirty,
        "fr": {"languages": {"fr": 1}},
    }
    config.validate(made)
    return Study(made, ROOT)


def checked(*args, **changes):
    made = study(*args, **changes)
    checks.check(made)
    return made


def test_a_dirty_set_trains_on_its_own_texts_and_is_scored_like_the_clean_one():
    made = checked()
    assert paths.training_cuts(made, "it", "0.08") == "results/budgets/it/0.08h.jsonl.gz"
    dirty = "results/dirty_labels/it_dirty/it/0.08h.jsonl.gz"
    assert paths.training_cuts(made, "it_dirty", "0.08") == dirty
    assert made.test_sets("it_dirty") == made.test_sets("it")
    # What trainings are watched on stays clean.
    watched = [paths.validation_manifests(made, name) for name in ("it_dirty", "it")]
    assert watched[0] == watched[1] == {"it": "results/manifests/spoken/it/dev.jsonl.gz"}
    assert made.training_sets["it_dirty"].label == "Italian, 25 % of texts swapped"
    assert paths.label_reports(made) == [
        f"results/dirty_labels/it_dirty/it/{hours}h.json" for hours in ("0.02", "0.08", "0.32")
    ]
    assert slices.statistics(made)["dirty"] == {
        "it_dirty": {"clean": "it", "corrupt": 0.25, "kind": "swap", "word_error_rate": None}
    }


def test_a_dirty_set_is_compared_with_the_clean_one_of_the_same_rounds():
    each = [{"data": "labelled"}, {"data": "clean", "keep": 0.5}]
    made = config.load_config(ROOT / "demo.yaml")
    italian, rounds = {"languages": {"it": 1}}, {"rounds": {"each": each}}
    made["training_sets"] = {
        "it_rounds": {**italian, **rounds},
        "it": italian,
        "it_dirty": {**italian, "labels": DIRTY},
        "it_dirty_rounds": {**italian, **rounds, "labels": DIRTY},
    }
    config.validate(made)
    found = Study(made, ROOT)
    assert found.clean_set("it_dirty") == "it"
    assert found.clean_set("it_dirty_rounds") == "it_rounds"
    # Plain fine-tuning is at once.
    assert {found.plain_set(name) for name in found.training_sets} == {"it"}


def test_of_several_languages_each_is_dirty_and_replay_is_not():
    made = checked(languages={"it": 1, "fr": 0.5})
    assert paths.parts(made, "it_dirty", "0.08") == {
        lang: f"results/dirty_labels/it_dirty/{lang}/0.08h.jsonl.gz" for lang in ("it", "fr")
    }
    cuts = paths.training_cuts(made, "it_dirty", "0.08")
    assert cuts == "results/mixtures/it_dirty/0.08h.jsonl.gz"
    assert paths.parts(made, "it", "0.08") == {"it": "results/budgets/it/0.08h.jsonl.gz"}
    # There is no clean set of both to compare it with.
    assert slices.statistics(made)["dirty"]["it_dirty"]["clean"] is None


def test_the_tokenizer_and_the_program_know_what_is_done():
    made = checked({"corrupt": 0.5, "kind": "words"})
    assert made.training_sets["it_dirty"].labels == Labels(0.5, "words", 0.5)
    assert made.training_sets["it_dirty"].label == "Italian, 50 % of texts with 50 % wrong words"
    how = {"corrupt": 0.5, "kind": "words", "word_error_rate": 0.5, "guard": True}
    assert slices.labels(made, "it_dirty", "it") == {"text": made.text("it"), "labels": how}
    assert slices.tokenizer(made, "it_dirty")["labels"] == how
    made.config["filters"]["guard"] = ["speaker"]
    assert slices.labels(made, "it_dirty", "it")["labels"]["guard"] is False


def test_a_study_without_the_key_means_what_it_did():
    made = config.load_config(ROOT / "demo.yaml")
    config.validate(made)
    made = Study(made, ROOT)
    assert "labels" not in slices.tokenizer(made, "it")
    assert "dirty" not in slices.statistics(made)
    assert paths.label_reports(made) == []


@pytest.mark.parametrize(
    ("labels", "changes", "expected"),
    [
        ({"corrupt": 1.5, "kind": "swap"}, {}, r"labels\.corrupt is 1\.5.*at most 1"),
        ({"corrupt": -0.1, "kind": "swap"}, {}, r"labels\.corrupt is -0\.1.*at least 0"),
        ({"corrupt": 0.25}, {}, r"training_sets\.it_dirty\.labels lacks 'kind'"),
        ({"kind": "swap"}, {}, r"training_sets\.it_dirty\.labels lacks 'corrupt'"),
        ({"corrupt": 0.25, "kind": "noise"}, {}, r"labels\.kind is 'noise'.*'swap', 'words'"),
        ({**DIRTY, "word_error_rate": 0.3}, {}, r"word_error_rate is 0\.3, and kind is swap"),
        (
            {"corrupt": 0.25, "kind": "words", "word_error_rate": 0},
            {},
            r"labels\.word_error_rate is 0.*more than 0",
        ),
        # Nothing is made wrong: the same as the clean set.
        ({"corrupt": 0, "kind": "swap"}, {}, r"it and training_sets\.it_dirty are equal"),
        # 0.001 h are at most 12 cuts of 0.3 s, of which 0.1 are 1.2.
        (
            {"corrupt": 0.1, "kind": "swap"},
            {"budgets_hours": [0.001]},
            r"labels\.corrupt is 0\.1: of 0\.001 h of it, at most 12 cuts.*fewer than 2",
        ),
        (
            {"corrupt": 0.5, "kind": "words"},
            {"languages": {"it": 1, "fr": 1}, "heads": "per_language"},
            r"labels\.kind is words, and heads is per_language",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(labels, changes, expected):
    with pytest.raises(UserError, match=expected):
        checked(labels, **changes)
