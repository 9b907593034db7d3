"""Fairness of a contrast: what its arms are declared to differ in may differ, and nothing else."""

import copy

import pytest
from made.report import DISPLAY, SHOWN, WARM_START, rows_of, run_record

from warmstart.evidence.display import Display
from warmstart.report import fairness
from warmstart.report.sentences import differences

ARMS = {
    "en": {"name": "English only", "init": "en"},
    "ml": {"name": "Multilingual", "init": "ml", "family": "rnnt", "adaptation": {"kind": "full"}},
    "ml_adapter": {
        **{"name": "Adapter", "init": "ml", "family": "rnnt"},
        "adaptation": {"kind": "adapter", "dim": 64},
    },
    "ml_ctc": {"name": "CTC", "init": "ml", "family": "ctc", "adaptation": {"kind": "full"}},
    "ml_slow": {
        **{"name": "Slow", "init": "ml", "family": "rnnt", "adaptation": {"kind": "full"}},
        "training": {"optimizer": {"lr": 1.0e-5}},
    },
    "xlsr": {
        **{"name": "XLS-R", "init": "xlsr", "family": "ctc", "adaptation": {"kind": "full"}},
        "training": {"optimizer": {"lr": 3.0e-5}},
    },
}


def compared(challenger, changes, given=(), **contrast):
    """The one pair of a contrast against `ml`, whose challenger's record has these changes, and
    whose baseline's has what is given."""
    contrasts = {"c": {"baseline": "ml", "challenger": challenger, **contrast}}
    display = Display.of(DISPLAY | {"arms": ARMS, "contrasts": contrasts})
    (asked,) = display.contrasts
    runs = [run_record("ml", **dict(given)), run_record(challenger, **changes)]
    (pair,) = fairness.pairs(runs, display, asked)
    return display, asked, pair


def changed(**parts):
    """Parts of the baseline's record with other values in them."""
    record = copy.deepcopy(run_record("ml"))
    return {key: record[key] | value for key, value in parts.items()}


def test_inits_may_differ_and_nothing_else():
    runs = [run_record("en"), run_record("ml")]
    (pair,) = fairness.pairs(runs, SHOWN, WARM_START)
    assert (pair.different, pair.missing) == ([], [])
    for changes, found in (
        ({"input_digests": runs[1]["input_digests"] | {"tokenizer": "other"}}, "tokenizer"),
        ({"start_digests": runs[1]["start_digests"] | {"decoder": "x"}}, "start of predictor"),
        ({"versions": {"torch": "2.12.0"}}, "software"),
        ({"hardware": {"gpu": "NVIDIA H100"}}, "device"),
        ({"steps": 400}, "steps"),
        (
            {"settings": {"optimizer": {"lr": 2.0e-3}, "model": {"n_layers": 2}}},
            "settings (optimizer.lr)",
        ),
    ):
        (pair,) = fairness.pairs([runs[0], run_record("ml", **changes)], SHOWN, WARM_START)
        assert pair.different == [found]
    (pair,) = fairness.pairs([runs[0], run_record("ml", git_commit=None)], SHOWN, WARM_START)
    assert pair.missing == ["code"]
    assert pair.name == "German 100 h seed 1"
    (row,) = rows_of(fairness.pair_sheet("pairs", [pair]))
    assert row == [
        *("German 100 h seed 1", "not recorded", "–", "code"),
        "data, validation, tokenizer, start of predictor, start of joint, settings, steps, audio "
        "seen, software, device",
    ]


def test_only_runs_of_one_training_set_budget_and_seed_are_a_pair():
    runs = [run_record("en"), run_record("ml", training_set="de+fr"), run_record("ml", seed=2)]
    assert fairness.pairs(runs, SHOWN, WARM_START) == []


def test_an_adaptation_may_change_what_follows_from_it():
    own = changed(
        input_digests={"init": "ml"},
        start_digests={"encoder": "with adapters"},
        settings={"adaptation": {"kind": "adapter", "dim": 64}},
    )
    display, contrast, pair = compared("ml_adapter", own)
    assert display.about(contrast) == ["adaptation"]
    assert pair.different == []
    assert fairness.allowed(display, contrast) == "the adaptation"
    assert differences(display, contrast) == (
        "Multilingual and Adapter differ in adaptation (full against adapter: dim 64)."
    )
    # Another donor, another decoder or another rate is none of its business.
    for part, key, value, found in (
        ("input_digests", "init", "en", "init"),
        ("start_digests", "decoder", "x", "start of predictor"),
        ("settings", "optimizer", {"lr": 1.0}, "settings (optimizer.lr)"),
    ):
        wrong = own | {part: own[part] | {key: value}}
        assert compared("ml_adapter", wrong)[2].different == [found]


def test_a_decoder_that_the_donor_gives_is_the_adaptations_to_change():
    """Of a Whisper: a LoRA lies in both parts, and the tokenizer is the donor's."""
    digests = run_record("ml")["input_digests"] | {"tokenizer": None}
    of_family = {"pretrained_parts": ["encoder", "decoder"], "tokenizer": "own"}
    of_family |= {"input_digests": digests, "start_digests": {"encoder": "e", "decoder": "d"}}
    changes = of_family | {
        "start_digests": {"encoder": "with LoRA", "decoder": "with LoRA too"},
        **changed(settings={"adaptation": {"kind": "adapter", "dim": 64}}),
    }
    _, _, pair = compared("ml_adapter", changes, of_family)
    assert (pair.different, pair.missing) == ([], [])
    assert pair.states["tokenizer"] == "equal"
    slow = changes | changed(settings={"optimizer": {"lr": 1.0e-5}})
    _, _, pair = compared("ml_slow", slow, of_family)
    assert pair.different == ["start of encoder", "start of the donor's decoder"]


def test_a_family_may_have_other_parts_and_another_architecture():
    own = changed(input_digests={"init": "ml", "tokenizer": "its own"}) | {
        "start_digests": {"encoder": "ml", "head": "h"},
        "settings": {"optimizer": {"lr": 1.0e-3}, "model": {"n_layers": 24}},
    }
    display, contrast, pair = compared("ml_ctc", own)
    assert display.about(contrast) == ["family"]
    assert (pair.different, pair.missing) == ([], [])
    assert compared("ml_ctc", own | {"steps": 1})[2].different == ["steps"]


def test_what_an_arm_has_of_its_own_in_the_recipe_may_differ_and_no_more():
    own = changed(input_digests={"init": "ml"}, settings={"optimizer": {"lr": 1.0e-5}})
    own["start_digests"] = run_record("ml")["start_digests"]
    display, contrast, pair = compared("ml_slow", own)
    assert display.about(contrast) == ["optimizer.lr"]
    assert pair.different == []
    assert fairness.allowed(display, contrast) == "the setting optimizer.lr"
    more = own | {"settings": {"optimizer": {"lr": 1.0e-5}, "model": {"n_layers": 3}}}
    assert compared("ml_slow", more)[2].different == ["settings (model.n_layers)"]


def test_a_contrast_of_several_things_is_named_as_one():
    display, contrast, _ = compared("xlsr", {})
    assert display.about(contrast) == ["init", "family", "optimizer.lr"]
    said = fairness.confounded(display, contrast)
    assert said == (
        "c: Multilingual and XLS-R differ in init, family and optimizer.lr; the gap is of all of "
        "that together."
    )
    assert fairness.allowed(display, contrast) == (
        "the init, the family of the model and the setting optimizer.lr"
    )
    assert fairness.confounded(SHOWN, WARM_START) is None


def test_an_architecture_that_may_differ_is_allowed_and_named():
    own = changed(settings={"model": {"n_layers": 24}}, start_digests={"joint": "other size"})
    display, contrast, pair = compared("ml_slow", own, may_differ=["architecture"])
    assert pair.different == ["init"], "the records say another donor"
    assert "architecture" in fairness.allowed(display, contrast)
    assert "architecture" in differences(display, contrast)


def test_different_contexts_of_the_donors_are_named_as_a_possible_confound():
    contexts = {
        "en": [[70, 13], [70, 6], [70, 1], [70, 0]],
        "ml": [[56, 13], [56, 6], [56, 3], [56, 0]],
    }

    def runs(found):
        return [
            run_record(arm, init_facts={"donor_contexts": each} if each else {})
            for arm, each in found.items()
        ]

    said = (
        "in frames; English only: left 70, right 0, 1, 6, 13; Multilingual: left 56, right 0, 3, "
        "6, 13"
    )
    assert said in fairness.donor_text(runs(contexts), SHOWN, WARM_START)
    rows = rows_of(fairness.donors_sheet(runs(contexts), SHOWN))
    assert [row[3] for row in rows] == [
        "[[70, 13], [70, 6], [70, 1], [70, 0]]",
        "[[56, 13], [56, 6], [56, 3], [56, 0]]",
    ]
    same = dict.fromkeys(contexts, contexts["en"])
    assert "the same attention contexts" in fairness.donor_text(runs(same), SHOWN, WARM_START)
    unknown = contexts | {"ml": None}
    assert "are not recorded" in fairness.donor_text(runs(unknown), SHOWN, WARM_START)


@pytest.mark.parametrize("missing", ["input_digests", "start_digests", "settings", "hardware"])
def test_what_a_record_does_not_say_is_not_called_equal(missing):
    (pair,) = fairness.pairs(
        [run_record("en"), run_record("ml", **{missing: None})], SHOWN, WARM_START
    )
    assert pair.missing
    assert pair.different == []
