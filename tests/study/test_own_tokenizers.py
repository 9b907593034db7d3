"""Models that bring their tokenizer get none from their training set."""

import importlib
import re

import pytest
from made.programs import SCRIPTS
from made.studies import smoke_config

from warmstart.run.errors import UserError
from warmstart.study import checks, paths
from warmstart.study.config import validate
from warmstart.study.grid import Study


def study(families):
    config = smoke_config()
    for name in ("base", "small"):
        config["inits"][name] = {"name": name, "path": f"{name}.safetensors"}
    config["arms"] = {
        name: {"init": name, "family": family, "tiers": ["offline"], "precisions": ["full"]}
        for name, family in families.items()
    }
    config["contrasts"] = {"one": dict(zip(("baseline", "challenger"), families, strict=True))}
    config["bundle"] = None
    config["statistics"] |= {"reference_tier": "offline", "baseline": None, "challenger": None}
    config["tokenizer"] = {"vocab_size": 64}
    if set(families.values()) == {"whisper"}:
        del config["tokenizer"]["vocab_size"]
    validate(config)
    return Study(config)


def test_no_tokenizer_is_trained_for_them():
    whispers = study({"base": "whisper", "small": "whisper"})
    checks.check(whispers)
    assert paths.tokenizers(whispers) == {}
    assert paths.tokenizers_of(whispers, "it", "own") == {}


def test_other_arms_of_the_study_have_theirs():
    mixed = study({"base": "whisper", "en": "fastconformer_rnnt"})
    assert set(paths.tokenizers(mixed)) == {(name, "bpe") for name in mixed.training_sets}
    assert {arm for arms in paths.tokenizers(mixed).values() for arm in arms} == {"en"}


def test_a_training_that_needs_one_says_so(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    train = importlib.import_module("train")
    arguments = ["--train-cuts", "x", "--init", "y", "--run", "it/en/1h/seed1", "--tokenizer"]
    arguments += ["--settings", "{}", "--run-dir", "it/en/1h/seed1", "--output", "it/en/1h/seed1/z"]
    said = "--tokenizer: models of family fastconformer_rnnt write tokens of their training set"
    with pytest.raises(UserError, match=re.escape(said)):
        train.main(arguments)
