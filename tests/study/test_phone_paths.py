"""What of a study is about phones: files, settings and contrasts, and what is refused."""

import copy

import pytest
from test_arms import demo, make

from warmstart.run.errors import UserError
from warmstart.study import checks, config, paths, slices
from warmstart.study.grid import Study

ARMS = {
    "en": {"init": "en"},
    "ml": {"init": "ml"},
    "en_ipa": {"init": "en", "tokens": "ipa"},
    "ml_ipa": {"init": "ml", "tokens": "ipa", "training_sets": ["it"]},
}
CONTRASTS = {
    "phones": {"baseline": "en_ipa", "challenger": "ml_ipa"},
    "warm_start": {"baseline": "en", "challenger": "ml"},
}


def of_phones(**changes):
    return make(demo(**{"arms": ARMS, "contrasts": CONTRASTS, **changes}))


def test_hypotheses_of_phones_are_scored_by_themselves():
    study = of_phones()
    words = paths.hypotheses(study, "it", phones=False)
    phones = paths.hypotheses(study, "it", phones=True)
    assert {path.split("/")[3] for path in words} == {"en", "ml"}
    assert {path.split("/")[3] for path in phones} == {"en_ipa", "ml_ipa"}
    assert sorted(words + phones) == sorted(paths.hypotheses(study, "it"))
    assert "results/phone_scores/it.parquet" in paths.phone_scores(study)
    assert paths.phone_scores(make(demo())) == []
    assert paths.scores(study) == paths.scores(make(demo()))


def test_contrasts_of_phones_are_no_contrasts_of_the_tables_of_words():
    study = of_phones()
    settings, shown = slices.statistics(study), slices.display(study)
    for block in (settings, shown):
        assert list(block["contrasts"]) == ["warm_start"]
        assert block["phone_contrasts"] == {"phones": CONTRASTS["phones"]}
    assert "phone_contrasts" not in slices.statistics(make(demo()))


def test_a_study_without_words_is_refused():
    with pytest.raises(UserError, match=r"both arms of phones have tokens ipa.*add a contrast"):
        of_phones(contrasts={"phones": CONTRASTS["phones"]})


def with_languages(init, languages):
    made = demo()
    made["inits"] = copy.deepcopy(made["inits"])
    made["inits"][init]["languages"] = languages
    config.validate(made)
    return Study(made)


def test_languages_of_an_init_are_those_of_its_recipe_or_of_its_model_card():
    study = make(demo())
    assert study.pretraining_languages("en") == ("en",)
    assert slices.statistics(study)["heard"]["ml"] == ["en", "de", "es", "nl", "pl"]
    # The demo's donors lie in the checkout: their corpora are not made again for their text.
    assert paths.inventory_texts(study, "de") == []
    assert paths.inventory_texts(study, "it") == ["results/pools/it.jsonl.gz"]
    assert "results/phones/pl.json" in paths.inventories(study)
    with pytest.raises(UserError, match=r"inits\.en\.languages is \['en'\], but pretrain says"):
        checks.check(with_languages("en", ["en"]))


@pytest.mark.parametrize(
    ("said", "known"), [(None, None), ("unknown", None), ([], ()), (["en", "de"], ("en", "de"))]
)
def test_a_published_donor_has_the_languages_that_somebody_says(said, known):
    made = demo()
    made["inits"] = copy.deepcopy(made["inits"])
    for name in ("en", "ml"):
        del made["inits"][name]["pretrain"]
        made["inits"][name]["languages"] = said
    config.validate(made)
    study = Study(made)
    assert study.pretraining_languages("en") == known
    assert ("results/phones/de.json" in paths.inventories(study)) == ("de" in (known or ()))
