"""How small a gap a test set and some trainings can show: variances, power, equivalence.

A gap D = WER(baseline) - WER(challenger) has two kinds of noise. Other utterances would have given
another D: `Noise.test_pp2`. Other trainings would have, too: `Noise.training_pp2`, which more seeds
make smaller and more utterances do not. Both are normal here, and the standard error is estimated,
so tests are Student's with Satterthwaite's degrees of freedom (`intervals.satterthwaite`), as those
of the tables are.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize, special

from warmstart.evidence.intervals import satterthwaite

_POINTS = 1000  # of the integrals over an estimated variance: three digits of a power
_KNOWN_DF = 1e5  # beyond it Student's t is the normal
_MOST_UTTERANCES = 1e9
_MOST_SEEDS = 1000


@dataclasses.dataclass(frozen=True)
class TestDesign:
    """What is known, or guessed, of a test set before anything is decoded.

    Attributes:
        utterances: with words in their reference.
        blocks: what is resampled: speakers, or sentences. Utterances of a block are alike.
        words: of a reference, on average.
    """

    __test__ = False  # pytest takes the name for a collection of tests

    utterances: float
    blocks: float
    words: float


@dataclasses.dataclass(frozen=True)
class Guesses:
    """How errors fall, where no model of a study has made any yet.

    Attributes:
        wer_pct: of either arm.
        error_clustering: variance of the errors of an utterance over that of words that go wrong
            independently of each other.
        system_correlation: between the errors of two arms in one utterance.
        block_correlation: between the differences of two utterances of one block.
    """

    wer_pct: float
    error_clustering: float
    system_correlation: float
    block_correlation: float


@dataclasses.dataclass(frozen=True)
class Noise:
    """What keeps a gap from being seen. Variances are in squared percentage points.

    Attributes:
        test_pp2: of the gap, by the utterances of the test set.
        test_df: its degrees of freedom: blocks - 1.
        training_pp2: of the gap, by one training of each arm.
        training_df: degrees of freedom of its estimate; infinite where it is taken for known.
        cells: over which that estimate is pooled. S seeds in each give (S - 1) times as many.
    """

    test_pp2: float
    test_df: float
    training_pp2: float
    training_df: float = math.inf
    cells: float = math.inf

    def error(self, seeds: int) -> float:
        """Standard error of the gap, pp, with so many seeds; 0 seeds: of these very trainings."""
        return math.sqrt(self.test_pp2 + self._training(seeds))

    def df(self, seeds: int) -> float:
        """Degrees of freedom of that error."""
        # What one seed assumes, two or more find out.
        known = 0.0 if math.isinf(self.training_df) else self.training_df
        training_df = self.training_df if seeds < 2 else max(known, self.cells * (seeds - 1))
        # An infinite one counts as many.
        degrees = [min(each, 10 * _KNOWN_DF) for each in (self.test_df, training_df)]
        return satterthwaite([self.test_pp2, self._training(seeds)], degrees)

    def _training(self, seeds: int) -> float:
        return self.training_pp2 / seeds if seeds else 0.0

    def scaled(self, factor: float) -> "Noise":
        """The same with so many times as many utterances, in so many times as many blocks."""
        blocks = self.test_df + 1
        return dataclasses.replace(
            self, test_pp2=self.test_pp2 / factor, test_df=blocks * factor - 1
        )

    @property
    def fault(self) -> str:
        """Why it says nothing; empty where it does."""
        if math.isnan(self.test_pp2):
            return "not estimable: the size of the test set is not known"
        if math.isnan(self.training_pp2):
            return "not estimable: nobody has said how far trainings differ"
        if self.test_df < 1:
            return "not estimable: fewer than two blocks"
        if not self.test_pp2 > 0:
            return "not estimable: errors do not vary"
        return ""


# ---- variances


def test_variance_pp2(design: TestDesign, guesses: Guesses) -> float:
    """Variance of the paired gap of two arms by the utterances of a test set, squared pp.

    Of one arm, the error rate of an utterance of w words has the variance s2 = c p (1 - p) / w,
    where c is 1 with independent words (binomial). The difference of two arms of equal rate has
    2 s2 (1 - r), r being their correlation (variance of a paired difference). The mean of n
    utterances of which m stand in each block has the variance 1 + (m - 1) rho times that of
    independent ones: the design effect (Kish 1965, Survey Sampling, 5.4).
    """
    rate = guesses.wer_pct / 100.0
    one = guesses.error_clustering * rate * max(0.0, 1.0 - rate) / design.words
    paired = 2.0 * one * (1.0 - guesses.system_correlation)
    effect = design_effect(design.utterances / design.blocks, guesses.block_correlation)
    return 100.0**2 * paired * effect / design.utterances


def design_effect(members: float, correlation: float) -> float:
    """1 + (m - 1) rho: by what the variance of a mean grows where m members of a block are
    correlated by rho (Kish 1965, Survey Sampling, 5.4); not below 1."""
    return 1.0 + max(0.0, members - 1.0) * correlation


def training_variance_pp2(run_sd_pp: float) -> float:
    """Variance of a gap by one training of each arm, squared pp: the two are independent.

    Args:
        run_sd_pp: standard deviation of the WER between trainings of one arm.
    """
    return 2.0 * run_sd_pp**2


def mean_noise(each: Sequence[Noise], *, same_runs: bool) -> Noise:
    """Noise of the mean gap over languages that are taken as fixed.

    Args:
        each: one a language; their test sets are independent.
        same_runs: one model serves all languages: what its training does to one is taken to be done
            to all, so a mean does not make it smaller.
    """
    count = len(each)
    test = [one.test_pp2 for one in each]
    training = [one.training_pp2 for one in each]
    return Noise(
        sum(test) / count**2,
        satterthwaite(test, [one.test_df for one in each]),
        sum(training) / count if same_runs else sum(training) / count**2,
        # The variance of training is one of the study, not one a language.
        min(one.training_df for one in each),
        min(one.cells for one in each),
    )


# ---- power


@functools.cache
def _scales(df: float) -> np.ndarray:
    """Estimated over true standard error at equally likely points: the root of chi2 / df."""
    if df > _KNOWN_DF:
        return np.ones(1)
    chances = (np.arange(_POINTS) + 0.5) / _POINTS
    return np.sqrt(special.chdtri(df, chances) / df)


def _t(chance: float, df: float) -> float:
    """Quantile of Student's t."""
    return float(special.stdtrit(min(df, _KNOWN_DF), chance))


def power_of_difference(gap_pp: float, error_pp: float, df: float, confidence: float) -> float:
    """Chance that a two-sided test finds a true gap.

    That is the tail of the noncentral t (Cohen 1988, Statistical Power Analysis, 2), as an integral
    over the estimated error, which needs no series for large gaps.
    """
    bound = _t(0.5 + confidence / 2, df) * _scales(df)
    away = abs(gap_pp) / error_pp
    return float(np.mean(special.ndtr(away - bound) + special.ndtr(-away - bound)))


def power_of_equivalence(margin_pp: float, error_pp: float, df: float, alpha: float) -> float:
    """Chance that two one-sided tests (Schuirmann 1987, doi:10.1007/BF01068419) show a gap to lie
    inside a margin, when it is zero (Phillips 1990, doi:10.1007/BF01063556).

    Args:
        margin_pp: of both sides.
        error_pp: true standard error.
        df: its degrees of freedom.
        alpha: of each test.
    """
    inside = margin_pp / error_pp - _t(1 - alpha, df) * _scales(df)
    return float(np.mean(np.maximum(0.0, 2 * special.ndtr(inside) - 1)))


def smallest_gap(noise: Noise, seeds: int, confidence: float, power: float) -> float:
    """The smallest true gap that is found with a power, pp (minimum detectable effect: Bloom 1995,
    doi:10.1177/0193841X9501900504).

    Args:
        noise: of the gap.
        seeds: trainings of each arm; 0: what is said of these very trainings.
        confidence: of the interval.
        power: wanted.
    """
    in_errors = _interpolated(_gap_table(confidence, power), noise.df(seeds))
    return noise.error(seeds) * in_errors


def smallest_margin(noise: Noise, seeds: int, alpha: float, power: float) -> float:
    """The smallest margin in which a gap of zero is shown to lie with a power, pp."""
    in_errors = _interpolated(_margin_table(alpha, power), noise.df(seeds))
    return noise.error(seeds) * in_errors


_GRID = np.geomspace(1.0, _KNOWN_DF, 100)
"""Degrees of freedom for which the smallest gap is solved; between them it is interpolated, to
four digits, because a table asks for thousands."""


def _interpolated(table: np.ndarray, df: float) -> float:
    return float(np.exp(np.interp(math.log(df), np.log(_GRID), table)))


@functools.cache
def _gap_table(confidence: float, power: float) -> np.ndarray:
    """Logarithm of the smallest gap in standard errors, for each of `_GRID`."""

    def solved(df: float) -> float:
        return _solved(lambda gap: power_of_difference(gap, 1.0, df, confidence) - power, df)

    return np.log([solved(df) for df in _GRID])


@functools.cache
def _margin_table(alpha: float, power: float) -> np.ndarray:
    """Logarithm of the smallest margin in standard errors, for each of `_GRID`."""

    def solved(df: float) -> float:
        return _solved(lambda margin: power_of_equivalence(margin, 1.0, df, alpha) - power, df)

    return np.log([solved(df) for df in _GRID])


def _solved(excess: Callable[[float], float], df: float) -> float:
    """Where a power that grows with what it is asked of is the wanted one, in standard errors."""
    high = 10.0 * _t(0.999, df)
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-6))  # pyright: ignore[reportArgumentType]


# ---- what to spend


def seeds_until_test_dominates(noise: Noise) -> int:
    """Fewest seeds with which trainings add no more variance to a gap than the test set does."""
    return max(1, math.ceil(noise.training_pp2 / noise.test_pp2 - 1e-9))


def utterances_needed(
    noise: Noise, utterances: float, seeds: int, gap_pp: float, confidence: float, power: float
) -> float:
    """Utterances of a test set that find a gap; infinite where no test set does, because trainings
    alone differ by too much.

    Args:
        noise: of the gap on a test set of `utterances`; a larger one has the same mixture of
            blocks.
        utterances: see there.
        seeds: trainings of each arm.
        gap_pp: the true gap.
        confidence: of the interval.
        power: wanted.
    """

    def excess(log_factor: float) -> float:
        other = noise.scaled(math.exp(log_factor))
        return smallest_gap(other, seeds, confidence, power) - gap_pp

    # Two blocks are the least that has an interval.
    low = math.log(2.01 / (noise.test_df + 1))
    high = math.log(_MOST_UTTERANCES / utterances)
    if excess(high) > 0:
        return math.inf
    if excess(low) < 0:
        return utterances * math.exp(low)
    return utterances * math.exp(float(optimize.brentq(excess, low, high, xtol=1e-4)))  # pyright: ignore[reportArgumentType]


def fewest_seeds(noise: Noise, gap_pp: float, confidence: float, power: float) -> int | None:
    """Fewest seeds with which this test set finds a gap; None where no number of them does."""
    if smallest_gap(noise, 0, confidence, power) >= gap_pp:
        return None
    low, high = 1, _MOST_SEEDS
    if smallest_gap(noise, high, confidence, power) > gap_pp:
        return None
    while low < high:
        middle = (low + high) // 2
        if smallest_gap(noise, middle, confidence, power) <= gap_pp:
            high = middle
        else:
            low = middle + 1
    return low
