"""What a study may ask of models that know languages, and of those that do not."""

import re

import pytest
from made.studies import smoke_config

from warmstart import models
from warmstart.models import open_family
from warmstart.run.errors import UserError
from warmstart.study import checks
from warmstart.study.config import validate
from warmstart.study.grid import Study


def checked(change):
    config = smoke_config()
    change(config)
    validate(config)
    checks.check(Study(config))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda made: made["tiers"]["offline"].update({"language": "detected"}),
            "tiers.offline.language is 'detected', and models of family fastconformer_rnnt know "
            "nothing of languages and windows; give its arms tiers without it; families that do: "
            "whisper",
        ),
        (
            lambda made: made["tiers"]["offline"].update({"window_s": 8}),
            "tiers.offline.window_s is 8",
        ),
        (
            lambda made: made["tiers"]["560ms"].update({"language": "detected"}),
            "tiers.560ms.language is 'detected', and the tier streams",
        ),
        (
            lambda made: made.update(
                arms={"en": {"init": "en", "training": {"model": {"window_s": 8}}}}
            ),
            "arms.en.training.model has window_s, which models of family fastconformer_rnnt do",
        ),
    ],
    ids=["detected", "window", "streams", "arm"],
)
def test_what_a_family_does_not_know_is_refused(change, said):
    with pytest.raises(UserError, match=re.escape(said)):
        checked(change)


def test_tiers_that_differ_in_the_language_are_two():
    offline = smoke_config()["tiers"]["offline"]
    config = smoke_config()
    config["tiers"]["detected"] = {**offline, "language": "detected"}
    config["tiers"]["same"] = {**offline, "language": "given"}
    validate(config)
    with pytest.raises(UserError, match=r"tiers\.offline and tiers\.same are one"):
        checks.check(Study(config))
    study = Study(config)
    assert study.tiers["detected"].as_text().endswith(":offline:detected")
    assert "language" not in study.tiers["same"].as_json(), "a default is in no fingerprint"


def test_before_a_donor_is_here_its_languages_are_those_of_published_ones():
    family = open_family("whisper")
    family.check_languages(["it", "yue", "haw"], None, None)
    with pytest.raises(UserError, match=r"language ky; .*inits.<name>.zero_shot.prompts: \{ky: C"):
        family.check_languages(["it", "ky"], None, None)
    borrowing = {"model": {"language_tokens": {"ky": "kk"}}}
    family.check_languages(["ky"], borrowing, None)
    with pytest.raises(UserError, match=r"ky, which shall hear as kkk \(did you mean 'kk'\?\)"):
        family.check_languages(["ky"], {"model": {"language_tokens": {"ky": "kkk"}}}, None)


def test_what_one_family_adds_others_do_not_have():
    """A family of somebody else's too, which names nothing of it."""
    asked = ["contexts", "pred_hidden", "window_s"]
    assert models.foreign_settings("whisper", asked) == ["contexts", "pred_hidden"]
    assert models.foreign_settings("fastconformer_rnnt", asked) == ["window_s"]
    assert models.foreign_settings("made.own_tokens:KIND", asked) == ["window_s"]
