"""The analysis `experts`, asked for what was planted."""

import math

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.tables import make_tables

from warmstart.evidence import analyses
from warmstart.evidence.analyses import experts
from warmstart.evidence.display import Display
from warmstart.evidence.settings import Settings

pytestmark = pytest.mark.slow

LANGS = ("fr", "it")
WER = 14.0  # of the fused model: 8 and 6 points at 100 h
GAP = 4.0
EXPERTS = {
    "arms": {"fused": ["full", "lora"]},
    "standard": {"fused": "full"},
    "untouched": {"fused": "full"},
    "oracle": [
        {
            **{"training_set": "pooled", "arm": "fused", "hours": 100.0, "lang": lang},
            "expert": {"training_set": lang, "arm": "lora", "hours": 100.0},
        }
        for lang in LANGS
    ],
}
CHOSEN = {
    "contrasts": {"experts": {"baseline": "full", "challenger": "fused"}},
    "targets": {"pooled": list(LANGS), **{lang: [lang] for lang in LANGS}},
    "tier_margin_pp": 0.5,
    "threshold_pp": 0.5,
    "experts": EXPERTS,
}


def study(lang, seed):
    """Fused and fine-tuned on the pooled data, the expert on its language, the donor as it is."""
    truth = Truth(
        arms=(("full", 1.0), ("fused", 0.0), ("lora", 0.0), ("expert", -0.5)),
        **{"amplitude_pp": GAP, "hours": (100.0,), "speakers": 120},
        **{"tiers": ("160ms",), "tier_gap_pp": (0.0,)},
    )
    made = score_table(truth, np.random.default_rng(seed), lang, "fleurs", "pooled")
    expert = made.arm == "expert"
    zero = made[(made.arm == "full") & (made.precision == "full")]
    return pd.concat(
        [
            made[~expert],
            made[expert].assign(training_set=lang, arm="lora"),
            zero.assign(training_set=lang, hours=0.0),
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    studies = {lang: study(lang, seed) for seed, lang in enumerate(LANGS, start=5)}
    return make_tables(folder, studies, **CHOSEN)


def row(table, against, lang="mean"):
    found = table["experts"]
    found = found[(found.against == against) & (found.lang == lang) & (found.precision == "full")]
    (one,) = found.itertuples()
    return one


def test_the_planted_change_is_found_in_points_and_in_percent(table):
    one = row(table, "full")
    assert bool(one.standard)
    assert (one.training_set, one.arm, one.hours) == ("pooled", "fused", 100.0)
    assert one.change_low_pp < -GAP < one.change_high_pp
    assert one.relative_low_pct < -100 * GAP / (WER + GAP) < one.relative_high_pct
    assert one.relative_high_pct < 0
    assert one.relative_pct == pytest.approx(-22.2, abs=2.5)
    assert (one.verdict, one.status, one.relative_status) == ("better", "ok", "ok")


def test_a_language_is_the_ratio_of_its_two_rates(table):
    for lang in LANGS:
        one = row(table, "full", lang)
        assert one.relative_pct == pytest.approx(
            100 * (one.wer_pct / one.wer_against_pct - 1), abs=1e-3
        )
        assert one.change_pp == pytest.approx(one.wer_pct - one.wer_against_pct, abs=1e-3)
    both = [1 + row(table, "full", lang).relative_pct / 100 for lang in LANGS]
    mean = row(table, "full").relative_pct
    assert mean == pytest.approx(100 * (math.sqrt(both[0] * both[1]) - 1), abs=1e-3), (
        "the geometric mean"
    )


def test_the_interval_is_narrower_than_that_of_unpaired_rates(table):
    """Speakers are hard for both models alike."""
    one, wer = row(table, "full", "it"), table["wer"]
    rates = wer[(wer.lang == "it") & (wer.training_set == "pooled") & (wer.tier == "160ms")]
    rates = rates[rates.precision == "full"].set_index("arm")
    widths = (rates.wer_high_pct - rates.wer_low_pct)[["full", "fused"]]
    unpaired = math.sqrt((widths**2).sum())
    assert one.change_high_pp - one.change_low_pp < 0.8 * unpaired


def test_an_equal_arm_is_equivalent_and_the_oracle_better(table):
    equal = row(table, "lora")
    assert equal.relative_low_pct < 0 < equal.relative_high_pct
    assert not bool(equal.standard)
    assert equal.verdict in ("equivalent", "not decided")
    oracle = row(table, "oracle")
    # The experts have half of the gap less than the fused model: 14 against 12.
    assert oracle.relative_low_pct < 100 * 2 / 12 < oracle.relative_high_pct
    assert oracle.verdict == "worse"


def test_the_donor_as_it_is_stands_beside(table):
    one = row(table, "untouched", "fr")
    assert one.wer_against_pct == pytest.approx(row(table, "full", "fr").wer_against_pct), (
        "planted as the fine-tuned one"
    )


def test_the_mean_is_of_the_same_pairs_and_no_error_has_no_ratio(tmp_path):
    studies = {"it": study("it", 5)}
    none = studies["it"]
    fused = none.arm == "fused"
    none.loc[fused, ["substitutions", "char_substitutions"]] = 0
    none.loc[fused, "hits"] = none.ref_words
    made = make_tables(tmp_path, studies, **CHOSEN)
    found = made["experts"]
    assert set(found.lang) == {"it"}, "no mean of one language"
    assert set(found.relative_status) == {"not estimable: no errors"}
    assert found.relative_pct.isna().all()
    assert (found[found.against == "full"].change_pp < 0).all()


def test_what_does_not_recognise_has_no_verdict(tmp_path):
    wrong = study("it", 5)
    wrong = wrong.assign(substitutions=wrong.ref_words, hits=0)
    made = make_tables(tmp_path, {"it": wrong}, **CHOSEN)
    assert set(made["experts"].verdict) == {"not decided: systems do not recognise"}


def test_a_study_without_such_arms_has_an_empty_table_and_says_so(tmp_path):
    chosen = {key: value for key, value in CHOSEN.items() if key != "experts"}
    made = make_tables(tmp_path, {"it": study("it", 5)}, **chosen)
    assert made["experts"].empty
    said = analyses.load("experts").absent(made, None, None)
    assert said == "No arm of the study is made of language experts."


def test_the_figure_and_the_sheet_are_made(table):
    from warmstart.evidence import plotting
    from warmstart.evidence.analyses import base

    display = Display.of(
        {
            "study": {"name": "toy", "title": "Toy"},
            "statistics": {
                **{"replicates": 800, "confidence": 0.95, "seed": 1},
                **{"headline_test_set": "fleurs", "reference_tier": "160ms"},
                **{"tier_margin_pp": 0.5, "threshold_pp": 0.5},
            },
            "contrasts": CHOSEN["contrasts"],
            "languages": {"it": "Italian", "fr": "French"},
            "targets": list(LANGS),
            "training_sets": {
                "pooled": {"name": "Both", "languages": list(LANGS)},
                **{lang: {"name": lang, "languages": [lang]} for lang in LANGS},
            },
            "arms": {name: {"name": name, "init": "w"} for name in ("full", "lora", "fused")},
            "tiers": ["160ms"],
            "test_sets": ["fleurs"],
        }
    )
    analysis = analyses.load("experts")
    with plotting.style():
        figure = experts.draw(base.Material(table), display, None)
    (axis,) = [one for one in figure.axes if one.get_title(loc="left")]
    assert axis.get_title(loc="left") == "Both, fleurs, 160 ms"
    assert axis.get_ylabel() == "WER against full (%)"
    shown = analysis.sheet(table, display, None)
    assert "the experts themselves" in str(shown)
    assert analysis.absent(table, display, None) == ""
    assert Settings.of({**CHOSEN, **_WHOLE}).experts.untouched == {"fused": "full"}


_WHOLE = {
    **{"replicates": 800, "confidence": 0.95, "seed": 1},
    **{"headline_test_set": "fleurs", "reference_tier": "160ms"},
}
