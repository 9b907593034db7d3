"""Intervals and tests, from summed counts per block.

Practice followed. Error rates are ratios of sums, also inside each replicate (Bisani & Ney 2004,
doi:10.1109/ICASSP.2004.1326009). The unit of resampling is the block (speaker, or sentence where a
test set has several readings of it), because utterances of a speaker are dependent (Liu & Peng
2019, arXiv:1912.09508). All systems of a language and test set see the same blocks in the same
replicate, so differences are paired.

One rule gives the interval, the p-value and the test of equivalence: Student's t with the standard
error of the replicates. Percentiles of replicates are too short with few blocks (Hesterberg 2015,
doi:10.1080/00031305.2015.1089789) and cannot leave the replicates' range, and a p-value made beside
them may contradict them. A rate, which cannot be negative, has the same interval on a logarithmic
scale. Replicates themselves serve what is not linear in the rates, such as the exponent of a law.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special, stats

from warmstart.evidence.noise import Terms, TrainingNoise
from warmstart.evidence.randomness import generator

_CHUNK_ELEMENTS = 4_000_000  # bounds the memory of one chunk of replicates to some 100 MB


_SMALLEST_ERROR = 1e-9  # below it is the rounding of sums


_MAX_BLOCKS = 10_000  # more blocks than this make no interval better, only slower


@dataclasses.dataclass(frozen=True)
class Readers:
    """What a second level of the test set adds: speakers who read in several blocks. Its variance
    is that of speakers less that of their readings, which the blocks hold already (Cameron, Gelbach
    & Miller 2011, doi:10.1198/jbes.2010.07136).

    Attributes:
        across: (R,) deviations by resampling speakers.
        inside: (R,) deviations by resampling what one speaker read in one block.
        df: speakers with reference words - 1.
    """

    across: np.ndarray
    inside: np.ndarray
    df: float

    @property
    def variance(self) -> float:
        """By speakers alone."""
        return max(0.0, float(self.across.var() - self.inside.var()))

    @property
    def draws(self) -> np.ndarray:
        """(R,) deviations of this variance."""
        observed = float(self.across.var())
        return self.across * math.sqrt(self.variance / observed) if observed else self.across


@dataclasses.dataclass(frozen=True)
class Draws:
    """An estimate with its bootstrap replicates, kept apart by level so that degrees of freedom can
    be counted.

    Arrays and `terms` are linear in the rates that they come from: those of a difference are the
    differences of both sides'.

    Attributes:
        value: estimate on the full sample.
        block: (R,) deviations from `value` by resampling blocks.
        seed: (R,) normal deviations by trainings; all zero where nothing is known of their noise,
            which is then NOT in the interval.
        block_df: blocks with reference words - 1.
        seed_df: degrees of freedom of the trainings' variance; 0 where nothing is known of it.
        residual: variance in `block` that is private to seeds: what they would differ by if all
            trainings were alike.
        readers: a second level of the test set; None: there is none.
        samples: names of what was resampled: estimates that share one are dependent.
        terms: weights of the rates that it is a sum of.
        noise: the noise of the study's trainings, which `seed`, `seed_df` and `residual` come from;
            None: they were given.
    """

    value: float
    block: np.ndarray
    seed: np.ndarray
    block_df: float
    seed_df: float
    residual: float = 0.0
    readers: Readers | None = None
    samples: frozenset[str] = frozenset()
    terms: Terms = dataclasses.field(default_factory=dict)
    noise: TrainingNoise | None = None

    def __sub__(self, other: "Draws") -> "Draws":
        return combine([self, other], [1.0, -1.0])

    def scaled(self, factor: float) -> "Draws":
        """The estimate in another unit."""
        return combine([self], [factor])

    def trained(self, noise: TrainingNoise) -> "Draws":
        """The estimate with the noise of its trainings."""
        part = noise.part(self.terms)
        return dataclasses.replace(
            self, seed=part.seed, seed_df=part.df, residual=part.residual, noise=noise
        )

    @property
    def seed_variance(self) -> float:
        """Variance by trainings alone."""
        return float(self.seed.var())

    @property
    def tested(self) -> np.ndarray:
        """(R,) deviations by all that the test set is resampled by."""
        return self.block if self.readers is None else self.block + self.readers.draws

    @property
    def all(self) -> np.ndarray:
        """(R,) replicates of the estimate, the trainings' with the tails of Student's t."""
        found = self.value + self.tested
        alone = self.seed_variance
        spread = spread_of(self.seed_df, len(found)) if alone else None
        if spread is None:
            return found + self.seed
        # The estimated variance is that of trainings and of the blocks' noise between them.
        wider = np.maximum(0.0, spread * (alone + self.residual) - self.residual) / alone
        return found + self.seed * np.sqrt(wider)

    @property
    def error(self) -> float:
        """Standard error."""
        readers = self.readers.variance if self.readers is not None else 0.0
        return float(np.sqrt(self.block.var() + readers + self.seed_variance))

    @property
    def varies(self) -> bool:
        """Whether replicates of the test set differ. Of systems that err alike in every block, or
        not at all, they do not: that says nothing of other blocks, and certainty least of all."""
        return float(self.block.std()) > _SMALLEST_ERROR

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error (Satterthwaite 1946 over the levels)."""
        blocks = float(self.block.var())
        private = min(self.residual, blocks) if self.seed_df else 0.0
        variances, degrees = [blocks - private], [self.block_df]
        if self.readers is not None:
            # What blocks vary by because of who read them is known from the readers.
            read = min(float(self.readers.inside.var()), variances[0])
            variances = [variances[0] - read, self.readers.variance + read]
            degrees.append(self.readers.df)
        if self.seed_df:
            variances.append(self.seed_variance + private)
            degrees.append(self.seed_df)
        return 0.0 if self.block_df < 1 else satterthwaite(variances, degrees)

    @property
    def estimable(self) -> bool:
        """Whether there is an interval."""
        return not math.isnan(self.value) and self.df >= 1 and self.varies

    def interval(self, confidence: float) -> tuple[float, float]:
        """Student's interval; (NaN, NaN) with fewer than two blocks that have words, or where
        nothing varies."""
        if not self.estimable:
            return float("nan"), float("nan")
        half = float(special.stdtrit(self.df, 0.5 + confidence / 2)) * self.error
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Two-sided p of 'the true value is zero': below 1 - c where the interval of confidence c
        leaves zero out, and only there."""
        if not self.estimable:
            return float("nan")
        return float(2 * special.stdtr(self.df, -abs(self.value) / self.error))


def combine(
    estimates: Sequence[Draws],
    weights: Sequence[float],
    block_df: float | None = None,
    seed_df: float | None = None,
) -> Draws:
    """A weighted sum of estimates whose replicates are aligned, or independent of each other.

    Args:
        estimates, weights: one each.
        block_df, seed_df: degrees of freedom; None: the least of the estimates'. Those of trainings
            follow from the terms where the noise of the study's trainings is known.
    """
    if not estimates:
        raise ValueError("no estimates to combine")

    def total(parts: Sequence[np.ndarray]) -> np.ndarray:
        found = weights[0] * parts[0]
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            found = found + weight * part
        return found

    terms: dict = {}
    for weight, estimate in zip(weights, estimates, strict=True):
        for key, own in estimate.terms.items():
            terms[key] = terms.get(key, 0.0) + weight * own
    pairs = list(zip(weights, estimates, strict=True))
    found = Draws(
        value=float(sum(weight * estimate.value for weight, estimate in pairs)),
        block=total([estimate.block for estimate in estimates]),
        seed=total([estimate.seed for estimate in estimates]),
        block_df=min(each.block_df for each in estimates) if block_df is None else block_df,
        seed_df=min(each.seed_df for each in estimates) if seed_df is None else seed_df,
        residual=float(sum(weight**2 * estimate.residual for weight, estimate in pairs)),
        readers=_readers(pairs),
        samples=frozenset().union(*(estimate.samples for estimate in estimates)),
        terms=terms,
    )
    noise = next((each.noise for each in estimates if each.noise is not None), None)
    return found if noise is None else found.trained(noise)


def _readers(pairs: Sequence[tuple[float, Draws]]) -> Readers | None:
    """The second level of a weighted sum."""
    have = [(weight, each.readers) for weight, each in pairs if each.readers is not None]
    if not have:
        return None
    return Readers(
        np.sum([weight * readers.across for weight, readers in have], axis=0),
        np.sum([weight * readers.inside for weight, readers in have], axis=0),
        min(readers.df for _, readers in have),
    )


def log_interval(estimate: Draws, confidence: float, whole: float) -> tuple[float, float]:
    """Interval of a rate, which cannot fall below zero: Student's on a logarithmic scale.

    With not one error it is the rule of three for blocks, [0, 1 - (1 - c)^(1 / blocks)] (Hanley &
    Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031): words of a block are not independent,
    so that they do not count as so many observations.

    Args:
        estimate: the rate.
        confidence: c.
        whole: the rate when everything is wrong: 1, or 100 for percent.
    """
    if estimate.value == 0 and estimate.block_df >= 1:
        return 0.0, whole * (1 - (1 - confidence) ** (1 / (estimate.block_df + 1)))
    if not estimate.estimable:
        return float("nan"), float("nan")
    half = float(special.stdtrit(estimate.df, 0.5 + confidence / 2))
    half *= estimate.error / estimate.value
    return estimate.value * math.exp(-half), estimate.value * math.exp(min(half, 700.0))


def spread_of(df: float, replicates: int) -> np.ndarray | None:
    """(R,) draws of the ratio of a true variance to one observed with `df` degrees of freedom; None
    below one.

    The same for the same arguments, so that what is drawn for two estimates of one study can be
    compared.
    """
    return df / generator(0, "spread", f"{df:.6g}").chisquare(df, replicates) if df >= 1 else None


def satterthwaite(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Effective degrees of freedom of a sum of independent variances."""
    parts = [
        (variance, df) for variance, df in zip(variances, degrees, strict=True) if variance > 0
    ]
    if not parts:
        return float(max(degrees))
    if any(df < 1 for _, df in parts):
        return 0.0
    return sum(variance for variance, _ in parts) ** 2 / sum(
        variance**2 / df for variance, df in parts
    )


def interval(draws: np.ndarray, confidence: float, df: float) -> tuple[float, float]:
    """Percentile interval whose tails are widened from the normal's to those of Student's t with
    `df` degrees of freedom.

    Infinite replicates are allowed: then no interpolation happens between order statistics.
    """
    if df < 1 or not len(draws) or np.isnan(draws).any():
        return float("nan"), float("nan")
    tail = stats.norm.cdf(-stats.t.ppf(0.5 + confidence / 2, df))
    method = "linear" if np.isfinite(draws).all() else "nearest"
    low, high = np.quantile(draws, [tail, 1 - tail], method=method)
    return float(low), float(high)


def weighted(estimates: Sequence[Draws], weights: Sequence[float]) -> Draws:
    """A weighted sum over languages. Blocks of languages are independent of each other, unless the
    languages share what was resampled.

    One language of which nothing is known leaves the whole without an interval: it would count as
    known exactly.

    Args:
        estimates, weights: one a language; a weight of zero leaves it out.
    """
    kept = [pair for pair in zip(estimates, weights, strict=True) if pair[1]]
    estimates, weights = zip(*(kept or [(estimates[0], 0.0)]), strict=True)
    groups: list[tuple[frozenset[str], np.ndarray, float]] = []
    for estimate, weight in kept:
        own = estimate.samples, weight * estimate.block, estimate.block_df
        # Without a name an estimate is a sample of its own.
        same = [group for group in groups if group[0] & own[0]]
        groups = [group for group in groups if not group[0] & own[0]]
        for samples, block, df in same:
            own = own[0] | samples, own[1] + block, min(own[2], df)
        groups.append(own)
    known = all(estimate.varies and estimate.block_df >= 1 for estimate, _ in kept)
    block_df = (
        satterthwaite([float(block.var()) for _, block, _ in groups], [df for *_, df in groups])
        if known and kept
        else 0.0
    )
    seed_df = satterthwaite(
        [weight**2 * estimate.seed_variance for estimate, weight in kept] or [0.0],
        [estimate.seed_df for estimate, _ in kept] or [0.0],
    )
    return combine(estimates, weights, block_df, seed_df)


def mean_of(estimates: Sequence[Draws]) -> Draws:
    """Mean over languages that are taken as fixed."""
    return weighted(estimates, [1 / len(estimates)] * len(estimates))


def mean_over_sampled(values: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Mean over languages that stand for other languages, with a Student interval over the
    languages' own estimates.

    The spread of the estimates holds both the languages' differences and their measurement noise,
    so nothing is added to it. A percentile bootstrap over fewer than some ten languages cannot
    reach the tails that 95 % needs; Student's t can.
    """
    found = np.asarray(values, float)
    mean = float(found.mean())
    if len(found) < 3:
        return mean, float("nan"), float("nan")
    half = (
        stats.t.ppf(0.5 + confidence / 2, len(found) - 1)
        * found.std(ddof=1)
        / math.sqrt(len(found))
    )
    return mean, mean - half, mean + half


def resample_rates(
    numerators: np.ndarray, denominators: np.ndarray, replicates: int, random: np.random.Generator
) -> np.ndarray:
    """Block bootstrap of corpus-level rates, the same blocks for every system.

    One block fewer is drawn than there are. The variance of the replicates is then that of the
    rate without a factor n / (n - 1), which would move replicates away from values that rates can
    take (McCarthy & Snowden 1985, "The bootstrap and finite population sampling").

    Args:
        numerators: (S, K) errors of S systems summed inside K blocks.
        denominators: (K,) reference words inside the blocks.
        replicates: R.
        random: source of the blocks.

    Returns:
        (R, S) rates, each a ratio of sums. A replicate without a single reference word gives NaN.
    """
    if numerators.shape[1] > _MAX_BLOCKS:
        numerators, denominators = _merge_blocks(numerators, denominators, random)
    blocks = numerators.shape[1]
    return _rates(
        numerators, denominators, replicates, lambda start, size: block_counts(blocks, size, random)
    )


def block_counts(blocks: int, replicates: int, random: np.random.Generator) -> np.ndarray:
    """(R, K) how often each of K blocks is drawn in each replicate, one fewer in all than there
    are."""
    picks = random.integers(0, blocks, size=(replicates, max(1, blocks - 1)), dtype=np.int32)
    picks += (np.arange(replicates, dtype=np.int32) * blocks)[:, None]
    return np.bincount(picks.ravel(), minlength=replicates * blocks).reshape(replicates, blocks)


def resample_named(
    numerators: np.ndarray,
    denominators: np.ndarray,
    replicates: int,
    source: Callable[[str], np.random.Generator],
    names: Sequence[str],
) -> np.ndarray:
    """The same, where a block of one name is drawn equally often wherever it stands: languages
    share sentences.

    How often is Poisson instead of multinomial (Owen & Eckles 2012, doi:10.1214/12-AOAS547), so
    that it depends on the name alone, and not on which other blocks there are. Its mean, (n - 1) /
    n, gives the variance of a rate over n blocks.

    Args:
        numerators, denominators, replicates: see `resample_rates`.
        source: name of a block -> where its numbers come from.
        names: of the K blocks.
    """
    blocks = len(names)
    mean = max(1, blocks - 1) / blocks
    steps = stats.poisson.cdf(np.arange(20), mean)
    counts = np.empty((blocks, replicates), np.uint8)
    for place, name in enumerate(names):
        counts[place] = np.searchsorted(steps, source(name).random(replicates))
    return _rates(
        numerators,
        denominators,
        replicates,
        lambda start, size: counts[:, start : start + size].T,
    )


def _rates(
    numerators: np.ndarray,
    denominators: np.ndarray,
    replicates: int,
    draw: Callable[[int, int], np.ndarray],
) -> np.ndarray:
    """(R, S) rates of replicates, whose blocks `draw` counts some at a time."""
    systems, blocks = numerators.shape
    rates = np.empty((replicates, systems))
    stacked = np.concatenate([numerators, denominators[None, :]]).T.astype(float)
    chunk = max(1, min(replicates, _CHUNK_ELEMENTS // max(blocks, 1)))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        sums = draw(start, size).astype(float) @ stacked
        with np.errstate(invalid="ignore", divide="ignore"):
            rates[start : start + size] = sums[:, :-1] / sums[:, -1:]
    return rates


def _merge_blocks(
    numerators: np.ndarray, denominators: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Merge blocks at random down to `_MAX_BLOCKS`: sums of independent blocks are independent
    blocks of the same total."""
    order = random.permutation(numerators.shape[1])
    starts = np.linspace(0, len(order), _MAX_BLOCKS, endpoint=False).astype(int)
    return np.add.reduceat(numerators[:, order], starts, axis=1), np.add.reduceat(
        denominators[order], starts
    )


def deviations(
    errors: np.ndarray, words: np.ndarray, seeds: Sequence[Sequence[int]], rates: np.ndarray
) -> list[np.ndarray]:
    """How replicates of cells differ from their estimates.

    Args:
        errors, words, seeds: see `cell_draws`.
        rates: (R, S) replicates.

    Returns:
        (R,) for each cell. A replicate of blocks without reference words says nothing, whether
        something was written over them or not, and deviates by nothing.
    """
    total = words.sum()
    found = []
    for rows in seeds:
        value = errors[list(rows)].mean(axis=0).sum() / total if total else float("nan")
        of_cell = rates[:, list(rows)].mean(axis=1) - value
        found.append(np.where(np.isfinite(of_cell), of_cell, 0.0))
    return found


def cell_draws(
    errors: np.ndarray,
    words: np.ndarray,
    seeds: Sequence[Sequence[int]],
    rates: np.ndarray,
    samples: str = "",
    terms: Sequence[Terms] | None = None,
    readers: Sequence[Readers] | None = None,
) -> list[Draws]:
    """Estimates of cells that share blocks, each cell trained with one or several seeds. The rate
    of a cell is the mean over its seeds. The noise of trainings comes later (`Draws.trained`).

    Args:
        errors: (S, K) errors per system and block; a system is one trained model in one decode.
        words: (K,) reference words per block.
        seeds: for each cell, the rows of `errors` that are its seeds.
        rates: (R, S) replicates, by `resample_rates` or `resample_named`.
        samples: name of what was resampled; empty: nothing else shares it.
        terms: for each cell, the rates that it is a mean of.
        readers: for each cell, its second level.
    """
    total, with_words = words.sum(), int(np.count_nonzero(words))
    cells = []
    for cell, block in enumerate(deviations(errors, words, seeds, rates)):
        rows = list(seeds[cell])
        value = errors[rows].mean(axis=0).sum() / total if total else float("nan")
        cells.append(
            Draws(
                value=float(value),
                block=block,
                seed=np.zeros(len(rates)),
                # Blocks that have words: those alone tell how much rates differ between blocks.
                block_df=with_words - 1,
                seed_df=0,
                readers=readers[cell] if readers else None,
                samples=frozenset([samples] if samples else []),
                terms=terms[cell] if terms else {},
            )
        )
    return cells


def equivalence(difference: Draws, margin: float, alpha: float) -> tuple[bool, float]:
    """Two one-sided tests: is the true difference inside (-margin, margin)?

    Returns:
        Whether both tests reject at `alpha`, that is whether the (1 - 2 alpha) interval lies inside
        the margin, and the larger p; False and NaN where there is no interval.
    """
    if not difference.estimable:
        return False, float("nan")
    p = float(special.stdtr(difference.df, (abs(difference.value) - margin) / difference.error))
    return p < alpha, p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; NaN stays NaN and does not count."""
    values = np.asarray(p_values, float)
    adjusted = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    running = 0.0
    for rank, place in enumerate(known[np.argsort(values[known])]):
        running = max(running, min(1.0, (len(known) - rank) * values[place]))
        adjusted[place] = running
    return adjusted.tolist()
