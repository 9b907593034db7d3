"""What arms write: paths and settings that follow from it, and what is refused in the dry run."""

import json

import pytest
from conftest import ROOT
from test_arms import demo, make

from warmstart.evidence.display import Display
from warmstart.report import fairness, sentences
from warmstart.run.errors import UserError
from warmstart.study import checks, config, notes, paths, slices, stages
from warmstart.study.grid import Run, Study

ARMS = {
    "en": {"init": "en"},
    "ml": {"init": "ml"},
    "ml_char": {"init": "ml", "tokens": "char"},
    "en_ipa": {"init": "en", "tokens": "ipa"},
    "ml_ipa": {"init": "ml", "tokens": "ipa"},
}
CONTRASTS = {
    "warm_start": {"baseline": "en", "challenger": "ml"},
    "tokens": {"baseline": "ml", "challenger": "ml_char"},
    "phones": {"baseline": "en_ipa", "challenger": "ml_ipa"},
}


def valid(made):
    config.validate(made)
    return made


def changed(**changes):
    return demo(**{"arms": ARMS, "contrasts": CONTRASTS, **changes})


def test_each_kind_has_a_folder_and_settings_of_its_own_and_bpe_has_todays():
    study, plain = make(changed()), make(demo())
    assert paths.tokenizers(study)["it", "bpe"] == ["en", "ml"]
    assert paths.tokenizers(study)["it", "ipa"] == ["en_ipa", "ml_ipa"]
    assert [paths.tokenizer("it", tokens) for tokens in ("bpe", "char", "ipa")] == [
        *("results/tokenizers/it", "results/tokenizers/it.char", "results/tokenizers/it.ipa"),
    ]
    for stage, made in (("tokenizer", slices.tokenizer), ("texts", slices.texts)):
        assert stages.canonical(stage, made(study, "it")) == stages.canonical(
            stage, made(plain, "it")
        )
    today = {"text": {"it": study.text("it")}, "vocab_size": 64, "character_coverage": 1.0}
    assert stages.canonical("tokenizer", slices.tokenizer(study, "it")) == stages.canonical(
        "tokenizer", today
    )
    assert slices.training(study, "ml") == slices.training(plain, "ml")
    assert "tokens" not in slices.training(study, "ml")
    assert slices.training(study, "ml_ipa")["tokens"] == "ipa"
    char = slices.tokenizer(study, "it+fr", "char")
    assert set(char) == {"text", "tokens", "languages"}
    assert "espeak_voice" not in char["text"]["it"]
    assert slices.texts(study, "it+fr", "ipa")["fr"]["espeak_voice"] == "fr"
    assert "tokens" not in slices.display(study)["arms"]["ml"]
    assert slices.counting(study, "it") == {
        **slices.scoring(study, "it"),
        "phones": {"voice": "it", "arms": ["en_ipa", "ml_ipa"], "zero_shot": []},
    }
    assert slices.counting(plain, "it") == slices.scoring(plain, "it")


def test_tokens_of_the_study_hold_for_arms_that_say_nothing():
    made = changed(tokenizer={"tokens": "char"})
    made["arms"] = {"en": {"init": "en"}, "ml": {"init": "ml"}}
    made["contrasts"] = {"warm_start": CONTRASTS["warm_start"]}
    study = make(made)
    assert {arm.tokens for arm in study.arms.values()} == {"char"}
    assert set(paths.tokenizers(study)) == {(name, "char") for name in study.training_sets}
    made["tokenizer"] = {}
    with pytest.raises(UserError, match=r"tokenizer lacks 'vocab_size'.*tokens: char or ipa"):
        make(made)


def test_what_is_replayed_is_read_aloud_too_and_a_voice_may_be_chosen():
    made = changed(training_sets={"it": {"languages": {"it": 1}}, "fr": {"languages": {"fr": 1}}})
    made["languages"]["fr"]["espeak_voice"] = "fr-be"
    study = make(made)
    assert slices.texts(study, "fr", "ipa")["fr"]["espeak_voice"] == "fr-be"
    assert slices.pool(study, "fr") == slices.pool(make(changed()), "fr")
    made["languages"]["fr"]["espeak_voice"] = "zz"
    with pytest.raises(UserError, match=r"^languages\.fr \(training set fr, tokens ipa\): .*'zz'"):
        make(made)


def test_an_init_as_published_writes_what_its_head_was_pretrained_for():
    """Its head is of CTC, so a CTC arm decodes it, and rather the one that writes the same."""
    made = changed()
    made["inits"]["ml"] |= {"zero_shot": {}}
    with pytest.raises(UserError, match=r"inits\.ml\.zero_shot: .* \(fastconformer_ctc\): add"):
        make(made)
    ctc = {"init": "ml", "family": "fastconformer_ctc"}
    made["arms"] = ARMS | {"ctc": ctc, "ctc_ipa": {**ctc, "tokens": "ipa"}}
    study = make(made)
    assert [run.arm for run in study.zero_shot_runs("it")] == ["ctc"]
    assert study.tokens_of(Run("it", "ctc", "0", 1)) == "bpe"
    made["inits"]["ml"]["pretrain"]["tokens"] = "ipa"
    study = make(made)
    assert [run.arm for run in study.zero_shot_runs("it")] == ["ctc_ipa"]
    assert study.tokens_of(Run("it", "ctc_ipa", "0", 1)) == "ipa"
    assert study.tokens_of(Run("it", "ctc", "0.02", 1)) == "bpe"
    assert slices.pretraining(study, "ml")["text"]["de"]["espeak_voice"] == "de"
    assert "tokens" not in slices.pretraining(study, "en")
    assert slices.counting(study, "it")["phones"]["zero_shot"] == ["ctc_ipa"]
    made["inits"]["ml"] = {"name": "Multilingual", "path": "demo/inits/ml.nemo", "zero_shot": {}}
    study = Study(valid(made), ROOT)
    assert study.tokens_of(study.zero_shot_runs("it")[0]) == "own"


@pytest.mark.parametrize(
    ("arms", "contrasts", "says"),
    [
        (
            {},
            {"x": {"baseline": "ml", "challenger": "ml_ipa"}},
            r"contrasts\.x .*'ml', whose tokens are bpe.*are ipa: words of phones are other words",
        ),
        (
            {},
            {"x": {"baseline": "en", "challenger": "ml_char"}},
            r"contrasts\.x .*are char, and they differ in something else too: .*may_differ: \[tok",
        ),
        (
            {"again": {"init": "ml", "tokens": "bpe"}},
            {"x": CONTRASTS["tokens"]},
            r"arms\.ml and arms\.again are equal",
        ),
    ],
)
def test_a_contrast_of_tokens_is_of_tokens_alone(arms, contrasts, says):
    with pytest.raises(UserError, match=says):
        make(changed(arms=ARMS | arms, contrasts=contrasts))


def test_a_contrast_that_may_differ_in_tokens_is_said_to_do_so():
    named = {"baseline": "en", "challenger": "ml_char", "may_differ": ["tokens"]}
    study = make(changed(contrasts={"x": named, "tokens": CONTRASTS["tokens"]}))
    display = Display.of(slices.display(study))
    both, alone = display.contrasts
    assert display.about(alone) == ["tokens"]
    assert fairness.allowed(display, alone) == "the tokens that it writes"
    assert "tokens (bpe against char)" in sentences.differences(display, alone)
    assert fairness.confounded(display, alone) is None
    assert display.about(both) == ["init", "tokens"]
    assert "differ in init and tokens" in (fairness.confounded(display, both) or "")


def test_two_runs_of_such_a_contrast_may_differ_in_tokenizer_and_head_and_not_in_data():
    study = make(changed())
    display, recipe = Display.of(slices.display(study)), slices.recipe_of(study, "ml")
    run = {
        "input_digests": {"train_cuts": "a", "tokenizer": "b"},
        "start_digests": {"encoder": "c", "joint": "d"},
        "settings": recipe,
    }
    other = {
        "input_digests": {"train_cuts": "a", "tokenizer": "x"},
        "start_digests": {"encoder": "c", "joint": "y"},
        "settings": {**recipe, "tokens": "char"},
    }
    about = display.about(display.contrasts[1])
    pair = fairness.compare("it", run, other, about)
    assert pair.different == []
    assert pair.states["data"] == pair.states["start of encoder"] == "equal"
    assert fairness.compare("it", run, other, ["init"]).different == [
        *("tokenizer", "start of joint", "settings (tokens)"),
    ]
    heard_other = {**other, "input_digests": {"train_cuts": "z", "tokenizer": "x"}}
    assert fairness.compare("it", run, heard_other, about).different == ["data"]


def test_letters_of_characters_have_no_size_but_a_limit():
    made = changed()
    made["languages"]["it"]["text"]["alphabet"] = "".join(map(chr, range(0x4E00, 0x4E00 + 10_001)))
    made["languages"]["it"]["text"] |= {"examples": [], "numbers": None}
    made["tokenizer"]["vocab_size"] = 20_000
    says = r"training set it: tokens are char, .* 10001 letters, more than 10000"
    with pytest.raises(UserError, match=says):
        make(made)


def test_a_bundle_of_phones_is_refused():
    with pytest.raises(UserError, match=r"bundle\.arm is 'ml_ipa', whose tokens are ipa"):
        make(changed(bundle={"arm": "ml_ipa", "tier": "560ms", "precision": "int4"}))


def test_a_family_with_a_tokenizer_of_its_own_takes_no_other(monkeypatch):
    from dataclasses import replace

    from warmstart import models

    kind = replace(models.KINDS["fastconformer_ctc"], tokenizer="own")
    monkeypatch.setitem(models.KINDS, "fastconformer_ctc", kind)
    arms = ARMS | {"ctc": {"init": "ml", "family": "fastconformer_ctc"}}
    study = make(changed(arms=arms))
    assert study.arms["ctc"].tokens == "own"
    assert paths.tokenizers(study)["it", "bpe"] == ["en", "ml"]
    arms["ctc"]["tokens"] = "char"
    with pytest.raises(UserError, match=r"arms\.ctc\.tokens is 'char', .*remove it"):
        make(changed(arms=arms))


def test_what_made_tokenizers_cannot_write_is_said_and_refused_before_training(
    tmp_path, monkeypatch
):
    """The limit was lowered after the tokenizer was made."""
    monkeypatch.chdir(tmp_path)
    study = make(changed())
    assert notes.not_writable(study) == []
    folder = tmp_path / "results/tokenizers/it.char"
    folder.mkdir(parents=True)
    found = {"characters": 100, "unwritable": {"é": 3}}
    report = {"train": {"characters": 9, "unwritable": {}}, "tests": {"human": found}}
    (folder / "coverage.json").write_text(json.dumps(report), encoding="utf-8")
    (line,) = notes.not_writable(study)
    assert line == (
        "it, arm ml_char (tokens: char): test set human has 3 characters (3 %) that no hypothesis "
        "can contain: é 3"
    )
    strict = make(changed(tokenizer__unwritable_share_max=0.02))
    with pytest.raises(UserError, match=r"^it, arm ml_char .*unwritable_share_max = 0\.02"):
        checks.tokenizers.check_files(strict)
    checks.tokenizers.check_files(study)
    assert slices.tokenizer(strict, "it", "char") == slices.tokenizer(study, "it", "char")
    (folder / "coverage.json").write_text("{", encoding="utf-8")
    assert notes.not_writable(study) == []
