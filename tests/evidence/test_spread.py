"""Who loses: worst third and spread over languages, by hand and from planted studies."""

import dataclasses
import math

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.tables import make_tables

from warmstart.evidence.analyses import spread
from warmstart.evidence.intervals import Draws

FLOORS = {"de": 6.0, "fr": 8.0, "it": 10.0, "pl": 20.0}


def rate(value, sd=0.0, seed=0):
    """An estimate with normal replicates."""
    block = np.random.default_rng(seed).normal(0.0, sd, 4000)
    return Draws(value, block, np.zeros(4000), block_df=200, seed_df=0)


def test_worst_third_and_spread_by_hand():
    have = {lang: rate(value) for lang, value in (("a", 3.0), ("b", 5.0), ("c", 10.0), ("d", 6.0))}
    worst, sd, langs = spread._summaries(have)
    # A third of four, rounded up, are two: 10 and 6.
    assert langs == ["c", "d"]
    assert worst.value == pytest.approx(8.0)
    assert sd.value == pytest.approx(np.std([3, 5, 10, 6], ddof=1))


def test_noise_of_the_test_sets_is_no_spread_of_languages():
    # Four languages that are alike, seen through noise of 1 pp.
    draw = np.random.default_rng(1)
    found = []
    for _ in range(200):
        values = 10 + draw.normal(0, 1, 8)
        have = {str(n): rate(value, 1.0, n) for n, value in enumerate(values)}
        found.append(spread._summaries(have)[1].value ** 2)
    # Uncorrected, the mean variance is 1.
    assert np.mean(found) < 0.4


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four languages of which one is far worse; the challenger narrows nothing but the gap."""
    random = np.random.default_rng(4)
    truth = Truth(hours=(100.0, 500.0), wer_slope=0.0, speakers=120)
    studies = {
        lang: score_table(dataclasses.replace(truth, wer_floor=floor), random, lang)
        for lang, floor in FLOORS.items()
    }
    return make_tables(tmp_path_factory.mktemp("spread"), studies)["spread"]


def test_the_worst_languages_are_named_and_their_mean_is_right(table):
    rows = table[(table.arm == "ml") & (table.hours == 500) & (table.tier == "160ms")]
    row = rows[rows.precision == "full"].iloc[0]
    assert row.worst == "pl it"
    assert row.worst_third_low_pct <= 15.0 <= row.worst_third_high_pct
    # 6.2, with a standard error of 0.3.
    assert row.sd_pp == pytest.approx(np.std(list(FLOORS.values()), ddof=1), abs=1.0)
    assert row.sd_low_pp < row.sd_pp < row.sd_high_pp


def test_a_contrast_says_by_how_much_the_worst_are_helped(table):
    rows = table[(table.arm == "gap") & (table.hours == 100) & (table.tier == "160ms")]
    row = rows[rows.precision == "full"].iloc[0]
    # All languages have the same gap, so the worst third gains it and the spread stays.
    assert row.contrast == "warm_start"
    assert row.worst_third_low_pct <= 4.21 <= row.worst_third_high_pct
    assert row.sd_low_pp <= 0 <= row.sd_high_pp


@pytest.mark.parametrize(
    ("langs", "speakers", "status"),
    [
        (("de", "fr"), 20, "2 language(s), a spread needs 3"),
        (("de", "fr", "it"), 1, "fewer than two blocks in de, fr, it"),
    ],
)
def test_what_cannot_be_known_is_not_said(tmp_path, langs, speakers, status):
    truth = Truth(hours=(100.0,), speakers=speakers)
    studies = {lang: score_table(truth, np.random.default_rng(1), lang) for lang in langs}
    table = make_tables(tmp_path, studies)["spread"]
    assert len(table)
    assert table.status.str.contains(status, regex=False).all()
    assert table.worst_third_pct.isna().all()
    assert math.isnan(table.sd_pp.iloc[0])
