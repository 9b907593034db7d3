"""What is asked to be understood: its jobs, its settings, its faults, and nothing unless it is
asked."""

import copy
import json

import pytest
from conftest import ROOT

from warmstart.run.errors import UserError
from warmstart.study import checks, config, paths, understanding
from warmstart.study.grid import Study

TOPICS = {"human": {"labels": "labels/{code}.tsv", "train_split": "train"}}


def demo(**block) -> dict:
    """The demo's configuration, asked for topics of its human prompts."""
    made = config.load_config(ROOT / "demo.yaml")
    made["support_languages"]["en"]["corpora"]["human"] = "en"
    made["understanding"] = {"topics": copy.deepcopy(TOPICS), **block}
    return made


def make(made: dict, base=ROOT) -> Study:
    config.validate(made)
    study = Study(made, base)
    checks.check(study)
    return study


def test_a_study_that_does_not_ask_has_none_of_it():
    study = make(config.load_config(ROOT / "demo.yaml"))
    assert understanding.languages(study) == []
    assert paths.learnt_manifests(study, "it") == {}


def test_what_a_language_is_asked_follows_from_its_test_sets_and_codes():
    made = demo(
        questions={"same_voices": {"table": "q_{lang}.jsonl", "codes": {"fr": "fra"}}},
        probe={"sources": ["en"]},
    )
    made["understanding"]["topics"]["human"]["codes"] = {"it": "ita_Latn", "en": "eng_Latn"}
    study = make(made)
    assert understanding.languages(study) == ["it", "fr"]
    italian = understanding.settings(study, "it")
    assert italian["labels"] == {
        "human": {
            "it": f"{ROOT}/labels/ita_Latn.tsv",
            "en": f"{ROOT}/labels/eng_Latn.tsv",
        }
    }
    assert italian["train"]["human"]["en"] == "results/manifests/human/en/train.jsonl.gz"
    assert italian["states"]["ml"] == {
        "it": "results/probes/ml/it.parquet",
        "en": "results/probes/ml/en.parquet",
    }
    # The tier that hears most.
    assert italian["tiers"] == {"en": "offline", "ml": "offline"}
    assert set(italian["texts"]) == {"it", "en"}
    json.dumps(italian)
    french = understanding.settings(study, "fr")
    assert french["labels"] == french["states"] == {}
    assert french["questions"] == {"same_voices": f"{ROOT}/q_fr.jsonl"}
    # English lends its training sentences, and nothing is asked of it.
    assert list(understanding.heard(study, "en")) == ["human/train"]
    assert list(understanding.heard(study, "it")) == ["human/train", "human/test"]
    assert "results/manifests/human/it/train.jsonl.gz" in paths.manifests(study, "it")


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"topics": {"humans": {"labels": "x"}}}, "did you mean 'human'"),
        ({"topics": {"human": {"labels": "x", "codes": {"xx": "y"}}}}, "codes has 'xx'"),
        ({"topics": {"human": {"labels": "x", "codes": {"en": "y"}}}}, "no language of its"),
        ({"topics": {"human": {"labels": "x", "train_split": "test"}}}, "of the test set itself"),
        ({"topics": {"same_voices": {"labels": "x", "train_split": "no"}}}, "train_split has 'no'"),
        ({"topics": {"human": {"labels": "x"}}, "probe": {}}, "needs recordings to learn from"),
        ({"topics": TOPICS, "probe": {"sources": ["de"]}}, "has 'de', which has no recordings"),
        ({"topics": TOPICS, "probes": {}}, "probes"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_dry_run(block, says):
    made = demo()
    made["understanding"] = copy.deepcopy(block)
    with pytest.raises(UserError, match=says):
        make(made)


def test_a_family_that_gives_no_states_is_not_probed(monkeypatch):
    made = demo(probe={})
    made["arms"] = {name: {"init": name, "family": "fastconformer_ctc"} for name in ("en", "ml")}
    made["bundle"] = None
    from warmstart import models

    kind = models.KINDS["fastconformer_ctc"]
    monkeypatch.setitem(
        models.KINDS, "fastconformer_ctc", models.Kind(**{**vars(kind), "probes": False})
    )
    with pytest.raises(UserError, match=r"understanding\.probe: family fastconformer_ctc does not"):
        make(made)


def test_tables_and_splits_are_looked_for_before_anything_runs(tmp_path):
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    study = make(demo(), tmp_path)
    with pytest.raises(UserError, match=r"topics\.human, it: .*it\.tsv: no such table"):
        checks.understanding.check_files(study)
    (tmp_path / "labels").mkdir()
    for lang in ("it", "fr"):
        (tmp_path / "labels" / f"{lang}.tsv").write_text("path\ttopic\nx.flac\ty\n")
    checks.understanding.check_files(study)
    (tmp_path / "labels" / "fr.tsv").write_text("path\ttheme\nx.flac\ty\n")
    with pytest.raises(UserError, match="no column category or topic"):
        checks.understanding.check_files(study)


def test_a_language_without_training_corpora_has_manifests():
    """`make inits` reads such languages."""
    study = make(config.load_config(ROOT / "demo.yaml"))
    assert paths.training_manifests(study, "en") == {}
    assert paths.used_splits(study, "pretraining", "en") == []
