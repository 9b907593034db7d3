"""Statistics: known values, planted truth, and what happens at the edges."""

import math

import numpy as np
import pytest
from made import planted

from warmstart.evidence import intervals, laws

POWER = laws.SHAPES[0]


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
    assert laws.hours_to_threshold(fit.amplitude[:, 0], fit.shape, fit.reference, 0.20)[
        0
    ] == pytest.approx(2500, rel=1e-4)


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


@pytest.mark.parametrize(
    ("amplitude", "exponent", "hours"),
    [(4.0, 1.0, 800.0), (-1.0, 1.0, 0.0), (4.0, -0.5, math.inf), (0.2, 0.0, 0.0)],
)
def test_hours_to_threshold_covers_every_sign(amplitude, exponent, hours):
    found = laws.hours_to_threshold(np.array([amplitude]), np.array([exponent]), 100.0, 0.5)
    assert found[0] == pytest.approx(hours)


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
    result = laws.compare_shapes(np.array([1.0, 2.0]), np.array([[2.0, 1.0]]), np.ones((1, 2)))
    assert math.isnan(result["power"]["aic"])
    assert result["constant"]["weight"] == 1


def test_rates_in_replicates_are_ratios_of_sums():
    errors, words = np.array([[1, 50]]), np.array([10, 100])
    rates = intervals.resample_rates(errors, words, 2000, np.random.default_rng(0))
    assert set(np.round(rates[:, 0], 6)) == {0.1, 0.5, round(51 / 110, 6)}


def test_both_systems_see_the_same_blocks():
    errors = np.random.default_rng(1).poisson(20, (1, 40))
    cells = intervals.cell_draws(
        np.concatenate([errors, errors + 3]),
        np.full(40, 100),
        [[0], [1]],
        500,
        np.random.default_rng(2),
        np.random.default_rng,
    )
    difference = cells[1] - cells[0]
    assert difference.value == pytest.approx(0.03)
    assert difference.error < 1e-12, (
        "a constant difference has no sampling error when blocks are paired"
    )
    assert cells[0].error > 1e-3


def test_seeds_are_a_level_of_their_own():
    errors = np.array([[100.0] * 50, [120.0] * 50, [140.0] * 50])
    (cell,) = intervals.cell_draws(
        errors,
        np.full(50, 1000),
        [[0, 1, 2]],
        20000,
        np.random.default_rng(0),
        np.random.default_rng,
    )
    assert cell.value == pytest.approx(0.12)
    assert cell.error == pytest.approx(0.02 / math.sqrt(3), rel=0.03), (
        "standard error of a mean of three seeds"
    )
    assert cell.df == pytest.approx(2)


def test_three_seeds_ask_for_students_t_and_stay_paired():
    """Standard deviation 0.02: half the interval is 4.303 * 0.02 / sqrt(3), which no resampling of
    three values reaches."""
    errors = np.array(
        [[100.0] * 50, [120.0] * 50, [140.0] * 50, [107.0] * 50, [127.0] * 50, [147.0] * 50]
    )
    cells = intervals.cell_draws(
        errors,
        np.full(50, 1000),
        [[0, 1, 2], [3, 4, 5]],
        40000,
        np.random.default_rng(0),
        lambda _: np.random.default_rng(5),
    )
    low, high = cells[0].interval(0.95)
    # The replicates are not widened a second time but for the blocks' degrees of freedom, 49: 2.01
    # / 1.96.
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.02 / math.sqrt(3), rel=0.06)
    difference = cells[1] - cells[0]
    assert difference.interval(0.95) == pytest.approx((0.007, 0.007), abs=1e-9)
    mean = intervals.mean_of([cells[0], cells[0]])
    assert mean.interval(0.95) == pytest.approx((low, high), rel=1e-6)


def test_seeds_that_differ_by_the_noise_of_blocks_only_add_nothing():
    """Three trainings of one true rate: their spread is that of their own errors, which the blocks
    account for."""
    random = np.random.default_rng(3)
    words = np.full(400, 1000)
    expected = 0.2 / 1000 / 400 / 3  # variance of a rate over 400,000 words, by three
    ratios, residuals = [], []
    for study in range(100):
        errors = random.poisson(200, (3, 400))
        (cell,) = intervals.cell_draws(
            errors,
            words,
            [[0, 1, 2]],
            1000,
            random,
            lambda _, study=study: np.random.default_rng([3, study]),
        )
        ratios.append(cell.error**2 / expected)
        residuals.append(cell.residual.var() / expected)
    assert np.mean(residuals) == pytest.approx(1, rel=0.05)
    # Where the three happen to lie apart by more than that, the excess is taken for the seeds':
    # above one, but far from two.
    assert 0.9 < np.median(ratios) < 1.4


def test_intervals_over_three_seeds_cover_the_truth():
    """Noise of the seeds ten times that of the blocks; resampling the seeds would cover 83 %."""
    random = np.random.default_rng(8)
    words, held = np.full(200, 1000), 0
    for study in range(1000):
        errors = random.poisson((0.2 + random.normal(0, 0.01, 3))[:, None] * words)
        (cell,) = intervals.cell_draws(
            errors,
            words,
            [[0, 1, 2]],
            1000,
            random,
            lambda _, study=study: np.random.default_rng([8, study]),
        )
        low, high = cell.interval(0.95)
        held += low <= 0.2 <= high
    assert 0.93 <= held / 1000 <= 0.97


def test_one_block_gives_no_interval():
    (cell,) = intervals.cell_draws(
        np.array([[5.0]]),
        np.array([10]),
        [[0]],
        100,
        np.random.default_rng(0),
        np.random.default_rng,
    )
    assert all(math.isnan(bound) for bound in cell.interval(0.95))


def test_intervals_widen_to_students_t():
    low, high = draws(0.0, 1.0, df=9, replicates=200_000).interval(0.95)
    assert (low, high) == (pytest.approx(-2.262, abs=0.05), pytest.approx(2.262, abs=0.05))


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
