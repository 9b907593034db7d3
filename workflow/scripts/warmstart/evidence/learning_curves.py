"""The law of the error rate in the hours of training: WER(h) = A * (r + (1 - r) * (h / h0)^-b).

`A` is the WER at `h0` hours, `r` the share of it that no amount of data removes, `b` the exponent:
a power law above a floor, the form that Hestness et al. 2017 (arXiv:1712.00409) found for learning
curves of many tasks, speech among them.

Languages are fitted together. Each has its own A, r and b. Exponents of languages are log-normal,
shares are Beta around a common mean, so that a language with two budgets borrows the shape from
those with five: a mixed-effects fit. Noise has two parts. What the test set leaves open has the
covariance between budgets that the bootstrap gives. What a training leaves open is relative to the
WER, and its size is one number for the whole fit: seeds that differ tell it directly, and with one
seed it follows from how far the points lie from any curve.

A enters linearly and all else lies on a grid, so the posterior is a sum and not a chain. A is flat
on a logarithmic scale a priori; the other priors are stated beside their grids.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

_EXPONENTS = np.geomspace(0.05, 4.0, 73)
_SHARES = np.concatenate([[0.0], (np.arange(40) + 0.5) / 40])
"""Where the shape of one language is looked for."""
_MEAN_EXPONENTS = np.geomspace(0.1, 2.0, 13)
_EXPONENT_SDS = np.array([0.05, 0.15, 0.3, 0.6])
"""Median of the languages' exponents, and their standard deviation on a logarithmic scale; all
pairs alike a priori."""
_MEAN_SHARES = np.array([0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8])
_SHARE_COUNTS = np.array([2.0, 8.0, 30.0])
"""Mean of the languages' shares, and the sum of the two parameters of their Beta distribution; all
pairs alike a priori."""
_NO_FLOOR = 0.1
"""Probability a priori that no language has a floor."""
_NOISES = np.array([0.005, 0.01, 0.02, 0.04, 0.08, 0.16])
_NOISE_PRIOR = _NOISES / _NOISES.sum()
"""Standard deviation of a training as a share of its WER. No training is without noise, and with
one seed a few points cannot show that there is some: flat in the standard deviation (Gelman 2006,
doi:10.1214/06-BA117A), so that each grid point has the width of its step. Flat in the logarithm
covered too seldom where trainings vary by 5 % (benchmarks/RESULTS.md)."""
DECIDED = 10.0
"""Bayes factor from which the data say whether there is a floor: "strong" evidence on the scale of
Jeffreys 1961 (Theory of Probability, appendix B)."""


@dataclasses.dataclass(frozen=True)
class Points:
    """WERs of one language that a law is fitted to.

    Attributes:
        hours: (n,) budgets, rising.
        wer_pct: (n,) means over seeds, percent.
        covariance: (n, n) what the test set leaves open, percent squared.
        block_df: blocks of the test set - 1.
        seeds: (n,) trainings behind each point.
        seed_variance: (n,) variance between the seeds of a point, percent squared; unused where
            there is one.
        seed_residual: (n,) what of it is noise of the blocks.
    """

    hours: np.ndarray
    wer_pct: np.ndarray
    covariance: np.ndarray
    block_df: float
    seeds: np.ndarray
    seed_variance: np.ndarray
    seed_residual: np.ndarray

    def noisy(self, noise: float) -> np.ndarray:
        """(n, n) covariance of the points when a training varies by a share of its WER.

        Few blocks tell their own variance badly, so it is widened from the normal's tails to those
        of Student's t.
        """
        widening = (stats.t.ppf(0.975, self.block_df) / stats.norm.ppf(0.975)) ** 2
        whole = self.covariance * widening + np.diag((noise * self.wer_pct) ** 2 / self.seeds)
        # Cells that erred alike in every block have no variance of their own.
        return whole + np.eye(len(whole)) * (1e-9 + 1e-6 * np.trace(whole))

    def seeds_log_likelihood(self, noise: float) -> float:
        """Of the spread between seeds: a scaled chi-squared variable at each point."""
        total = 0.0
        for wer, seeds, variance, residual in zip(
            self.wer_pct, self.seeds, self.seed_variance, self.seed_residual, strict=True
        ):
            if seeds > 1:
                expected = max((noise * wer) ** 2 + residual, 1e-9)
                total -= 0.5 * (seeds - 1) * (variance / expected + math.log(expected))
        return total


@dataclasses.dataclass(frozen=True)
class Law:
    """Draws from the posterior.

    Attributes:
        reference_hours: h0.
        level: language -> (R,) A in percent.
        share: language -> (R,) r.
        exponent: language -> (R,) b.
        noise: (R,) standard deviation of a training, as a share of its WER.
        of_new: (A, r, b) of a language that is not in the study; A by Student's t over the
            languages' logarithms, NaN with fewer than three.
        deviates: (R,) standard normal numbers, for the noise of a training that is foretold.
        for_a_floor: Bayes factor of "languages have floors" against "none has".
    """

    reference_hours: float
    level: Mapping[str, np.ndarray]
    share: Mapping[str, np.ndarray]
    exponent: Mapping[str, np.ndarray]
    noise: np.ndarray
    of_new: tuple[np.ndarray, np.ndarray, np.ndarray]
    deviates: np.ndarray
    for_a_floor: float

    @property
    def floor_is_told(self) -> bool:
        """Whether the data say if there is a floor. Where they do not, a small exponent without one
        and a large exponent above one fit alike, and the prior would choose."""
        return not 1 / DECIDED < self.for_a_floor < DECIDED

    def wer_pct(self, lang: str | None, hours: float) -> np.ndarray:
        """(R,) what the law says at some hours; None: of a language that is not in the study."""
        level, share, exponent = self.of(lang)
        return level * (share + (1 - share) * (hours / self.reference_hours) ** -exponent)

    def foretold_pct(self, lang: str | None, hours: float) -> np.ndarray:
        """(R,) WERs of one more training at some hours: the law and the noise of a training."""
        return self.wer_pct(lang, hours) * np.maximum(0.0, 1 + self.noise * self.deviates)

    def floor_pct(self, lang: str | None) -> np.ndarray:
        """(R,) what endless data would leave."""
        level, share, _ = self.of(lang)
        return level * share

    def hours_to(self, lang: str | None, wer_pct: float) -> np.ndarray:
        """(R,) hours at which the law reaches a WER; infinity where its floor is above it."""
        level, share, exponent = self.of(lang)
        rest = (wer_pct / level - share) / (1 - share)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            found = self.reference_hours * np.power(np.maximum(rest, 0), -1 / exponent)
        return np.where(rest > 0, found, np.inf)

    def of(self, lang: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, r and b of a language."""
        if lang is None:
            return self.of_new
        return self.level[lang], self.share[lang], self.exponent[lang]


def fit(series: Mapping[str, Points], random: np.random.Generator, draws: int = 2000) -> Law:
    """Fit the law to all languages together.

    Args:
        series: language -> its points, two or more each, from a test set of two blocks or more.
        random: source of the draws.
        draws: R.
    """
    exponents, shares = _shapes()
    populations, prior = _populations()
    reference = min(float(points.hours[0]) for points in series.values())
    likelihoods = {
        lang: [_likelihood(points, reference, noise) for noise in _NOISES]
        for lang, points in series.items()
    }
    evidence = np.log(prior) + np.log(_NOISE_PRIOR)[:, None]
    for of_noises in likelihoods.values():
        for place, (log, _, _) in enumerate(of_noises):
            top = log.max()
            with np.errstate(divide="ignore"):
                evidence[place] += top + np.log(populations @ np.exp(log - top))
    posterior = np.exp(evidence - evidence.max()).ravel()
    posterior /= posterior.sum()
    picks = random.choice(len(posterior), size=draws, p=posterior)
    noise_at, population_at = np.divmod(picks, len(populations))

    def shapes(lang: str | None) -> np.ndarray:
        """(R,) a shape for each draw, from what its population and its noise leave likely."""
        chosen = np.empty(draws, int)
        for pick in np.unique(picks):
            mine = np.flatnonzero(picks == pick)
            weights = populations[population_at[mine[0]]]
            if lang is not None:
                log = likelihoods[lang][noise_at[mine[0]]][0]
                weights = weights * np.exp(log - log.max())
            total = np.cumsum(weights)
            chosen[mine] = np.searchsorted(total, random.random(len(mine)) * total[-1])
        return chosen

    level, share, exponent = {}, {}, {}
    for lang, of_noises in likelihoods.items():
        chosen = shapes(lang)
        mean, sd = (
            np.stack([part[place] for part in of_noises])[noise_at, chosen] for place in (1, 2)
        )
        drawn = mean + sd * random.standard_normal(draws)
        level[lang] = np.where(drawn > 0, drawn, mean)
        share[lang], exponent[lang] = shares[chosen], exponents[chosen]
    chosen, new_level = shapes(None), np.full(draws, np.nan)
    if len(series) >= 3:
        logs = np.log(np.stack(list(level.values())))
        spread = logs.std(axis=0, ddof=1) * math.sqrt(1 + 1 / len(series))
        new_level = np.exp(logs.mean(axis=0) + spread * random.standard_t(len(series) - 1, draws))
    return Law(
        reference,
        level,
        share,
        exponent,
        _NOISES[noise_at],
        (new_level, shares[chosen], exponents[chosen]),
        random.standard_normal(draws),
        _bayes_factor(posterior.reshape(evidence.shape)[:, populations @ (shares > 0) > 0].sum()),
    )


def _bayes_factor(with_floors: float) -> float:
    """Of floors against none, from the probability a posteriori that languages have them."""
    if with_floors >= 1:
        return math.inf
    return with_floors / (1 - with_floors) * _NO_FLOOR / (1 - _NO_FLOOR)


@functools.cache
def _shapes() -> tuple[np.ndarray, np.ndarray]:
    """(S,) exponents and (S,) shares of all shapes."""
    exponents, shares = np.meshgrid(_EXPONENTS, _SHARES, indexing="ij")
    return exponents.ravel(), shares.ravel()


@functools.cache
def _populations() -> tuple[np.ndarray, np.ndarray]:
    """(H, S) probability of each shape in each population of languages; (H,) that of the
    population a priori."""
    exponents = stats.norm.pdf(
        np.log(_EXPONENTS), np.log(_MEAN_EXPONENTS)[:, None, None], _EXPONENT_SDS[:, None]
    ).reshape(-1, len(_EXPONENTS))
    exponents /= exponents.sum(axis=1, keepdims=True)
    mean, count = (each.ravel()[:, None] for each in np.meshgrid(_MEAN_SHARES, _SHARE_COUNTS))
    edges = np.linspace(0, 1, len(_SHARES))
    above = np.diff(stats.beta.cdf(edges, mean * count, (1 - mean) * count), axis=1)
    shares = np.zeros((len(above) + 1, len(_SHARES)))
    shares[:-1, 1:] = above / above.sum(axis=1, keepdims=True)
    shares[-1, 0] = 1.0
    prior = np.append(np.full(len(above), (1 - _NO_FLOOR) / len(above)), _NO_FLOOR)
    both = exponents[:, None, :, None] * shares[None, :, None, :]
    return (
        both.reshape(len(exponents) * len(shares), -1),
        np.tile(prior / len(exponents), len(exponents)),
    )


def _likelihood(
    points: Points, reference: float, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one language, at one noise.

    Returns:
        (S,) log likelihood with A integrated out; (S,) mean and (S,) standard deviation of A.
    """
    exponents, shares = _shapes()
    covariance = points.noisy(noise)
    precision = np.linalg.inv(covariance)
    falling = (points.hours / reference) ** -exponents[:, None]
    curves = shares[:, None] + (1 - shares)[:, None] * falling  # (S, n)
    weighted = curves @ precision
    bottom = np.einsum("sn,sn->s", weighted, curves)
    level = (weighted @ points.wer_pct) / bottom
    chi2 = points.wer_pct @ precision @ points.wer_pct - level**2 * bottom
    with np.errstate(divide="ignore", invalid="ignore"):
        log = -0.5 * (chi2 + np.linalg.slogdet(covariance)[1] + np.log(bottom)) - np.log(level)
    log = log + points.seeds_log_likelihood(noise)
    return np.where(level > 0, log, -np.inf), level, 1 / np.sqrt(bottom)


# ---- other families


def _floor_power(hours: np.ndarray) -> np.ndarray:
    exponents, shares = _shapes()
    return shares[:, None] + (1 - shares)[:, None] * hours ** -exponents[:, None]


def _exponential(hours: np.ndarray) -> np.ndarray:
    rates = np.geomspace(1e-4, 30, 80)
    rate, share = (each.ravel()[:, None] for each in np.meshgrid(rates, _SHARES))
    return share + (1 - share) * np.exp(-rate * (hours - 1))


FAMILIES = {
    "floor_power": (_floor_power, 3),
    "power": (lambda hours: hours ** -_EXPONENTS[:, None], 2),
    "exponential": (_exponential, 3),
    "log_linear": (lambda hours: 1 - np.linspace(0, 0.6, 241)[:, None] * np.log(hours), 2),
}
"""Family -> (hours relative to the smallest budget -> values of its curves at A = 1; parameters of
a language). `exponential` is A·(r + (1 − r)·e^(−k·h)), `log_linear` is A·(1 − s·ln h)."""


def akaike_weights(series: Mapping[str, Points]) -> dict[str, float]:
    """Akaike weight of each family, by AIC = -2 log L + 2 k at the most likely noise of training.

    A family with as many parameters as there are points cannot be compared; its weight is NaN.
    """
    reference = min(float(points.hours[0]) for points in series.values())
    count = sum(len(points.hours) for points in series.values())
    criteria = {}
    for name, (curves_of, each) in FAMILIES.items():
        parameters = each * len(series) + 1  # the noise is one for all languages
        if count <= parameters:
            continue
        best = -math.inf
        for noise in _NOISES:
            total = 0.0
            for points in series.values():
                covariance = points.noisy(noise)
                precision = np.linalg.inv(covariance)
                curves = curves_of(points.hours / reference)
                weighted = curves @ precision
                bottom = np.maximum(np.einsum("tn,tn->t", weighted, curves), 1e-300)
                level = np.maximum((weighted @ points.wer_pct) / bottom, 0.0)
                chi2 = (
                    points.wer_pct @ precision @ points.wer_pct
                    - 2 * level * (weighted @ points.wer_pct)
                    + level**2 * bottom
                )
                total += -0.5 * (chi2.min() + np.linalg.slogdet(covariance)[1])
                total += points.seeds_log_likelihood(noise)
            best = max(best, total)
        criteria[name] = -2 * best + 2 * parameters
    if not criteria:
        return dict.fromkeys(FAMILIES, math.nan)
    least = min(criteria.values())
    weights = {name: math.exp(-(aic - least) / 2) for name, aic in criteria.items()}
    return {name: weights.get(name, math.nan) / sum(weights.values()) for name in FAMILIES}
