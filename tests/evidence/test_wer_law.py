"""The law of the WER: planted laws come back, and what cannot be known is not said."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from made.planted import Truth, score_table
from made.tables import make_tables

from warmstart.evidence import learning_curves
from warmstart.evidence.analyses import wer_law
from warmstart.evidence.learning_curves import Law, Points

TRUTH = Truth(
    hours=(100.0, 250.0, 500.0, 1000.0, 2500.0), wer_floor=5.0, wer_slope=9.0, speakers=250
)


def planted_pct(hours: float) -> float:
    """The WER of the challenger in `TRUTH`: 5 + 9·(h/100)^−0.4."""
    return 5.0 + 9.0 * (hours / 100) ** -0.4


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Laws of a planted study of three languages, one of them with two budgets."""
    random = np.random.default_rng(11)
    few = dataclasses.replace(TRUTH, hours=(100.0, 250.0))
    studies = {"de": TRUTH, "fr": TRUTH, "it": few}
    tables = make_tables(
        tmp_path_factory.mktemp("law"),
        {lang: score_table(truth, random, lang) for lang, truth in studies.items()},
        wer_targets_pct=[12, 8, 4],
        forecast_hours=[300, 5000],
    )
    return tables["wer_law"].query("arm == 'ml' and tier == '160ms'")


def test_what_nobody_trained_is_foretold(table):
    for lang in ("de", "fr"):
        rows = table[(table.lang == lang) & (table.asked == "wer_at_hours")]
        for hours in (300.0, 5000.0):
            row = rows[rows.asked_hours == hours].iloc[0]
            assert row.wer_low_pct <= planted_pct(hours) <= row.wer_high_pct
            assert row.wer_pct == pytest.approx(planted_pct(hours), abs=0.8)
        assert set(rows[rows.asked_hours > 2500].beyond) == {"above"}
        assert rows[rows.asked_hours <= 2500].beyond.isna().all()


def test_the_hours_of_a_wer_come_back_and_below_the_floor_there_are_none(table):
    de = table[(table.lang == "de") & (table.asked == "hours_for_wer")].set_index("asked_wer_pct")
    # 8 = 5 + 9·(h/100)^−0.4 at h = 100·3^2.5.
    assert de.needed_low_hours[8] <= 100 * 3**2.5 <= de.needed_high_hours[8]
    # 4 lies under the floor of 5.
    assert math.isinf(de.needed_high_hours[4])
    assert de.needed_low_hours[4] > 2500
    assert de.beyond[4] == "above"


def test_two_budgets_borrow_the_shape_and_are_less_sure(table):
    widths = {}
    for lang in ("de", "it"):
        row = table[
            (table.lang == lang) & (table.asked == "wer_at_hours") & (table.asked_hours == 5000)
        ].iloc[0]
        assert row.wer_low_pct <= planted_pct(5000) <= row.wer_high_pct
        widths[lang] = row.wer_high_pct - row.wer_low_pct
    assert widths["it"] > widths["de"]


def test_the_next_doubling_is_stated(table):
    row = table[(table.lang == "de") & (table.asked == "law")].iloc[0]
    truth = planted_pct(5000) - planted_pct(2500)
    assert row.doubling_low_pp <= truth <= row.doubling_high_pp < 0.1
    assert row.status == "ok"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"hours": (100.0,)}, "one budget, a law needs two"),
        ({"hours": (100.0, 250.0)}, "no language has three budgets"),
        (
            {"wer_floor": 93.0, "wer_slope": 0.0, "speaker_sd": 0.0, "private_sd": 0.0},
            "models do not recognise at 5 of 5 budgets",
        ),
        ({"wer_slope": -3.0, "wer_floor": 20.0}, "WER does not fall"),
        ({"speakers": 1}, "fewer than two blocks"),
    ],
)
def test_what_cannot_be_known_is_not_said(tmp_path, change, status):
    truth = dataclasses.replace(TRUTH, **change)
    studies = {
        lang: score_table(truth, np.random.default_rng(2), lang) for lang in ("de", "fr", "it")
    }
    rows = make_tables(tmp_path, studies)["wer_law"].query("arm == 'ml'")
    assert set(rows.asked) == {"law"}
    assert status in rows[rows.lang == "de"].status.iloc[0]
    numbers = [name for name in rows if name.startswith(("wer_", "needed_", "floor_", "exponent_"))]
    assert rows[numbers].isna().all(axis=None)


def exact(hours, wer_pct, sd_pp):
    """Points with independent errors, of one seed each."""
    count = len(hours)
    return Points(
        hours=np.array(hours, float),
        wer_pct=np.array(wer_pct, float),
        covariance=np.eye(count) * sd_pp**2,
        block_df=1000,
        seeds=np.ones(count, int),
        seed_variance=np.zeros(count),
        seed_residual=np.zeros(count),
    )


def test_a_law_without_noise_is_found_to_the_width_of_the_grid():
    hours = [100, 200, 400, 800, 1600, 3200]
    series = exact(hours, [2 + 10 * (h / 100) ** -0.7 for h in hours], 1e-3)
    law = learning_curves.fit({"xx": series}, np.random.default_rng(1))
    assert np.median(law.exponent["xx"]) == pytest.approx(0.7, rel=0.1)
    assert np.median(law.wer_pct("xx", 6400)) == pytest.approx(2 + 10 * 64**-0.7, rel=0.02)
    assert np.median(law.floor_pct("xx")) == pytest.approx(2, abs=0.4)


def test_points_off_every_curve_tell_of_noise_of_training():
    hours = [100, 200, 400, 800, 1600]
    smooth = np.array([4 + 8 * (h / 100) ** -0.5 for h in hours])
    jagged = smooth * [1.06, 0.93, 1.07, 0.94, 1.05]
    noise = {
        name: np.median(learning_curves.fit({"xx": exact(hours, wer, 0.02)}, random).noise)
        for name, wer, random in (
            ("smooth", smooth, np.random.default_rng(1)),
            ("jagged", jagged, np.random.default_rng(1)),
        )
    }
    assert noise["smooth"] <= 0.01
    assert noise["jagged"] >= 0.04


def test_seeds_that_differ_tell_of_noise_of_training():
    hours = [100.0, 400.0, 1600.0]
    points = exact(hours, [10.0, 8.0, 7.0], 0.01)
    # Three seeds a point, with a standard deviation of 8 % of the WER.
    spread = dataclasses.replace(
        points, seeds=np.full(3, 3), seed_variance=(0.08 * points.wer_pct) ** 2
    )
    law = learning_curves.fit({"xx": spread}, np.random.default_rng(1))
    assert 0.04 <= np.median(law.noise) <= 0.16


def test_hours_for_a_wer_by_hand():
    one = np.ones(1)
    law = Law(
        100.0,
        {"xx": 12 * one},
        {"xx": one / 3},
        {"xx": one / 2},
        0 * one,
        (one, one, one),
        one,
        1.0,
    )
    # 12·(1/3 + 2/3·(h/100)^−½): 8 % at h = 400, 4 % never.
    assert law.hours_to("xx", 8)[0] == pytest.approx(400)
    assert law.wer_pct("xx", 400)[0] == pytest.approx(8)
    assert math.isinf(law.hours_to("xx", 4)[0])


def test_exponent_and_floor_are_told_where_the_data_decide_for_a_floor(table, tmp_path):
    row = table[(table.lang == "de") & (table.asked == "law")].iloc[0]
    assert row.floor_bayes_factor > learning_curves.DECIDED
    assert row.floor_says == "ok"
    assert row.exponent_low_b <= 0.4 <= row.exponent_high_b
    assert row.floor_low_pct <= 5 <= row.floor_high_pct
    # Three budgets of few readers say nothing of it, and WERs are told all the same.
    few = dataclasses.replace(TRUTH, hours=(100.0, 250.0, 500.0), speakers=6)
    scores = {lang: score_table(few, np.random.default_rng(3), lang) for lang in ("de", "fr")}
    rows = make_tables(tmp_path, scores)["wer_law"].query("arm == 'ml' and tier == '160ms'")
    law = rows[(rows.lang == "de") & (rows.asked == "law")].iloc[0]
    assert 0.1 < law.floor_bayes_factor < 10
    assert law.floor_says.startswith("not estimable")
    assert law[["exponent_b", "exponent_low_b", "floor_pct", "floor_high_pct"]].isna().all()
    assert law[["doubling_low_pp", "doubling_high_pp"]].notna().all()
    assert rows[rows.asked == "wer_at_hours"].wer_low_pct.notna().all()


def test_families_are_told_apart_where_the_points_carry_it():
    hours = [10, 30, 100, 300, 1000, 3000]
    floor = exact(hours, [6 + 20 * (h / 10) ** -0.9 for h in hours], 0.05)
    weights = learning_curves.akaike_weights({"xx": floor})
    assert weights["floor_power"] > 10 * max(weights["power"], weights["log_linear"])
    assert sum(weights.values()) == pytest.approx(1)


def test_as_many_parameters_as_points_are_no_comparison():
    weights = learning_curves.akaike_weights({"xx": exact([100, 250], [10, 8], 0.1)})
    assert all(math.isnan(weight) for weight in weights.values())


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.052, 0.21, "0.052 to 0.21"),
        (120.4, 1480.0, "120 to 1,480"),
        (900.0, math.inf, "over 900"),
        (7e4, 9e4, "over 10,000"),
        (math.inf, math.inf, "never"),
    ],
)
def test_hours_are_shown_no_further_than_the_law_is_drawn(low, high, shown):
    row = SimpleNamespace(needed_low_hours=low, needed_high_hours=high, largest_hours=2500.0)
    assert wer_law._hours_needed(row).text == shown
