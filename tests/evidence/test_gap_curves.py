"""The law of the gap with a floor: whom it borrows from, what it says of hours, when it says
"never"."""

import dataclasses
import math

import numpy as np
import pytest

from warmstart.evidence.analyses import fit
from warmstart.evidence.gap_curves import Curves
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import POOLED
from warmstart.evidence.settings import Contrast, Settings

HOURS = (100.0, 250.0, 500.0, 1000.0, 2500.0)
SETTINGS = Settings(
    contrasts=(Contrast("warm_start", "en", "ml"),),
    headline_test_set="fleurs",
    reference_tier="160ms",
    replicates=200,
    confidence=0.95,
    seed=1,
    tier_margin_pp=0.5,
    threshold_pp=0.5,
)


def gaps(law, hours=HOURS, sd=0.05, blocks=200, seed=0) -> dict[float, Draws]:
    """Gaps that lie on a law, with the noise of a test set in their replicates alone."""
    random = np.random.default_rng(seed)
    none = np.zeros(SETTINGS.replicates)
    return {
        h: Draws(law(h), random.normal(0, sd, SETTINGS.replicates), none, blocks - 1, 0)
        for h in hours
    }


def power(size: float, exponent: float = 1.0, floor: float = 0.0):
    return lambda h: size * (h / 100) ** -exponent + math.copysign(floor, size)


def rows(series, **settings) -> dict[str, dict]:
    """Language -> its row of the power law."""
    settings = dataclasses.replace(SETTINGS, **settings)
    found = fit.law_rows(series, series, settings, np.random.default_rng(3))
    return {row["lang"]: row for row in found if row["family"] == "power"}


def curves(level, share, exponent) -> Curves:
    one = {"de": np.array([level])}, {"de": np.array([share])}, {"de": np.array([exponent])}
    return Curves(100.0, *one, np.zeros(1), (np.zeros(1),) * 3)


@pytest.mark.parametrize(
    ("level", "share", "exponent", "hours"),
    [
        (4.0, 0.0, 1.0, 800.0),  # 4 (100 / h) = 0.5
        (-4.0, 0.0, 1.0, 800.0),  # the size of the gap counts
        (2.0, 0.1, 1.0, 600.0),  # 0.2 + 1.8 (100 / h) = 0.5
        (4.0, 0.2, 1.0, math.inf),  # the floor is 0.8
        (4.0, -0.2, 1.0, math.inf),  # it crosses zero, and the other arm wins by 0.8
        (0.4, 0.0, 1.0, 0.0),  # small from the smallest budget on
    ],
)
def test_hours_from_which_the_size_stays_under_half_a_point(level, share, exponent, hours):
    (found,) = curves(level, share, exponent).hours_to(["de"], 0.5)
    assert found == pytest.approx(hours, rel=2e-3)


def test_of_several_languages_it_is_the_mean_size():
    both = Curves(
        100.0,
        {"de": np.array([6.0]), "fr": np.array([-2.0])},
        *({"de": np.array([value]), "fr": np.array([value])} for value in (0.0, 1.0)),
        np.zeros(1),
        (np.zeros(1),) * 3,
    )
    assert both.hours_to(["de", "fr"], 0.5)[0] == pytest.approx(800, rel=2e-3)


def test_gaps_of_both_signs_need_the_hours_of_their_size():
    sizes = {"de": 4.0, "fr": 4.0, "it": -4.0, "es": -4.0}
    found = rows(
        {
            lang: gaps(power(size), sd=0.1, seed=place)
            for place, (lang, size) in enumerate(sizes.items())
        }
    )
    for row in found.values():
        assert row["threshold_says"] == fit.BETWEEN
        assert row["threshold_low_hours"] <= 800 <= row["threshold_high_hours"]
        assert row["threshold_hours"] == pytest.approx(800, rel=0.1)
        assert not row["threshold_beyond"]


def test_a_floor_above_the_threshold_and_a_gap_that_does_not_fall_are_never_small():
    for law in (power(3.0, 1.0, 1.5), lambda h: 3.0):
        row = rows({"de": gaps(law)})["de"]
        assert row["threshold_says"] == fit.NEVER
        assert math.isinf(row["threshold_hours"])
        assert math.isinf(row["threshold_low_hours"])
    assert row["floor_low_pp"] > 1.0


def test_hours_beyond_the_largest_budget_are_marked_and_bounded():
    # 12 (100 / h)^0.7 = 0.5 at 9,347 h, of which a study to 2,500 h knows little.
    row = rows({"de": gaps(power(12.0, 0.7), sd=0.3)})["de"]
    assert (row["threshold_says"], row["threshold_beyond"]) == (fit.AT_LEAST, "above")
    assert 2500 < row["threshold_low_hours"] < 9347
    assert row["threshold_high_hours"] == math.inf
    finite = [value for value in row.values() if isinstance(value, float) and math.isfinite(value)]
    assert max(finite) <= 4 * 2500


def test_two_budgets_tell_no_more_than_that_the_gap_is_still_large():
    row = rows({"de": gaps(power(4.0, 0.5), HOURS[:2])})["de"]
    assert row["threshold_says"] == fit.AT_LEAST
    assert row["threshold_low_hours"] == 250
    assert "floor_pp" not in row


def test_a_language_of_two_budgets_borrows_the_shape_of_the_others():
    others = {lang: gaps(power(4.0), seed=place) for place, lang in enumerate(("fr", "es", "it"))}
    row = rows(others | {"de": gaps(power(3.0), HOURS[:2], seed=9)})["de"]
    assert row["threshold_says"] == fit.BETWEEN
    assert row["threshold_beyond"] == "above"
    assert row["threshold_low_hours"] <= 600 <= row["threshold_high_hours"]


def test_exponents_that_differ_are_a_population():
    planted = {"de": 0.4, "fr": 0.8, "it": 1.2, "es": 1.6}
    series = {lang: gaps(power(4.0, b), sd=0.05, seed=int(10 * b)) for lang, b in planted.items()}
    row = rows(series)[POOLED]
    assert row["exponent_as"] == "random effects"
    assert row["exponent_languages"] == 4
    assert row["exponent_b"] == pytest.approx(1.0, abs=0.05)
    assert row["exponent_low_b"] < 0.5
    assert row["q_p"] < 0.001
    assert row["i2_pct"] > 90
    two = rows({lang: series[lang] for lang in ("de", "es")})[POOLED]
    assert two["status"].startswith("not estimable: the exponents of two languages differ")


def test_equal_exponents_of_two_languages_are_one():
    row = rows({lang: gaps(power(4.0), seed=at) for at, lang in enumerate(("de", "fr"))})[POOLED]
    assert (row["status"], row["exponent_as"]) == ("ok", "shared")
    assert row["exponent_b"] == pytest.approx(1.0, abs=1e-3)


def test_gaps_far_from_the_law_widen_what_is_said_of_the_recipe():
    """With one seed; what seeds differ by is in the variances where there are several."""
    off = {100.0: 0.3, 250.0: -0.3, 500.0: 0.3, 1000.0: -0.3, 2500.0: 0.3}

    def law(h):
        return power(4.0)(h) + off[h]

    exact, scattered = (rows({"de": gaps(each, sd=0.1)})["de"] for each in (power(4.0), law))
    assert exact["misfit_inflation"] == 1.0
    # 0.3 off at errors of 0.1, five points, two parameters.
    assert 2.5 < scattered["misfit_inflation"] < 4.5
    width = [row["exponent_high_b"] - row["exponent_low_b"] for row in (exact, scattered)]
    assert width[1] > 2 * width[0]
    seeded = {h: dataclasses.replace(draws, seed_df=2) for h, draws in gaps(law, sd=0.1).items()}
    assert rows({"de": seeded})["de"]["misfit_inflation"] == 1.0


def test_scatter_is_held_against_what_budgets_that_share_a_test_set_may_scatter():
    """Nine tenths of the variance are common to all budgets, and cannot put a gap off a law."""
    random = np.random.default_rng(5)
    shared = np.sqrt(0.9) * random.normal(0, 0.3, SETTINGS.replicates)
    own = np.sqrt(0.1) * random.normal(0, 0.3, (len(HOURS), SETTINGS.replicates))
    off = dict(zip(HOURS, (0.2, -0.2, 0.2, -0.2, 0.2), strict=True))
    series = {
        h: Draws(power(4.0)(h) + off[h], shared + own[at], np.zeros(SETTINGS.replicates), 199, 0)
        for at, h in enumerate(HOURS)
    }
    # 0.2 off at errors of 0.3 · √0.1 = 0.095: by the variances alone, 0.3, it would be none.
    assert rows({"de": series})["de"]["misfit_inflation"] > 1.4


def test_a_scatter_that_few_points_tell_widens_as_student_t_does():
    """Of three points one is left to tell the scatter: t has 12.7 where the normal has 1.96."""
    few = {h: 4.0 * 100 / h + at for h, at in zip(HOURS[:3], (0.2, -0.4, 0.2), strict=True)}
    row = rows({"de": gaps(few.get, HOURS[:3], sd=0.1)})["de"]
    scaled = rows({"de": gaps(power(4.0), HOURS[:3], sd=0.1 * row["misfit_inflation"])})["de"]
    width, normal = (each["exponent_high_b"] - each["exponent_low_b"] for each in (row, scaled))
    assert width > 1.25 * normal


@pytest.mark.parametrize(
    ("law", "told"),
    [
        (lambda h: 4 * (1 - math.log(h / 100) / math.log(40)), 1000.0),
        (power(4.0), fit.REACH * 2500),
    ],
)
def test_another_language_is_foretold_where_three_have_been_unless_curves_agree(law, told):
    budgets = {"de": HOURS, "fr": HOURS[:4], "es": HOURS[:4], "it": HOURS[:3]}
    series = {
        lang: gaps(law, hours, sd=0.1, seed=at) for at, (lang, hours) in enumerate(budgets.items())
    }
    found = fit.law_rows(series, series, SETTINGS, np.random.default_rng(3))
    asked = [row for row in found if row["asked"] == fit.GAP_AT]
    known = [row for row in asked if row["status"] == "ok"]
    assert max(row["asked_hours"] for row in known) == pytest.approx(told)
    refused = [row["status"] for row in asked if row not in known]
    if told < fit.REACH * 2500:
        assert refused == [
            "not estimable: the log-linear curve cannot be excluded, and fewer than 3 languages "
            "have more than 1000 h"
        ]
        assert "forecast_pp" not in asked[-1]
    else:
        assert refused == []


def test_the_smallest_language_says_how_far_a_pooled_law_may_be_trusted():
    series = {lang: gaps(power(4.0), seed=at) for at, lang in enumerate(("de", "fr"))}
    few = series | {"fr": gaps(power(4.0), blocks=3, seed=1)}
    width = [
        each[POOLED]["gap_at_reference_high_pp"] - each[POOLED]["gap_at_reference_low_pp"]
        for each in (rows(series), rows(few))
    ]
    assert width[1] > 1.2 * width[0]
    one = rows(series | {"fr": gaps(power(4.0), blocks=1, seed=1)})
    assert one["fr"]["status"] == "not estimable: fewer than two blocks"
    assert one[POOLED]["languages"] == 1
