"""Coverage of phones beside the gap: by hand, and on a planted study."""

import dataclasses
import json
import math

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.tables import make_tables

from warmstart.evidence.analyses import phone_coverage

HEARD = {"en": ["en"], "ml": ["en", "xx"]}
# English has a to c, the other language d and e too; what a language says beyond that nobody has.
SOUNDS = {"en": dict.fromkeys("abc", 10), "xx": dict.fromkeys("de", 10)}


def rows(gains, gaps, recognition="ok"):
    return [
        {"status": "ok", "coverage_gain_pp": gain, "gap_pp": gap, "recognition": recognition}
        for gain, gap in zip(gains, gaps, strict=True)
    ]


def test_rank_correlation_and_its_interval_by_hand():
    found = phone_coverage._correlation(rows([1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 60, 50]), 0.95)
    # Two neighbours change places: 1 - 6 * 2 / (6 * 35).
    rank = 1 - 12 / 210
    half = 1.959964 * math.sqrt((1 + rank**2 / 2) / 3)
    assert found["spearman"] == pytest.approx(rank)
    assert found["spearman_low"] == pytest.approx(math.tanh(math.atanh(rank) - half), abs=1e-6)
    assert found["spearman_high"] == pytest.approx(math.tanh(math.atanh(rank) + half), abs=1e-6)
    assert (found["languages"], found["status"]) == (6, "ok")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (rows([1, 2, 3, 4], [1, 2, 4, 3]), "4 of at least 5 languages"),
        (
            rows([1, 2, 3, 4], [1, 2, 4, 3]) + rows([5], [9], "not recognising: ml"),
            "4 of at least 5 languages, and 1 more do not recognise",
        ),
        (rows([1] * 6, range(6)), "the same in all languages"),
        (rows(range(6), range(6)), "all ranks agree"),
        ([], "0 of at least 5 languages"),
    ],
)
def test_what_cannot_be_known_of_a_correlation_is_not_said(given, why):
    found = phone_coverage._correlation(given, 0.95)
    assert found["status"].startswith(f"not estimable: {why}")
    assert math.isnan(found.get("spearman_low", math.nan))


def tables(folder, langs, heard):
    """A study in which the gap grows with what the challenger covers more."""
    random, studies, files = np.random.default_rng(3), {}, []
    sounds = dict(SOUNDS)
    for place, lang in enumerate(langs):
        # Of 100 tokens place * 10 are d, which English lacks; one in 100 is nobody's.
        sounds[lang] = {"a": 99 - 10 * place, "d": 10 * place, "ʘ": 1}
        truth = Truth(hours=(100.0,), amplitude_pp=1.0 + 2 * place, speakers=120)
        studies[lang] = score_table(dataclasses.replace(truth), random, lang)
    for lang, phones in sounds.items():
        source = "text" if lang in langs else "numbers"
        about = {"lang": lang, "source": source, "phones": phones}
        files.append(folder / f"{lang}.json")
        files[-1].write_text(json.dumps(about), encoding="utf-8")
    extra = ["--phones", *map(str, files)]
    return make_tables(folder, studies, extra, heard=heard)["phone_coverage"]


@pytest.mark.slow
def test_coverage_stands_beside_the_gap_and_its_correlation_below(tmp_path):
    table = tables(tmp_path, ["de", "fr", "it", "pl", "nl", "es"], HEARD)
    assert set(table.contrast) == {"warm_start"}
    polish = table[table.lang == "pl"].iloc[0]
    assert polish.coverage_baseline_pct == pytest.approx(69.0)
    assert polish.coverage_challenger_pct == pytest.approx(99.0)
    assert polish.coverage_gain_pp == pytest.approx(30.0)
    assert (polish.missing_baseline, polish.missing_challenger) == ("d ʘ", "ʘ")
    assert (polish.phone_types, polish.from_numbers) == (3, "en xx")
    assert polish.gap_low_pp < 7 < polish.gap_high_pp
    pooled = table[table.lang == "pooled"].iloc[0]
    assert pooled.languages == 6
    assert pooled.spearman > 0.8


@pytest.mark.slow
def test_two_languages_have_coverage_and_no_correlation(tmp_path):
    table = tables(tmp_path, ["de", "fr"], HEARD)
    assert (table[table.lang != "pooled"].status == "ok").all()
    pooled = table[table.lang == "pooled"].iloc[0]
    assert pooled.status == "not estimable: 2 of at least 5 languages"


@pytest.mark.slow
def test_nobody_knows_what_a_donor_heard(tmp_path):
    table = tables(tmp_path, ["de"], {"en": ["en"], "ml": None})
    row = table.iloc[0]
    assert row.status == "not estimable: nobody has said which languages ml was pretrained on"
    assert row.coverage_baseline_pct == pytest.approx(99.0)
    assert math.isnan(row.coverage_challenger_pct)
    missing = tables(tmp_path, ["de"], {"en": ["en"], "ml": ["zz"]}).iloc[0]
    assert missing.status == "not estimable: nobody has counted phones of zz"
