"""Intervals and tests, from summed counts per block.

Practice followed. Error rates are ratios of sums, also inside each replicate (Bisani & Ney 2004,
doi:10.1109/ICASSP.2004.1326009). The unit of resampling is the block (speaker, or sentence where a
test set has several readings of it), because utterances of a speaker are dependent (Liu & Peng
2019, arXiv:1912.09508). All systems of a language and test set see the same blocks in the same
replicate, so differences are paired. Percentiles are widened by Student's t, since plain percentile
intervals are too short with few blocks (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

_CHUNK_ELEMENTS = 4_000_000  # bounds the memory of one chunk of replicates to some 100 MB


_SMALLEST_ERROR = 1e-9  # below it is the rounding of sums


_MAX_BLOCKS = 10_000  # more blocks than this make no interval better, only slower


def generator(seed: int, *names: object) -> np.random.Generator:
    """A random generator that depends on `seed` and the names only, not on what else is in the
    study."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


@dataclasses.dataclass(frozen=True)
class Draws:
    """An estimate with its bootstrap replicates, kept apart by level so that degrees of freedom can
    be counted.

    All arrays are linear in the rates that they come from: those of a difference are the
    differences of both sides'.

    Attributes:
        value: estimate on the full sample.
        block: (R,) deviations from `value` by resampling blocks.
        seed: (R,) normal deviations by training seeds; all zero with one seed, whose noise is then
        NOT in the interval.
        block_df: blocks with reference words - 1.
        seed_df: seeds - 1.
        residual: (R,) what of `seed` is noise of the blocks, which `block` holds already; None
        where `seed` is all zero.
        spread: (R,) draws of the ratio of the seeds' true variance to the one observed; None where
            `seed` is all zero. With it, `seed` has the tails of Student's t.
    """

    value: float
    block: np.ndarray
    seed: np.ndarray
    block_df: float
    seed_df: float
    residual: np.ndarray | None = None
    spread: np.ndarray | None = None

    def __sub__(self, other: "Draws") -> "Draws":
        return combine(
            [self, other],
            [1.0, -1.0],
            min(self.block_df, other.block_df),
            min(self.seed_df, other.seed_df),
        )

    def scaled(self, factor: float) -> "Draws":
        """The estimate in another unit."""
        return combine([self], [factor], self.block_df, self.seed_df)

    @property
    def seed_variance(self) -> float:
        """Variance by training seeds alone: seeds differ by the noise of the blocks too, which
        would count twice."""
        return max(
            0.0, float(self.seed.var() - (0.0 if self.residual is None else self.residual.var()))
        )

    @property
    def all(self) -> np.ndarray:
        """(R,) replicates of the estimate."""
        if self.spread is None or not (observed := self.seed.var()):
            return self.value + self.block + self.seed
        noise = (0.0 if self.residual is None else self.residual.var()) / observed
        # A few seeds may lie closer together than they will: the noise is taken from each draw of
        # their true variance.
        return self.value + self.block + self.seed * np.sqrt(np.maximum(0.0, self.spread - noise))

    @property
    def error(self) -> float:
        """Standard error."""
        return float(np.sqrt(self.block.var() + self.seed_variance))

    @property
    def varies(self) -> bool:
        """Whether replicates differ. Of systems that err alike in every block, or not at all, they
        do not: that says nothing of other blocks, and certainty least of all."""
        return self.error > _SMALLEST_ERROR

    @property
    def df(self) -> float:
        """Degrees of freedom of the standard error (Satterthwaite 1946 over the two levels)."""
        return satterthwaite([self.block.var(), self.seed_variance], [self.block_df, self.seed_df])

    def interval(self, confidence: float) -> tuple[float, float]:
        """Percentile interval, (NaN, NaN) when fewer than two blocks have words.

        Widened for the number of blocks; the replicates themselves are wide enough for the number
        of seeds.
        """
        return interval(self.all, confidence, self.block_df)

    def p_value(self) -> float:
        """Two-sided p of 'the true value is zero', by Student's t on the bootstrap standard
        error."""
        if self.df < 1 or not self.varies:
            return float("nan")
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.df))


def combine(
    estimates: Sequence[Draws], weights: Sequence[float], block_df: float, seed_df: float
) -> Draws:
    """A weighted sum of estimates whose replicates are aligned, or independent of each other."""

    def total(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        found = None
        for weight, part in zip(weights, parts, strict=True):
            if part is not None:
                found = weight * part if found is None else found + weight * part
        return found

    value = sum(
        weight * estimate.value for weight, estimate in zip(weights, estimates, strict=True)
    )
    spreads = [estimate.spread for estimate in estimates if estimate.spread is not None]
    common = spreads and all(np.array_equal(one, spreads[0]) for one in spreads[1:])
    spread = (
        spreads[0] if common else spread_of(seed_df, len(estimates[0].seed)) if spreads else None
    )
    block = total([estimate.block for estimate in estimates])
    seed = total([estimate.seed for estimate in estimates])
    if block is None or seed is None:
        raise ValueError("no estimates to combine")
    return Draws(
        value=float(value),
        block=block,
        seed=seed,
        block_df=block_df,
        seed_df=seed_df,
        residual=total([estimate.residual for estimate in estimates]),
        spread=spread,
    )


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


def weighted(
    estimates: Sequence[Draws], weights: Sequence[float], seed_df: float | None = None
) -> Draws:
    """A weighted sum over languages whose blocks are independent of each other.

    Args:
        estimates, weights: one a language; a weight of zero leaves it out.
        seed_df: degrees of freedom of the trainings' noise where it is common to the languages;
            None: the trainings are independent too.
    """
    kept = [pair for pair in zip(estimates, weights, strict=True) if pair[1]]
    estimates, weights = zip(*(kept or [(estimates[0], 0.0)]), strict=True)

    def df(variances: Sequence[float], degrees: Sequence[float]) -> float:
        parts = [variance * weight**2 for variance, weight in zip(variances, weights, strict=True)]
        return satterthwaite(parts, degrees)

    if seed_df is None:
        seed_df = df([each.seed.var() for each in estimates], [each.seed_df for each in estimates])
    block_df = df([each.block.var() for each in estimates], [each.block_df for each in estimates])
    return combine(estimates, weights, block_df, seed_df)


def mean_of(estimates: Sequence[Draws], *, same_runs: bool = False) -> Draws:
    """Mean over languages that are taken as fixed: their blocks are independent of each other.

    Args:
        estimates: one a language.
        same_runs: the languages were scored with the same models, so that the noise of training
            is common to them. It has been drawn so, and its degrees of freedom do not add up.
    """
    weights = [1 / len(estimates)] * len(estimates)
    common = min(each.seed_df for each in estimates) if same_runs else None
    return weighted(estimates, weights, common)


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
    systems, blocks = numerators.shape
    rates = np.empty((replicates, systems))
    stacked = np.concatenate([numerators, denominators[None, :]]).T.astype(float)
    chunk = max(1, min(replicates, _CHUNK_ELEMENTS // max(blocks, 1)))
    for start in range(0, replicates, chunk):
        size = min(chunk, replicates - start)
        picks = random.integers(0, blocks, size=(size, blocks), dtype=np.int32)
        picks += (np.arange(size, dtype=np.int32) * blocks)[:, None]
        counts = (
            np.bincount(picks.ravel(), minlength=size * blocks).reshape(size, blocks).astype(float)
        )
        sums = counts @ stacked
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


def cell_draws(
    errors: np.ndarray,
    words: np.ndarray,
    seeds: list[list[int]],
    replicates: int,
    block_random: np.random.Generator,
    seed_random: Callable[[int], np.random.Generator],
) -> list[Draws]:
    """Estimates of cells that share blocks, each cell trained with one or several seeds.

    Blocks and seeds are crossed. The rate of a cell is the mean over its seeds. Deviations by
    blocks are those of that mean; to them comes, with several seeds, the deviation of a mean of so
    few values: Student's t with their own standard deviation. Resampling the seeds cannot give
    that, because the mean of three picks out of three lies within about one standard deviation
    while 95 % ask for 2.5. So each seed's deviation is multiplied with a normal number instead, the
    same for all cells that the seed trained, which keeps pairs; and all of a cell's with one factor
    that makes the sum a Student's t. What seeds differ by because each erred in other blocks is
    `residual`: the same numbers times the deviations of each seed in resampled blocks.

    Args:
        errors: (S, K) errors per system and block; a system is one trained model in one decode.
        words: (K,) reference words per block.
        seeds: for each cell, the rows of `errors` that are its seeds, in the order of the seeds.
        replicates: R.
        block_random: source of the blocks.
        seed_random: cell number -> source of its seeds' numbers; cells whose seeds are paired must
            get equal sources.
    """
    blocks, total = len(words), words.sum()
    rates = resample_rates(errors, words, replicates, block_random)
    # A replicate of blocks without reference words says nothing, whether something was written over
    # them (infinity) or not (NaN).
    rates = np.where(np.isfinite(rates), rates, np.nan)
    known = ~np.isnan(rates).all(axis=0)
    means = np.full(rates.shape[1], 0.0)
    means[known] = np.nanmean(rates[:, known], axis=0)
    rates = np.where(np.isnan(rates), means, rates)
    # Blocks that have words: those alone tell how much rates differ between blocks.
    with_words = int(np.count_nonzero(words))
    inflation = math.sqrt(blocks / (blocks - 1)) if blocks > 1 else 0.0
    cells = []
    for cell, rows in enumerate(seeds):
        count, of_seeds = len(rows), rates[:, rows]
        mean = of_seeds.mean(axis=1)
        value = errors[rows].mean(axis=0).sum() / total if total else float("nan")
        seed_draws, residual, spread = np.zeros(replicates), None, None
        if count > 1:
            own, random = errors[rows].sum(axis=1) / total, seed_random(cell)
            normal = random.standard_normal((replicates, count)) / math.sqrt(count * (count - 1))
            seed_draws = normal @ (own - own.mean())
            spread = (count - 1) / random.chisquare(count - 1, replicates)
            apart = of_seeds - mean[:, None]
            residual = (normal * (apart - apart.mean(axis=0))).sum(axis=1) * inflation
        block_draws = (mean - mean.mean()) * inflation
        cells.append(
            Draws(
                float(value), block_draws, seed_draws, with_words - 1, count - 1, residual, spread
            )
        )
    return cells


def equivalence(difference: Draws, margin: float, alpha: float) -> tuple[bool, float]:
    """Two one-sided tests: is the true difference inside (-margin, margin)?

    Returns:
        Whether the (1 - 2 alpha) interval lies inside the margin and both tests reject at `alpha`,
        and the larger p; False and NaN where replicates do not vary.
    """
    low, high = difference.interval(1 - 2 * alpha)
    if math.isnan(low) or not difference.varies:
        return False, float("nan")
    p = stats.t.sf((margin - abs(difference.value)) / difference.error, difference.df)
    return bool(-margin < low and high < margin and p < alpha), float(p)


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
