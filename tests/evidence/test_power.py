"""How small a gap can be seen: by hand, beside other formulas, and in simulated studies."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from made.paired import Plant, by_tables, draw, estimates, guesses_of, noise_of
from made.planted import Truth, score_table
from scipy import stats

from warmstart.evidence import intervals, power, visible
from warmstart.evidence.analyses import load
from warmstart.evidence.collected import Evidence, resample_all
from warmstart.evidence.power import Guesses, Noise, TestDesign
from warmstart.evidence.settings import Contrast, Settings

MANY = 1e9  # degrees of freedom of a normal


def fleurs(run_sd_pp, df=MANY):
    """A test set of 875 utterances on which a gap has 0.28 pp of noise."""
    return Noise(0.28**2, df, power.training_variance_pp2(run_sd_pp))


# ---- by hand


@pytest.mark.parametrize(
    ("run_sd_pp", "seeds", "utterances"),
    [
        # (0.5 / 2.8016)^2 = 0.03185 pp^2 are allowed; 0.0784 x 875 / 0.03185.
        (0.0, 1, 2154),
        # 2 x 0.1^2 of it are taken by one training, 0.00667 by the mean of three.
        (0.1, 1, 5788),
        (0.1, 3, 2724),
        # 2 x 0.2^2 are more than there is.
        (0.2, 1, math.inf),
        (0.2, 3, 13232),
        (0.2, 5, 4328),
    ],
)
def test_utterances_that_show_half_a_point(run_sd_pp, seeds, utterances):
    needed = power.utterances_needed(fleurs(run_sd_pp), 875, seeds, 0.5, 0.95, 0.8)
    assert needed == pytest.approx(utterances, rel=1e-3)


def test_the_mean_of_eight_languages_shows_it_with_one_seed():
    noise = power.mean_noise([fleurs(0.2)] * 8, same_runs=False)
    # sqrt((0.0784 + 0.08) / 8) = 0.1407; normal: P(Z > 1.96 - 0.5 / 0.1407).
    assert noise.error(1) == pytest.approx(0.1407, abs=1e-4)
    found = power.power_of_difference(0.5, noise.error(1), noise.df(1), 0.95)
    assert found == pytest.approx(0.944, abs=1e-3)
    # One model for all: its training is not averaged. sqrt(0.0784 / 8 + 0.08).
    shared = power.mean_noise([fleurs(0.2)] * 8, same_runs=True)
    assert shared.error(1) == pytest.approx(0.2997, abs=1e-4)


def test_the_variance_of_a_paired_gap_by_hand():
    design = TestDesign(utterances=1000, blocks=100, words=20)
    guesses = Guesses(10, error_clustering=1.5, system_correlation=0.4, block_correlation=0.1)
    # 1.5 x 0.1 x 0.9 / 20 = 0.00675 of an arm, 2 x 0.6 times that of the difference, 1 + 9 x 0.1
    # times that in blocks of ten, over 1000 utterances.
    assert power.test_variance_pp2(design, guesses) == pytest.approx(1e4 * 1.539e-5)


def test_smallest_gap_and_margin_are_those_of_the_normal_where_much_is_known():
    noise = fleurs(0.0)
    gap, margin = (
        power.smallest_gap(noise, 1, 0.95, 0.8),
        power.smallest_margin(noise, 1, 0.05, 0.8),
    )
    assert gap == pytest.approx(0.28 * (1.95996 + 0.84162), rel=1e-4)
    # Two one-sided tests: 1.645, and 1.2816 so that both sides together miss a fifth.
    assert margin == pytest.approx(0.28 * (1.64485 + 1.28155), rel=1e-4)


@pytest.mark.parametrize("df", [1, 2, 5, 29])
def test_power_is_the_noncentral_t(df):
    bound = stats.t.ppf(0.975, df)
    wanted = stats.nct.sf(bound, df, 3.0) + stats.nct.cdf(-bound, df, 3.0)
    assert power.power_of_difference(3.0, 1.0, df, 0.95) == pytest.approx(wanted, abs=1e-4)
    # Without a gap, false alarms are what they should be.
    assert power.power_of_difference(0.0, 1.0, df, 0.95) == pytest.approx(0.05, abs=1e-4)


def test_power_of_equivalence_is_that_of_the_drawn_test():
    random = np.random.default_rng(1)
    df, margin = 7, 3.0
    value = random.normal(0, 1, 200_000)
    error = np.sqrt(random.chisquare(df, 200_000) / df)
    shown = np.abs(value) + stats.t.ppf(0.95, df) * error < margin
    assert power.power_of_equivalence(margin, 1.0, df, 0.05) == pytest.approx(
        shown.mean(), abs=0.005
    )


def test_seeds_until_the_test_set_is_the_larger_noise():
    # 2 x 0.2^2 = 0.08 against 0.0784; with 0.4, 0.32 are 4.08 times as much.
    assert power.seeds_until_test_dominates(fleurs(0.0)) == 1
    assert power.seeds_until_test_dominates(fleurs(0.2)) == 2
    assert power.seeds_until_test_dominates(fleurs(0.4)) == 5


def test_more_seeds_see_what_this_test_set_can_and_no_more():
    noise = Noise(0.1**2, MANY, 0.08)
    seeds = power.fewest_seeds(noise, 0.5, 0.95, 0.8)
    # 0.08 / S + 0.01 <= 0.03185: S >= 3.66.
    assert seeds == 4
    assert power.fewest_seeds(noise, 0.27, 0.95, 0.8) is None


def test_few_seeds_know_little_of_how_trainings_differ():
    sure = Noise(0.01, MANY, 0.08)
    pooled = dataclasses.replace(sure, cells=2)
    assert power.smallest_gap(pooled, 2, 0.95, 0.8) > 1.2 * power.smallest_gap(sure, 2, 0.95, 0.8)
    # One seed tells nothing: what is assumed is taken for known.
    assert power.smallest_gap(pooled, 1, 0.95, 0.8) == power.smallest_gap(sure, 1, 0.95, 0.8)


@pytest.mark.parametrize(
    ("noise", "why"),
    [
        (Noise(0.1, 0, 0.0), "fewer than two blocks"),
        (Noise(0.0, 50, 0.08), "errors do not vary"),
        (Noise(0.1, 50, math.nan), "nobody has said how far trainings differ"),
        (Noise(math.nan, 50, 0.08), "the size of the test set is not known"),
    ],
)
def test_noise_that_says_nothing_gives_no_number(noise, why):
    row = visible.answers(noise, 100, 1, 0.5, confidence=0.95, power_wanted=0.8)
    assert row["status"] == f"not estimable: {why}"
    assert math.isnan(row["smallest_gap_pp"])
    assert math.isnan(row["margin_power"])


# ---- words


def rows_of(noises, seeds=1, **common):
    """Rows of languages and of their mean."""
    every = {**noises, "mean": power.mean_noise(list(noises.values()), same_runs=False)}
    return pd.DataFrame(
        {
            "training_set": "own" if lang == "mean" else lang,
            "lang": lang,
            "languages": len(noises) if lang == "mean" else 1,
            "hours": 100.0,
            "training": "guessed",
            **common,
            **visible.answers(noise, 875, seeds, 0.5, confidence=0.95, power_wanted=0.8),
        }
        for lang, noise in every.items()
    )


def test_a_contrast_is_told_in_plain_words():
    said = visible.sentences(rows_of({f"l{n}": fleurs(0.2) for n in range(8)}), "95")
    assert said == [
        "With one seed and trainings whose WER varies by 0.2 pp (guessed), these are the smallest "
        "gaps seen with 80 % power at 95 % confidence.",
        "At 100 h: 1.12 pp in one language, 0.39 pp in the mean of 8; a margin of 0.5 pp can be "
        "shown only in the mean.",
        "In one language the test set is the larger noise from 2 seeds on.",
        "A gap of 0.5 pp in one language is impossible to see with one seed, whatever the test "
        "set. With more seeds a test set needs: 13,200 utterances with 3, 4,330 utterances with 5, "
        "2,880 utterances with 10 seeds.",
    ]


def test_nothing_is_told_of_noise_that_says_nothing():
    rows = rows_of({"a": Noise(0.1, 0, 0.08), "b": Noise(0.1, 0, 0.08)})
    assert visible.sentences(rows, "95") == ["At 100 h: not estimable: fewer than two blocks."]


# ---- the table


SETTINGS = Settings(
    contrasts=(Contrast("warm_start", "en", "ml"),),
    headline_test_set="fleurs",
    reference_tier="160ms",
    replicates=300,
    confidence=0.95,
    seed=1,
    tier_margin_pp=0.5,
    threshold_pp=0.5,
    training_sd_pp=0.2,
)


def table_of(truth, *langs):
    """The table of a planted study, without the others."""
    random = np.random.default_rng(3)
    tables = [score_table(truth, random, lang).assign(utterances=1) for lang in langs]
    scored = resample_all(pd.concat(tables, ignore_index=True), SETTINGS)
    evidence = Evidence(pd.DataFrame(), scored, scored)
    analysis = load("power")
    columns = [column.name for column in analysis.columns]
    return pd.DataFrame(list(analysis.rows(evidence, SETTINGS)), columns=columns)


def test_the_table_measures_what_was_planted():
    truth = Truth(hours=(100.0, 200.0, 500.0), seeds=3, seed_sd_pp=0.5, speakers=100)
    table = table_of(truth, "de", "fr", "it")
    gaps = table[(table.asked == "gap") & (table.tier == "160ms")]
    one, mean = gaps[gaps.lang != "mean"], gaps[gaps.lang == "mean"]
    assert set(one.training) == {"measured"}
    # Nine cells of three seeds: 18 degrees of freedom, a relative error of a sixth.
    assert set(one.training_df) == {18}
    assert one.training_sd_pp.iloc[0] == pytest.approx(0.5 * math.sqrt(2), rel=0.4)
    # Three languages with their own trainings.
    assert mean.training_sd_pp.iloc[0] == pytest.approx(
        one.training_sd_pp.iloc[0] / math.sqrt(3), rel=1e-4
    )
    assert (mean.smallest_gap_pp < one.smallest_gap_pp.min()).all()
    assert (one.smallest_gap_of_trainings_pp < one.smallest_gap_pp).all()
    # A training is the same at all tiers, so its change varies less than the gap.
    tiers = table[(table.asked == "tiers") & (table.lang != "mean")]
    assert set(tiers.tier) == {"560ms"}
    assert tiers.training_sd_pp.iloc[0] < 0.3 * one.training_sd_pp.iloc[0]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"speakers": 1}, "not estimable: fewer than two blocks"),
        ({"wer_floor": 0.0, "wer_slope": 0.0, "amplitude_pp": 0.0}, "errors do not vary"),
    ],
)
def test_one_speaker_or_no_errors_give_a_reason_and_no_number(change, status):
    table = table_of(Truth(hours=(100.0,), **change), "de", "fr")
    # Two languages and their mean, the gap and its change at the other tier.
    assert len(table) == 6
    assert table.status.str.contains(status, regex=False).all()
    assert table[["smallest_gap_pp", "smallest_margin_pp", "margin_power"]].isna().all(axis=None)


def test_with_one_seed_the_noise_of_trainings_is_the_guess():
    table = table_of(Truth(hours=(100.0, 500.0)), "de", "fr")
    one = table[(table.asked == "gap") & (table.lang != "mean")]
    assert set(one.training) == {"guessed"}
    assert one.training_sd_pp.to_numpy() == pytest.approx(0.2 * math.sqrt(2))
    # Two languages of two budgets would tell it together, had they two seeds.
    assert set(one.training_cells) == {4}
    assert np.isinf(one.training_df).all()


# ---- simulated studies


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        Plant(),
        Plant(blocks=8, utterances=60),
        Plant(run_sd_pp=0.3),
        Plant(run_sd_pp=0.3, seeds=3, languages=4),
    ],
    ids=["one seed", "few readers", "trainings told", "trainings measured"],
)
def test_stated_power_is_the_power_of_simulated_studies(plant):
    """600 studies: four standard errors are 6.5 points."""
    noise = noise_of(plant, guesses_of(plant))
    gap = power.smallest_gap(noise, plant.seeds, 0.95, 0.8)
    margin = power.smallest_margin(noise, plant.seeds, 0.05, 0.8)
    random = np.random.default_rng(5)

    def drawn(gap_pp):
        parts = [
            estimates(each, draw(each, random, 50), mean=False)
            for each in [dataclasses.replace(plant, gap_pp=gap_pp)] * 12
        ]
        return type(parts[0])(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    null = drawn(0.0)
    assert drawn(gap).found(0.95) == pytest.approx(0.8, abs=0.065)
    assert null.equivalent(margin, 0.05) == pytest.approx(0.8, abs=0.065)
    assert null.found(0.95) < 0.086


@pytest.mark.slow
def test_intervals_of_the_tables_have_that_power_too():
    """400 studies: four standard errors are 8 points."""
    plant = Plant(blocks=40)
    noise = noise_of(plant, guesses_of(plant))
    gap = power.smallest_gap(noise, 1, 0.95, 0.8)
    margin = power.smallest_margin(noise, 1, 0.05, 0.8)
    random = np.random.default_rng(6)
    there = by_tables(draw(dataclasses.replace(plant, gap_pp=gap), random, 400), 400)
    null = by_tables(draw(plant, random, 400), 400)
    found = [not low <= 0 <= high for low, high in (one.interval(0.95) for one in there)]
    shown = [intervals.equivalence(one, margin, 0.05)[0] for one in null]
    assert np.mean(found) == pytest.approx(0.8, abs=0.08)
    assert np.mean(shown) == pytest.approx(0.8, abs=0.08)
