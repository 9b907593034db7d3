"""Candidates that a study asks for: none by default, and no more than there are tokens."""

import pytest
import yaml
from conftest import ROOT

from warmstart.run.errors import UserError
from warmstart.study import checks, config, paths, slices, stages
from warmstart.study.grid import Study


def study(asked=None, zero_shot=False):
    made = yaml.safe_load((ROOT / "demo.yaml").read_text(encoding="utf-8"))
    if asked is not None:
        made["decoding"]["log_candidates"] = asked
    if zero_shot:
        del made["inits"]["ml"]["pretrain"]
        made["inits"]["ml"]["zero_shot"] = {}
    config.validate(made)
    return Study(made, ROOT)


def test_a_study_that_does_not_ask_has_the_settings_and_files_of_before():
    for one in (study(), study(0)):
        settings = stages.canonical("decode", slices.decoding(one, "full"))
        assert "log_candidates" not in settings
        assert paths.counted_candidates(one) == []


def test_one_that_asks_has_them_in_every_language():
    one = study(20)
    assert stages.canonical("decode", slices.decoding(one, "int4"))["log_candidates"] == 20
    assert paths.counted_candidates(one) == [
        f"results/candidates/{lang}.parquet" for lang in ("it", "fr")
    ]
    assert paths.candidates("a/fleurs.jsonl") == "a/fleurs.candidates.parquet"


def test_more_than_there_are_tokens_is_refused_where_that_is_known():
    checks.check(study(64))
    says = r"log_candidates is 65, and tokenizers have tokenizer.vocab_size = 64 tokens: lower it"
    with pytest.raises(UserError, match=says):
        checks.check(study(65))
    # A donor that is decoded as it is has a vocabulary of its own.
    checks.check(study(65, zero_shot=True))
