"""Error counts of two arms, utterance by utterance, with all that the arithmetic of power is about:
words that are hard for both, utterances and speakers that are hard, speakers that suit one arm, and
trainings that differ. `benchmarks/power.py` and the tests ask for the power that was planted."""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from warmstart.evidence import power
from warmstart.evidence.intervals import (
    Draws,
    cell_draws,
    generator,
    resample_rates,
    satterthwaite,
)
from warmstart.evidence.noise import Decode, Run, TrainingNoise
from warmstart.evidence.power import Guesses, Noise, TestDesign


@dataclasses.dataclass(frozen=True)
class Plant:
    """What is planted in every language of a study."""

    blocks: int = 60  # speakers
    utterances: int = 10  # of a speaker
    words: int = 20  # of an utterance, on average
    wer_pct: float = 12.0  # of both arms, without a gap
    gap_pp: float = 0.0  # by which the challenger is better
    shared: float = 0.4  # of the errors: words that are hard for every model
    utterance_sd: float = 0.5  # factor of an utterance's errors, for every model
    block_sd: float = 0.12  # factor of a speaker's errors, of one arm
    run_sd_pp: float = 0.0  # between trainings
    seeds: int = 1
    languages: int = 1
    vary: bool = False  # numbers of words and utterances


class Counts(NamedTuple):
    """Simulated studies.

    Attributes:
        errors: (studies, languages, arms, seeds, blocks).
        words: (studies, languages, blocks).
        utterances: (studies, languages, arms, utterances) errors, the mean over seeds.
        lengths: (studies, languages, utterances) words.
        block_of: (utterances,) number of the block.
    """

    errors: np.ndarray
    words: np.ndarray
    utterances: np.ndarray
    lengths: np.ndarray
    block_of: np.ndarray


def draw(plant: Plant, random: np.random.Generator, studies: int) -> Counts:
    """Draw studies that are alike in what is planted, and in nothing else."""
    sizes = np.full(plant.blocks, plant.utterances)
    if plant.vary:
        sizes = 1 + random.poisson(plant.utterances - 1, plant.blocks)
    block_of = np.repeat(np.arange(plant.blocks), sizes)
    shape = (studies, plant.languages, len(block_of))
    lengths = np.full(shape, plant.words)
    if plant.vary:
        lengths = 1 + random.poisson(plant.words - 1, shape)

    def factor(sd: float, *shape: int) -> np.ndarray:
        return np.exp(random.normal(-(sd**2) / 2, sd, shape))

    hard = factor(plant.utterance_sd, *shape)
    suits = factor(plant.block_sd, studies, plant.languages, 2, plant.blocks)[..., block_of]
    means = np.array([plant.wer_pct, plant.wer_pct - plant.gap_pp])[:, None]
    runs = random.normal(0.0, plant.run_sd_pp, (studies, plant.languages, 2, plant.seeds))
    base = plant.shared * (plant.wer_pct - max(0.0, plant.gap_pp)) / 100.0
    common = random.binomial(lengths, np.clip(base * hard, 0.0, 0.95))
    # The rest of each run's rate, of the words that are not hard for all.
    rest = (means + runs)[..., None] / 100.0 - base
    rest = rest * hard[:, :, None, None] * suits[:, :, :, None] / (1.0 - base)
    left = (lengths - common)[:, :, None, None]
    errors = common[:, :, None, None] + random.binomial(left, np.clip(rest, 0.0, 0.95))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Counts(
        np.add.reduceat(errors, starts, axis=-1),
        np.add.reduceat(lengths, starts, axis=-1),
        errors.mean(axis=3),
        lengths,
        block_of,
    )


def guesses_of(plant: Plant) -> Guesses:
    """What somebody would guess who has seen a hundred times as much of the same, without a gap."""
    large = dataclasses.replace(
        plant, languages=1, run_sd_pp=0.0, gap_pp=0.0, blocks=100 * plant.blocks
    )
    counts = draw(large, np.random.default_rng(2), 1)
    length = counts.lengths[0, 0]
    one, other = (
        errors - errors.sum() / length.sum() * length for errors in counts.utterances[0, 0]
    )
    rate = counts.utterances[0, 0].sum() / (2 * length.sum())
    apart = one - other
    sums = np.bincount(counts.block_of, apart)
    members = np.bincount(counts.block_of)
    # By what the variance of block sums exceeds that of their utterances, a pair of utterances.
    pairs = float((members * (members - 1)).sum())
    correlation = (float((sums**2).sum()) - float((apart**2).sum())) / pairs / float(apart.var())
    return Guesses(
        100.0 * rate,
        float(((one.var() + other.var()) / 2) / (rate * (1 - rate) * length.mean())),
        float(np.corrcoef(one, other)[0, 1]),
        max(0.0, correlation),
    )


def noise_of(plant: Plant, guesses: Guesses) -> Noise:
    """The noise of a gap in one language, by the formulas."""
    design = TestDesign(plant.blocks * plant.utterances, plant.blocks, plant.words)
    return Noise(
        power.test_variance_pp2(design, guesses),
        plant.blocks - 1,
        power.training_variance_pp2(plant.run_sd_pp),
        cells=plant.languages,
    )


class Estimates(NamedTuple):
    """Gaps of simulated studies, (studies,) each: of the first language, or of their mean."""

    gap_pp: np.ndarray
    error_pp: np.ndarray
    df: np.ndarray

    def found(self, confidence: float) -> float:
        """Share of studies that find a gap."""
        return float((np.abs(self.gap_pp) > self._t(0.5 + confidence / 2) * self.error_pp).mean())

    def equivalent(self, margin_pp: float, alpha: float) -> float:
        """Share that puts it inside a margin, by two one-sided tests."""
        reach = np.abs(self.gap_pp) + self._t(1 - alpha) * self.error_pp
        return float((reach < margin_pp).mean())

    def _t(self, chance: float) -> np.ndarray:
        from scipy import stats

        return stats.t.ppf(chance, self.df)


def estimates(plant: Plant, counts: Counts, *, mean: bool) -> Estimates:
    """Estimate gaps as the tables do: the linearised ratio over blocks, and one variance of
    trainings for all languages; with one seed that variance is told."""
    total = counts.words.sum(axis=-1)[..., None]
    apart = 100.0 * (
        counts.errors[:, :, 0] - counts.errors[:, :, 1]
    )  # studies, languages, seeds, blocks
    gaps = apart.sum(axis=-1) / total
    scale = plant.blocks / (plant.blocks - 1)
    words = counts.words[:, :, None]

    def block_variance(sums: np.ndarray, rates: np.ndarray) -> np.ndarray:
        away = sums - rates[..., None] * words
        return scale * (away**2).sum(axis=-1) / total**2

    own = gaps.mean(axis=-1)
    test = block_variance(apart.mean(axis=2, keepdims=True), own[..., None])[..., 0]
    training = np.full(len(own), 2.0 * plant.run_sd_pp**2)
    df = math.inf
    if plant.seeds > 1:
        left = block_variance(apart - apart.mean(axis=2, keepdims=True), gaps - own[..., None])
        residual = left.sum(axis=-1) / (plant.seeds - 1)
        training = np.maximum(0.0, (gaps.var(axis=-1, ddof=1) - residual).mean(axis=-1))
        df = plant.languages * (plant.seeds - 1)
    count = plant.languages if mean else 1
    test, own = test[:, :count].sum(axis=1) / count**2, own[:, :count].mean(axis=1)
    training = training / plant.seeds / count
    degrees = [(plant.blocks - 1) * count, min(df, 1e6)]
    found = [satterthwaite(pair, degrees) for pair in zip(test, training, strict=True)]
    return Estimates(own, np.sqrt(test + training), np.array(found))


def by_tables(counts: Counts, replicates: int) -> list[Draws]:
    """Gaps of the first language of each study, pp, resampled as those of the tables are."""
    found = []
    for number, (errors, words) in enumerate(
        zip(counts.errors[:, 0], counts.words[:, 0], strict=True)
    ):
        arms, seeds, blocks = errors.shape
        flat = errors.reshape(arms * seeds, blocks)
        runs = [
            (Run("xx", 1.0, seed), Decode("xx", "xx", str(arm), "full", "160ms"))
            for arm in range(arms)
            for seed in range(seeds)
        ]
        noise = TrainingNoise(number, replicates)
        noise.add("xx", "xx", runs, flat, words)
        rows = np.arange(arms * seeds).reshape(arms, seeds).tolist()
        one, other = cell_draws(
            flat,
            words,
            rows,
            resample_rates(flat, words, replicates, generator(number, "blocks")),
            terms=[{runs[row]: 1 / seeds for row in own} for own in rows],
        )
        found.append((one - other).trained(noise).scaled(100.0))
    return found
