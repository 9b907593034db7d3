"""Statistics: known values, planted truth, and what happens at the edges."""

import math

import numpy as np
import pytest
from made import planted

from warmstart.evidence import intervals, laws
from warmstart.evidence.keys import Place
from warmstart.evidence.means import over_languages
from warmstart.evidence.noise import Decode, Run, TrainingNoise

POWER = laws.SHAPES[0]
PLACE = Place("own", 100.0, "full", "160ms")


def draws(value, spread, df=50, replicates=4000, seed=0):
    """An estimate with normal replicates."""
    noise = np.random.default_rng(seed).normal(0, spread, replicates)
    return intervals.Draws(value, noise, np.zeros(replicates), df, 0)


def test_the_published_endpoints_give_the_published_halving():
    # arXiv 2606.24169, abstract: +4.21 pp at 100 h, +0.20 pp at 2500 h; ln(4.21 / 0.20) / ln(25) =
    # 0.947.
    fit = laws.fit_shape(
        POWER, np.array([100.0, 2500.0]), np.array([[[4.21, 0.20]]]), np.ones((1, 2))
    )
    assert fit.shape[0] == pytest.approx(0.947, abs=5e-4)
    assert 2 ** -fit.shape[0] == pytest.approx(0.52, abs=2e-3)


def test_a_shared_exponent_is_found_with_unequal_budgets_and_amplitudes():
    hours = np.array([100.0, 250.0, 500.0, 1000.0])
    gaps = np.array([[4.0 * (hours / 100) ** -0.8, 1.5 * (hours / 100) ** -0.8]])
    gaps[0, 1, 3] = np.nan
    fit = laws.fit_shape(POWER, hours, gaps, np.ones((2, 4)))
    assert fit.shape[0] == pytest.approx(0.8, abs=1e-5)
    assert fit.amplitude[0] * (100 / fit.reference) ** -fit.shape[0] == pytest.approx(
        [4.0, 1.5], rel=1e-4
    )
    assert fit.chi2[0] == pytest.approx(0, abs=1e-8)


def test_negative_gaps_follow_the_same_law_and_a_zero_gap_is_an_observation():
    hours = np.array([100.0, 200.0, 400.0])
    mirrored = laws.fit_shape(POWER, hours, np.array([[[-4.0, -2.0, -1.0]]]), np.ones((1, 3)))
    assert mirrored.shape[0] == pytest.approx(1.0, abs=1e-5)
    assert mirrored.amplitude[0, 0] < 0
    zero = laws.fit_shape(POWER, hours, np.array([[[4.0, 0.0, 0.0]]]), np.ones((1, 3)))
    assert laws.at_shape_bound(POWER, zero.shape)[0] == 1, (
        "as steep as is searched: not bounded by the data"
    )


def test_the_true_family_has_the_lowest_aic():
    hours = np.array([100.0, 250.0, 500.0, 1000.0, 2500.0])
    weights = np.full((1, 5), 1 / 0.1**2)
    power = laws.compare_shapes(hours, (4.2 * (hours / 100) ** -0.95)[None], weights)
    linear = laws.compare_shapes(hours, (4.2 - 1.2 * np.log(hours / 100))[None], weights)
    constant = laws.compare_shapes(hours, np.full((1, 5), 2.0), weights)
    for name, result in (("power", power), ("log_linear", linear), ("constant", constant)):
        assert min(result, key=lambda family: result[family]["aic"]) == name
        assert sum(row["weight"] for row in result.values()) == pytest.approx(1)


def test_families_with_as_many_parameters_as_gaps_are_not_compared():
    hours, gaps = np.array([1.0, 2.0, 4.0]), np.array([[4.0, 2.0, 1.0]])
    result = laws.compare_shapes(hours, gaps, np.ones((1, 3)))
    assert math.isnan(result["floor_power"]["aic"])
    assert (result["power"]["df"], result["constant"]["df"]) == (1, 2)
    # Four points less than their mean 7/3: (5/3)^2 + (1/3)^2 + (4/3)^2 = 42/9.
    assert result["constant"]["chi2"] == pytest.approx(42 / 9)


def test_with_two_budgets_no_family_is_claimed():
    # 4 and 2 with errors of 0.35: a constant is 2.8 standard errors from both, and was "1.00".
    hours, weights = np.array([100.0, 200.0]), np.full((2, 2), 1 / 0.35**2)
    result = laws.compare_shapes(hours, np.array([[4.0, 2.0], [4.0, 2.0]]), weights)
    assert all(math.isnan(row["weight"]) for row in result.values())
    assert laws.better_than("power", result) == ""


def test_a_plateau_is_found_and_claimed():
    hours = np.array([100.0, 250.0, 500.0, 1000.0, 2500.0])
    gaps = 1.0 + 3.0 * (hours[None] / 100) ** -1.2
    result = laws.compare_shapes(hours, gaps, np.full((1, 5), 1 / 0.05**2))
    assert result["floor_power"]["chi2"] == pytest.approx(0.0, abs=1e-2)
    assert laws.better_than("power", result) == "floor_power"


@pytest.mark.parametrize(
    ("weight", "best", "claimed"), [(0.05, 0.51, "constant"), (0.05, 0.49, ""), (0.6, 0.4, "")]
)
def test_a_family_is_called_better_above_a_ratio_of_ten(weight, best, claimed):
    comparison = {"power": {"weight": weight}, "constant": {"weight": best}}
    assert laws.better_than("power", comparison) == claimed


def test_random_effects_by_hand():
    # Weights 100, mean 1, Q = 100 (0.25 + 0 + 0.25) = 50 on 2; tau2 = 48 / (300 - 100) = 0.24;
    # I2 = 48 / 50; Hartung-Knapp factor 0.5 / 0.25 / 2 = 1, se = sqrt(0.25 / 3), t(2) = 4.3027.
    found = laws.random_effects([0.5, 1.0, 1.5], [0.1] * 3, 0.95)
    assert (found.mean, found.q, found.i2) == pytest.approx((1.0, 50.0, 0.96))
    assert found.sd == pytest.approx(math.sqrt(0.24))
    assert found.high - found.mean == pytest.approx(4.3027 * math.sqrt(0.25 / 3), rel=1e-4)


def test_equal_estimates_are_no_more_certain_than_their_errors():
    found = laws.random_effects([1.0, 1.0, 1.0], [0.1] * 3, 0.95)
    assert (found.sd, found.i2) == (0.0, 0.0)
    assert found.high - found.mean == pytest.approx(4.3027 * 0.1 / math.sqrt(3), rel=1e-4)


def test_two_languages_have_a_test_and_no_mean():
    # Q = 2 * (0.65 / 0.1)^2 = 84.5
    found = laws.random_effects([0.3, 1.6], [0.1] * 2, 0.95)
    assert found.q == pytest.approx(84.5)
    assert found.p < 1e-15
    assert math.isnan(found.mean)
    assert math.isnan(laws.random_effects([1.0], [0.1], 0.95).q)


def test_a_language_of_few_blocks_weighs_less():
    many, few = draws(4.0, 0.3, df=1000), draws(4.0, 0.3, df=2)
    # t(0.975, 2) = 4.3027 against the normal's 1.96.
    ratio = laws.gap_weights([many])[0] / laws.gap_weights([few])[0]
    assert ratio == pytest.approx((4.3027 / 1.96) ** 2, rel=0.01)


def cells_of(errors, words, seeds, replicates=2000, seed=0):
    """Cells and the noise of their trainings: a cell of several seeds is one arm at 100 hours."""
    errors, words = np.asarray(errors, float), np.asarray(words)
    rates = intervals.resample_rates(errors, words, replicates, np.random.default_rng(seed))
    runs = {}
    for arm, rows in enumerate(seeds):
        for number, row in enumerate(rows):
            at = Decode("de", "fleurs", f"arm{arm}", "full", "160ms")
            runs[row] = (Run("de", 100.0, number), at)
    noise = TrainingNoise(seed, replicates)
    noise.add("de", "fleurs", [runs[row] for row in sorted(runs)], errors, words)
    terms = [{runs[row]: 1 / len(rows) for row in rows} for rows in seeds]
    made = intervals.cell_draws(errors, words, seeds, rates, terms=terms)
    return [cell.trained(noise) for cell in made]


def test_rates_in_replicates_are_ratios_of_sums_of_one_block_fewer():
    errors, words = np.array([[1, 50, 3]]), np.array([10, 100, 10])
    rates = intervals.resample_rates(errors, words, 2000, np.random.default_rng(0))
    pairs = {(1, 10), (50, 100), (3, 10), (51, 110), (4, 20), (53, 110)}
    assert set(np.round(rates[:, 0], 6)) == {round(wrong / of, 6) for wrong, of in pairs}


def test_replicates_vary_as_the_mean_of_blocks_does():
    """Of four blocks of one size with rates 0, 1, 2 and 5 %: sd 2.16, standard error 1.08."""
    errors, words = np.array([[0, 10, 20, 50]]), np.full(4, 1000)
    rates = intervals.resample_rates(errors, words, 40_000, np.random.default_rng(0))
    assert rates.std() == pytest.approx(0.0108, rel=0.02)


def test_both_systems_see_the_same_blocks():
    errors = np.random.default_rng(1).poisson(20, (1, 40))
    cells = cells_of(np.concatenate([errors, errors + 3]), np.full(40, 100), [[0], [1]])
    difference = cells[1] - cells[0]
    assert difference.value == pytest.approx(0.03)
    assert difference.error < 1e-12, (
        "a constant difference has no sampling error when blocks are paired"
    )
    assert cells[0].error > 1e-3


def test_one_block_gives_no_interval():
    (cell,) = cells_of([[5.0]], [10], [[0]])
    assert all(math.isnan(bound) for bound in cell.interval(0.95))


def test_three_blocks_ask_for_students_t():
    """Differences of 1, 2 and 6 % in blocks of one size: mean 3, sd 2.646, so 3 ± 4.303 · 1.528."""
    words = np.full(3, 1000)
    cells = cells_of([[110, 120, 160], [100, 100, 100]], words, [[0], [1]], replicates=40_000)
    low, high = (cells[0] - cells[1]).interval(0.95)
    assert (low, high) == (pytest.approx(-0.0357, abs=0.001), pytest.approx(0.0957, abs=0.001))


@pytest.mark.parametrize("seed", range(3))
def test_an_interval_leaves_zero_out_exactly_where_p_is_small(seed):
    random = np.random.default_rng(seed)
    for _ in range(60):
        # Few blocks, of which a third make no error: replicates have atoms.
        words = 1 + random.poisson(9, random.integers(2, 12))
        errors = random.binomial(words, 0.05 * random.random((2, 1)))
        cells = cells_of(errors, words, [[0], [1]], 200)
        gap = cells[0] - cells[1]
        low, high = gap.interval(0.95)
        assert (low > 0 or high < 0) == (gap.p_value() < 0.05)
        assert math.isnan(low) == math.isnan(gap.p_value())
        inside = bool(max(-low, high) < 0.05) if not math.isnan(low) else False
        assert intervals.equivalence(gap, 0.05, 0.025)[0] == inside


def test_one_word_decides_nothing():
    """One word of 96 differs, in one of 11 blocks: 1.04 pp, and as much a standard error."""
    words = np.array([8, 9, 8, 9, 8, 9, 8, 9, 8, 10, 10])
    wrong = np.full(11, 5)
    other = wrong.copy()
    other[3] += 1
    cells = cells_of([other, wrong], words, [[0], [1]], 4000)
    gap = (cells[0] - cells[1]).scaled(100.0)
    assert gap.value == pytest.approx(100 / 96)
    assert gap.interval(0.95)[0] < 0 < gap.interval(0.95)[1]
    assert gap.p_value() > 0.2
    # Where that block is not drawn the rates are equal, and replicates stay there.
    assert (np.abs(gap.all) < 1e-9).mean() == pytest.approx((10 / 11) ** 10, abs=0.03)


def test_no_error_is_the_rule_of_three_for_blocks():
    (cell,) = cells_of(np.zeros((1, 60)), np.full(60, 20), [[0]])
    # 1 - 0.05^(1/60) = 4.87 %, three of sixty are 5 %.
    assert intervals.log_interval(cell, 0.95, 1.0) == (0.0, pytest.approx(0.0487, abs=1e-4))
    assert all(math.isnan(bound) for bound in cell.interval(0.95))
    assert not (cell - cell).estimable


def test_a_rate_never_falls_below_zero():
    (cell,) = cells_of([[0, 1, 0, 0, 9, 0, 0, 0]], np.full(8, 50), [[0]])
    assert cell.interval(0.95)[0] < 0 < intervals.log_interval(cell, 0.95, 1.0)[0]


def test_blocks_of_one_name_are_drawn_together_whatever_else_there_is():
    random = np.random.default_rng(0)
    errors, words = random.poisson(5, (1, 40)), np.full(40, 50)
    names = [f"s{number}" for number in range(40)]

    def drawn(errors, words, names):
        def source(name):
            return intervals.generator(1, name)

        return intervals.resample_named(errors, words, 4000, source, names)[:, 0]

    whole = drawn(errors, words, names)
    turned = drawn(errors[:, ::-1], words, names[::-1])
    assert turned == pytest.approx(whole)
    # Twice the sentences, of which half are these: half of the variance is common.
    more = np.concatenate([errors, random.poisson(5, (1, 40))], axis=1)
    other = drawn(more, np.full(80, 50), names + [f"t{number}" for number in range(40)])
    assert np.corrcoef(whole, other)[0, 1] == pytest.approx(math.sqrt(0.5), abs=0.15)
    plain = intervals.resample_rates(errors, words, 4000, np.random.default_rng(3))[:, 0]
    assert whole.std() == pytest.approx(plain.std(), rel=0.06)


def test_a_language_without_an_interval_is_not_known_exactly():
    known, single, tied = draws(-2.0, 1.2), draws(-0.16, 0.0, df=0), draws(0.0, 0.0)
    for other in (single, tied):
        mean = intervals.mean_of([known, other])
        assert math.isnan(mean.interval(0.95)[0])
        assert math.isnan(mean.p_value())
    rows = over_languages(
        "own", {"ro": {PLACE: known}, "nl": {PLACE: single}, "it": {PLACE: tied}}, 0.95
    )
    (mean,) = [row for row in rows if row.languages_as == "fixed"]
    assert mean.status == ("not estimable: nl: fewer than two blocks; it: the same in every block")
    assert math.isnan(mean.low)


def test_intervals_are_students_t():
    low, high = draws(0.0, 1.0, df=9, replicates=200_000).interval(0.95)
    assert (low, high) == (pytest.approx(-2.262, abs=0.02), pytest.approx(2.262, abs=0.02))


def test_infinite_replicates_give_an_infinite_bound():
    values = np.r_[np.arange(900.0), np.full(100, np.inf)]
    low, high = intervals.interval(values, 0.95, 50)
    assert math.isfinite(low)
    assert math.isinf(high)


@pytest.mark.parametrize(
    ("value", "spread", "equivalent"),
    [
        (0.0, 0.1, True),
        (0.0, 0.5, False),
        (0.4, 0.05, True),
        (0.45, 0.05, False),
        (0.6, 0.01, False),
    ],
)
def test_equivalence_needs_the_whole_interval_inside_the_margin(value, spread, equivalent):
    said, p = intervals.equivalence(draws(value, spread, df=1000), 0.5, 0.05)
    assert said is equivalent
    assert (p < 0.05) == equivalent


def test_holm_by_hand():
    assert intervals.holm([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.06, 0.06])


def test_a_sample_of_languages_needs_three():
    assert math.isnan(intervals.mean_over_sampled([1.0, 2.0], 0.95)[1])
    mean, low, high = intervals.mean_over_sampled([1.0, 2.0, 3.0], 0.95)
    assert (mean, high - low) == (
        pytest.approx(2.0),
        pytest.approx(2 * 4.3027 / math.sqrt(3), rel=1e-4),
    )


def test_merging_blocks_keeps_totals_and_spread():
    random = np.random.default_rng(0)
    errors, words = random.poisson(2, (1, 30_000)), np.full(30_000, 10)
    rates = intervals.resample_rates(errors, words, 200, random)[:, 0]
    assert rates.mean() == pytest.approx(errors.sum() / words.sum(), rel=1e-3)
    assert rates.std() == pytest.approx(math.sqrt(2 / 30_000) / 10, rel=0.2)


def test_planted_counts_have_the_planted_rates():
    truth = planted.Truth(speakers=4000)
    table, errors, words = planted.block_counts(truth, np.random.default_rng(0))
    observed = 100 * errors.sum(axis=1) / words.sum()
    assert observed == pytest.approx(table.wer.to_numpy(), rel=0.03)
    assert np.corrcoef(errors[0] / words, errors[2] / words)[0, 1] > 0.5, (
        "speakers are hard or easy for both systems"
    )
