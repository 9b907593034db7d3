"""Noise of training: pooled by hand, paired by seed, and planted."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
from made.planted import Truth, score_table
from made.studies import smoke_config
from made.tables import make_tables
from scipy import stats

from warmstart.evidence import collected, intervals, noise
from warmstart.evidence.noise import Cell, Decode, Run, Spread, TrainingNoise
from warmstart.evidence.settings import Resampling
from warmstart.run.errors import UserError
from warmstart.study import slices
from warmstart.study.config import validate
from warmstart.study.grid import Study

SETTINGS = Resampling(replicates=400, confidence=0.95, seed=1)


def spreads(*variances, seeds=2, residual=0.0):
    """A cell for each variance."""
    return {
        Cell("de", float(hours), "de"): Spread(seeds, variance, residual)
        for hours, variance in enumerate(variances, 1)
    }


def rates_of(arms, blocks=40, words=100_000):
    """Runs and errors of one language at 100 h; arm -> rate of each seed, of which blocks say
    next to nothing."""
    runs, rows = [], []
    for arm, rates in arms.items():
        for seed, rate in rates.items():
            runs.append((Run("de", 100.0, seed), Decode("de", "fleurs", arm, "full", "160ms")))
            rows.append(np.full(blocks, rate * words))
    return runs, np.array(rows), np.full(blocks, words)


def cell(arm, seeds, weight=1.0):
    """Terms of an arm's mean over seeds."""
    at = Decode("de", "fleurs", arm, "full", "160ms")
    return {(Run("de", 100.0, seed), at): weight / len(seeds) for seed in seeds}


def test_the_common_variance_by_hand():
    pooled = noise.pool(spreads(1.0, 3.0))
    assert pooled.variance == pytest.approx(2.0)
    assert pooled.df == 2
    # 4 / 7.378 and 4 / 0.0506: quantiles of chi-squared with two degrees of freedom.
    assert pooled.interval(0.95) == (pytest.approx(0.5422, abs=1e-3), pytest.approx(79.0, abs=0.1))
    # What the blocks explain is taken off, down to nothing.
    assert noise.pool(spreads(1.0, 3.0, residual=0.5)).variance == pytest.approx(1.5)
    nothing = noise.pool(spreads(1.0, 3.0, residual=2.5))
    assert nothing.variance == 0
    assert nothing.interval(0.95)[0] == 0
    assert noise.pool({}) is None


def test_unequal_residuals_are_weighted_as_reml_does():
    """At the estimate the score is zero: sum of (s2 - total) / total^2."""
    cells = {**spreads(1.0, 6.0, residual=0.5), Cell("fr", 1.0, "fr"): Spread(4, 9.0, 4.0)}
    found = noise.pool(cells).variance
    score = sum(
        one.df * (one.variance - found - one.residual) / (found + one.residual) ** 2
        for one in cells.values()
    )
    assert score == pytest.approx(0, abs=1e-6)


def test_cells_that_vary_alike_share_one_variance_and_others_keep_some_of_their_own():
    random = np.random.default_rng(4)
    alike = noise.pool(spreads(*random.chisquare(2, 25) / 2, seeds=3))
    assert math.isinf(alike.prior_df)
    loud = np.repeat([0.01, 4.0], [13, 12]) * random.chisquare(2, 25) / 2
    apart = noise.pool(spreads(*loud, seeds=3))
    assert apart.prior_df < 10
    by_size = sorted(apart.cells, key=lambda place: apart.cells[place].variance)
    quiet, loudest = (apart.at(place) for place in (by_size[0], by_size[-1]))
    # A cell without seeds of its own has the common variance.
    assert quiet[0] < apart.at(Cell("xx", 1.0, "xx"))[0] < loudest[0]
    assert quiet[1] == apart.prior_df + 2
    # Half of the cells have next to no noise, and the number that people read is the average.
    low, high = apart.interval(0.95)
    assert apart.variance < low < apart.average < high
    assert apart.average == pytest.approx(loud.mean(), rel=1e-6)


def test_both_arms_of_a_seed_are_a_pair():
    runs, errors, words = rates_of(
        {"en": {1: 0.20, 2: 0.24, 3: 0.22}, "ml": {1: 0.10, 2: 0.14, 3: 0.12}}
    )
    found = TrainingNoise(1, 20_000)
    found.add("de", "fleurs", runs, errors, words)
    seeds = (1, 2, 3)
    rate = found.part(cell("en", seeds))
    # sd 0.02, three trainings.
    assert rate.seed.std() == pytest.approx(0.02 / math.sqrt(3), rel=0.03)
    assert rate.df == pytest.approx(2)
    gap = found.part(cell("en", seeds) | cell("ml", seeds, -1.0))
    assert gap.seed.std() < 1e-9, "seeds shift both arms alike"


def test_seeds_that_one_arm_lacks_count_by_themselves():
    """Seeds 1 and 2 of both arms move alike, which leaves a third of the one and a half of the
    other: gap = mean of three - mean of two. Seed by seed the weights are 1/3 - 1/2, twice, and
    1/3."""
    shift = {1: -0.01, 2: 0.01, 3: 0.0}
    runs, errors, words = rates_of(
        {
            "en": {seed: 0.2 + own for seed, own in shift.items()},
            "ml": {seed: 0.1 + shift[seed] for seed in (1, 2)},
        }
    )
    found = TrainingNoise(1, 40_000)
    found.add("de", "fleurs", runs, errors, words)
    gap = found.part(cell("en", (1, 2, 3)) | cell("ml", (1, 2), -1.0))
    pair, alone = (1 / 3 - 1 / 2) ** 2 * 0.0002, (1 / 3) ** 2 * 0.0001
    assert gap.seed.var() == pytest.approx(2 * pair + alone, rel=0.05)


def test_languages_scored_with_the_same_trainings_have_their_noise_in_common():
    found, shift = TrainingNoise(1, 20_000, lambda *_: True), (-0.01, 0.0, 0.01)
    means = {}
    for lang in ("it", "fr"):
        runs = [
            (Run("it+fr", 100.0, seed), Decode(lang, "fleurs", "ml", "full", "160ms"))
            for seed in range(3)
        ]
        errors = np.array([np.full(40, (0.2 + own) * 1e5) for own in shift])
        found.add(lang, "fleurs", runs, errors, np.full(40, 100_000))
        means[lang] = dict.fromkeys(runs, 1 / 3)
    one = found.part(means["it"])
    mean = found.part({at: weight / 2 for own in means.values() for at, weight in own.items()})
    assert mean.seed.var() == pytest.approx(one.seed.var(), rel=0.01)
    # Two languages of three runs are three runs.
    assert one.df == pytest.approx(2)


def test_noise_that_nobody_measured_is_in_no_interval():
    runs, errors, words = rates_of({"en": {1: 0.2}, "ml": {1: 0.1, 2: 0.12}})
    found = TrainingNoise(1, 100)
    found.add("de", "fleurs", runs, errors, words)
    assert found.part(cell("en", (1,))).df == 0
    assert found.pooled(cell("en", (1,))) is None
    assert not found.part(cell("en", (1,)) | cell("ml", (1, 2), -1.0)).seed.any()
    # A donor as it is was not trained by the study.
    donor = {(Run("de", 0.0, 1), Decode("de", "fleurs", "ml", "full", "160ms")): 1.0}
    assert found.part(donor).df == 0


def planted(tmp_path_factory, name, seeds_of):
    """Tables of three languages of five budgets, each with some seeds."""
    random = np.random.default_rng(12)
    truth = Truth(seeds=3, seed_sd_pp=0.6, speakers=150, tiers=("160ms",), tier_gap_pp=(0.0,))
    studies = {}
    for lang in ("de", "fr", "it"):
        table = score_table(truth, random, lang)
        studies[lang] = table[[seeds_of(row) for row in table.itertuples()]]
    return make_tables(tmp_path_factory.mktemp(name), studies)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two seeds everywhere."""
    return planted(tmp_path_factory, "two", lambda row: row.seed < 3)


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """Three seeds in German at 100 and 250 hours, one elsewhere."""
    return planted(
        tmp_path_factory,
        "some",
        lambda row: row.seed == 1 or (row.lang == "de" and row.hours < 500),
    )


@pytest.mark.slow
def test_the_planted_noise_is_a_figure_of_its_own(two):
    table = two["training_noise"].query("precision == 'full'").set_index("arm")
    # Trainings of both arms vary by 0.6 pp, independently, so that pairs do by 0.6 · sqrt(2).
    for arm, truth in (("en", 0.6), ("ml", 0.6), ("gap", 0.6 * math.sqrt(2))):
        row = table.loc[arm]
        assert row.noise_low_pp < truth < row.noise_high_pp
        assert (row.cells, row.trainings, row.df, row.status) == (15, 30, 15, "ok")


@pytest.mark.slow
def test_the_noise_of_some_cells_is_that_of_the_others_too(some, two):
    gap = some["gap"].query("languages_as == 'one' and precision == 'full'")
    assert (gap.training_error_pp > 0).all()
    alone = gap[gap.seeds == 1].training_error_pp
    assert alone.to_numpy() == pytest.approx(alone.iloc[0], rel=1e-3)
    assert alone.iloc[0] == pytest.approx(
        gap[gap.seeds == 3].training_error_pp.iloc[0] * math.sqrt(3), rel=0.1
    )
    row = some["training_noise"].query("arm == 'gap' and precision == 'full'").iloc[0]
    assert (row.cells, row.df) == (2, 4)
    # int4 was decoded at the largest budget alone, where each cell has one seed.
    status = some["training_noise"].query("precision == 'int4'").status
    assert status.str.startswith("not estimable: one seed").all()
    assert some["gap"].query("precision == 'int4'").training_error_pp.isna().all()


@pytest.mark.slow
def test_intervals_and_p_values_of_a_table_agree(two):
    rows = two["gap"][two["gap"].p_value.notna()]
    outside = (rows.gap_low_pp > 0) | (rows.gap_high_pp < 0)
    assert (outside == (rows.p_value < 0.05)).all()


@pytest.mark.slow
def test_intervals_over_two_seeds_cover_the_truth():
    """Twelve languages of one budget; noise of training as large as that of the blocks."""
    random, held = np.random.default_rng(8), []
    words = np.full(60, 1000)
    for number in range(60):
        found, cells = TrainingNoise(number, 300), []
        for lang in map(str, range(12)):
            rates = 0.2 + random.normal(0, 0.005, 2)
            hard = np.exp(random.normal(-0.02, 0.2, 60))
            errors = random.poisson(rates[:, None] * hard * words)
            at = Decode(lang, "fleurs", "ml", "full", "160ms")
            runs = [(Run(lang, 100.0, seed), at) for seed in (1, 2)]
            drawn = intervals.resample_rates(errors, words, 300, random)
            found.add(lang, "fleurs", runs, errors, words)
            terms = [dict.fromkeys(runs, 0.5)]
            cells += intervals.cell_draws(errors, words, [[0, 1]], drawn, terms=terms)
        for each in cells:
            low, high = each.trained(found).interval(0.95)
            held.append(low <= 0.2 <= high)
    assert 0.93 <= np.mean(held) <= 0.97


# ---- readers, and what is refused


def read_by(speakers, blocks=30):
    """Scores in which errors depend on the reader alone; each block is read by two."""
    random, rows = np.random.default_rng(2), []
    wrong = dict(zip(range(speakers), random.permutation(speakers), strict=True))
    truth = Truth(hours=(100.0,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=1, utterances=1)
    base = score_table(truth, random, "de").query("precision == 'full' and arm == 'ml'").iloc[0]
    for block in range(blocks):
        for reading in range(2):
            speaker = int((2 * block + reading) % speakers)
            errors = 2 * wrong[speaker]
            rows.append(
                base.to_dict()
                | {"id": f"{block}-{reading}", "block": f"s{block}", "speaker": f"v{speaker}"}
                | {"ref_words": 100, "substitutions": errors, "deletions": 0, "insertions": 0}
                | {"utterances": 1}
            )
    return pd.DataFrame(rows), 2.0 * np.array(list(wrong.values()))


def test_readers_are_a_second_level_where_they_are_known():
    table, rates = read_by(10)
    scored = collected.resample(table, SETTINGS)
    (draws,) = scored.wer.values()
    assert scored.readers == 10
    # Everything that varies is the reader: the standard error of the mean of ten.
    assert draws.error == pytest.approx(rates.std(ddof=1) / math.sqrt(10), rel=0.15)
    assert draws.df == pytest.approx(9, rel=0.2)
    blind = collected.resample(table.drop(columns="speaker"), SETTINGS)
    assert blind.readers == 0
    assert next(iter(blind.wer.values())).error < 0.8 * draws.error


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.assign(speaker=None),
        lambda table: table.assign(speaker=table.speaker.where(table.index > 0)),
        lambda table: table.assign(block=table.speaker),
    ],
    ids=["nobody", "some unknown", "blocks are speakers"],
)
def test_there_is_one_level_where_readers_are_unknown_or_blocks(change):
    table, _ = read_by(10)
    assert collected.resample(change(table), SETTINGS).readers == 0


def test_few_readers_stand_for_nobody_else():
    assert collected.resample(read_by(5)[0], SETTINGS).readers == 0


@pytest.mark.parametrize("name", ["substitutions", "char_deletions", "block"])
def test_a_missing_count_or_block_is_no_zero(name):
    table, _ = read_by(10)
    table[name] = table[name].astype(object)
    table.loc[3, name] = None
    with pytest.raises(UserError, match=f"de fleurs: 1 rows without '{name}'"):
        collected.resample(table, SETTINGS)


@pytest.mark.slow
def test_shared_sentences_make_the_mean_of_languages_less_sure(tmp_path):
    truth = Truth(hours=(100.0,), tiers=("160ms",), tier_gap_pp=(0.0,), speakers=200)
    # The same difficulty of a sentence in both languages, to the last error.
    studies = {lang: score_table(truth, np.random.default_rng(1), lang) for lang in ("de", "fr")}
    widths = []
    for shared in ({}, {"fleurs": ["de", "fr"]}):
        folder = tmp_path / str(len(shared))
        folder.mkdir()
        wer = make_tables(folder, studies, shared_sentences=shared)["wer"]
        rows = wer[(wer.lang == "mean") & (wer.arm == "ml") & (wer.precision == "full")]
        widths.append((rows.wer_high_pct - rows.wer_low_pct).iloc[0])
    assert widths[1] == pytest.approx(math.sqrt(2) * widths[0], rel=0.1)


@pytest.mark.slow
def test_chi_squared_bounds_hold_the_truth():
    """Q-profile intervals of the common variance, 15 cells of two seeds."""
    random, held = np.random.default_rng(0), []
    residual = np.linspace(0.2, 1.0, 15)
    for _ in range(200):
        variances = (1 + residual) * random.chisquare(1, 15)
        cells = {
            Cell("de", float(number), "de"): Spread(2, float(variance), float(own))
            for number, (variance, own) in enumerate(zip(variances, residual, strict=True))
        }
        low, high = noise.pool(cells).interval(0.95)
        held.append(low <= 1 <= high)
    assert stats.binomtest(sum(held), 200, 0.95).pvalue > 0.01


def test_a_study_says_which_languages_share_sentences():
    config = smoke_config()
    config["corpora"]["fleurs"] = {"kind": "fleurs", "train_split": "train"}
    config["test_sets"]["fleurs"] = {"corpus": "fleurs", "split": "test"}
    config["languages"]["fr"] = copy.deepcopy(config["languages"]["it"])
    for lang, code in (("it", "it_it"), ("fr", "fr_fr")):
        config["languages"][lang]["corpora"]["fleurs"] = code
        config["languages"][lang]["test_sets"] = ["same_voices", "fleurs"]
    config["languages"]["fr"]["corpora"]["spoken"] = "fr"
    validate(config)
    # Blocks of same_voices are speakers.
    assert slices.statistics(Study(config))["shared_sentences"] == {"fleurs": ["it", "fr"]}
    assert "shared_sentences" not in slices.statistics(Study(validated(smoke_config())))


def validated(config):
    """The same, with defaults."""
    validate(config)
    return config
