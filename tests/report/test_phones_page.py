"""The page of a study with models that write phones, and of one that knows no donor's languages."""

import json

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.report import DISPLAY, build
from made.tables import make_tables

ARMS = {
    **DISPLAY["arms"],
    "en_ipa": {"name": "English, phones", "init": "en"},
    "ml_ipa": {"name": "Multilingual, phones", "init": "ml"},
}
PHONES = {"of_phones": {"baseline": "en_ipa", "challenger": "ml_ipa"}}


def phone_scores(table):
    """Rows of phones from those of words."""
    found = table.assign(
        arm=table.arm + "_ipa", phones=table.ref_words, feature_errors=table.substitutions / 3
    )
    return found.assign(
        **{f"mapped_{kind}": np.nan for kind in ("substitutions", "deletions", "insertions")},
        speaker=None,
        empty=False,
        looping=False,
    )


@pytest.mark.slow
def test_phones_have_their_part_of_the_page_and_coverage_its_own(tmp_path):
    truth = Truth(hours=(100.0, 500.0), amplitude_pp=4.0)
    studies = {
        lang: score_table(truth, np.random.default_rng(place), lang)
        for place, lang in enumerate(("de", "fr", "it"))
    }
    extra = ["--phone-scores"]
    for lang, table in studies.items():
        phone_scores(table).to_parquet(tmp_path / f"{lang}.phones.parquet")
        extra.append(str(tmp_path / f"{lang}.phones.parquet"))
    extra.append("--phones")
    for lang in ("de", "fr", "it", "en", "pl"):
        phones = {"a": 99, "ʁ": 1} if lang in ("fr", "pl") else {"a": 9, "t": 1}
        about = {"lang": lang, "source": "text", "phones": phones}
        (tmp_path / f"{lang}.json").write_text(json.dumps(about), encoding="utf-8")
        extra.append(str(tmp_path / f"{lang}.json"))
    heard = {"en": ["en"], "ml": ["en", "pl"], "en_ipa": ["en"], "ml_ipa": ["en", "pl"]}
    tables = make_tables(tmp_path, studies, extra, heard=heard, phone_contrasts=PHONES)
    per = tables["per"]
    gaps = per[(per.arm == "gap") & (per.tier == "160ms") & (per.precision == "full")]
    at = gaps[(gaps.hours == 100) & (gaps.languages_as == "fixed")].iloc[0]
    assert at.gap_low_pp <= 4.0 <= at.gap_high_pp
    shown = DISPLAY | {"arms": ARMS, "phone_contrasts": PHONES}
    page = build(tmp_path, tmp_path / "tables", display=shown)
    assert "Phone error rates" in page
    assert "English, phones − Multilingual, phones" in page
    assert "Does the start know the sounds?" in page
    assert "3 of at least 5 languages" in page
    assert "ʁ" in page


@pytest.mark.slow
def test_a_study_without_phones_says_so(tmp_path):
    studies = {"de": score_table(Truth(hours=(100.0,)), np.random.default_rng(1), "de")}
    make_tables(tmp_path, studies)
    page = build(tmp_path, tmp_path / "tables")
    assert "No model of the study writes phones" in page
    assert "Not stated: nobody has counted phones of de" in page
