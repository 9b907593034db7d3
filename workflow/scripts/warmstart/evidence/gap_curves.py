"""The gap at hours that nobody trained: gap(h) = A * (r + (1 - r) * (h / h0)^-b), language by
language.

`A` is the gap at `h0` hours, of either sign; `r` the share of it that no amount of data removes;
`b` the exponent. A share below zero is a gap that changes its sign, one above one a gap that grows.

Languages are fitted together: exponents are log-normal and shares normal around what the languages
have in common, so that one with two budgets borrows its shape from those with five (a mixed-effects
fit, as `learning_curves` has for the WER). A is flat a priori. Noise has two parts. What the test
set leaves open has the covariance between budgets that the bootstrap gives. What a training leaves
open is one standard deviation for the whole fit: with one seed it follows from how far the points
lie from any curve; with several it is in their variances already.

A enters linearly, all else lies on a grid, and a population of shapes is a product of one over
exponents and one over shares. The posterior is a sum and not a chain.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from warmstart.evidence.intervals import Draws
from warmstart.evidence.laws import tail_widening

_EXPONENTS = np.geomspace(0.05, 4.0, 121)
_EDGES = np.concatenate(
    [np.arange(-0.5, -0.1, 0.05), np.arange(-0.1, 0.3, 0.02), np.arange(0.3, 2.05, 0.1)]
)
_SHARES = np.concatenate([[0.0], (_EDGES[1:] + _EDGES[:-1]) / 2])
"""Where the shape of one language is looked for; the first share is that of no floor."""
_MEDIAN_EXPONENTS = _EXPONENTS[(_EXPONENTS > 0.1) & (_EXPONENTS < 2.5)][::2]
_EXPONENT_SDS = np.array([0.03, 0.1, 0.2, 0.4])
"""Median of the languages' exponents, and their standard deviation on a logarithmic scale; all
pairs alike a priori."""
_MEAN_SHARES = np.array([-0.2, -0.05, 0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.4])
_SHARE_SDS = np.array([0.01, 0.05, 0.2])
"""Mean and standard deviation of the languages' shares; all pairs alike a priori."""
_NO_FLOOR = 0.2
"""Probability a priori that no language has a floor."""
_NOISES_PP = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
_NOISE_PRIOR = np.append(1.0, _NOISES_PP[1:] * 0.4 / (0.2**2 + _NOISES_PP[1:] ** 2))
"""Standard deviation by training of a gap whose runs were done once, and how likely a priori: a
half-Cauchy distribution of scale 0.2 pp (Gelman 2006, doi:10.1214/06-BA117A), which leaves room for
any, and as much for none as for a little."""
_FARTHEST_HOURS = 1e6
"""More labelled speech than any corpus has: a gap that is large there is large for ever."""
_SEARCHED = 121  # hours at which a curve is compared with a threshold


@dataclass(frozen=True)
class Points:
    """Gaps of one language that curves are fitted to.

    Attributes:
        hours: (n,) budgets, rising.
        gap_pp: (n,) gaps.
        covariance: (n, n) what test set and measured trainings leave open, pp squared.
        once: whether some gap rests on one training of each arm.
    """

    hours: np.ndarray
    gap_pp: np.ndarray
    covariance: np.ndarray
    once: bool


@dataclass(frozen=True)
class Curves:
    """Draws from the posterior.

    Attributes:
        reference_hours: h0, the smallest budget.
        level: language -> (R,) A in pp.
        share: language -> (R,) r.
        exponent: language -> (R,) b.
        noise_pp: (R,) standard deviation by training.
        of_new: (A, r, b) of a language that is not in the study, (R,) each; A by Student's t over
            the languages' own, NaN with fewer than three.
    """

    reference_hours: float
    level: Mapping[str, np.ndarray]
    share: Mapping[str, np.ndarray]
    exponent: Mapping[str, np.ndarray]
    noise_pp: np.ndarray
    of_new: tuple[np.ndarray, np.ndarray, np.ndarray]

    def gap_pp(self, lang: str | None, hours: np.ndarray) -> np.ndarray:
        """(R, H) gaps at (H,) hours; None: of a language that is not in the study."""
        level, share, exponent = (
            self.of_new
            if lang is None
            else (self.level[lang], self.share[lang], self.exponent[lang])
        )
        x = np.log(np.asarray(hours, float) / self.reference_hours)
        falling = np.exp(-exponent[:, None] * x)
        return level[:, None] * (share[:, None] + (1 - share)[:, None] * falling)

    def floor_pp(self, lang: str) -> np.ndarray:
        """(R,) gap that endless data would leave."""
        return self.level[lang] * self.share[lang]

    def hours_to(self, langs: list[str], threshold_pp: float) -> np.ndarray:
        """(R,) hours from which the mean of |gap| over languages stays under a threshold.

        0 where it does from the smallest budget on, infinity where it does not at a million hours.
        """
        hours = np.geomspace(self.reference_hours, _FARTHEST_HOURS, _SEARCHED)
        sizes = np.mean([np.abs(self.gap_pp(lang, hours)) for lang in langs], axis=0)
        above = sizes >= threshold_pp
        last = above.shape[1] - 1 - above[:, ::-1].argmax(axis=1)  # the last hours that are above
        after = np.minimum(last + 1, len(hours) - 1)
        at = np.arange(len(sizes))
        # A power law is a line between logarithms.
        high, low = np.log(np.maximum([sizes[at, last], sizes[at, after]], 1e-12))
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(high > low, (high - math.log(threshold_pp)) / (high - low), 0.0)
        x = np.log(hours)
        found = np.exp(x[last] + part * (x[after] - x[last]))
        found = np.where(last == len(hours) - 1, np.inf, found)
        return np.where(above.any(axis=1), found, 0.0)


def points_of(own: Mapping[float, Draws]) -> Points:
    """What curves are fitted to, of one language.

    Args:
        own: hours -> gap in pp, of two blocks or more.
    """
    hours = sorted(own)
    each = [own[h] for h in hours]
    # Few blocks tell their own variance badly: widened from the normal's tails to Student's.
    widening = np.array([tail_widening(draws.block_df) for draws in each])
    blocks = np.atleast_2d(np.cov(np.stack([draws.block for draws in each])))
    covariance = blocks * np.outer(widening, widening)
    covariance = covariance + np.diag([draws.seed_variance for draws in each])
    return Points(
        np.array(hours),
        np.array([draws.value for draws in each]),
        covariance + np.eye(len(each)) * (1e-9 + 1e-6 * np.trace(covariance)),
        any(draws.seed_df < 1 for draws in each),
    )


def fit(series: Mapping[str, Points], random: np.random.Generator, draws: int = 2000) -> Curves:
    """Fit the curves of all languages together.

    Args:
        series: language -> its points, one or more each.
        random: source of the draws.
        draws: R.
    """
    exponents, shares, prior = _populations()
    reference = min(float(points.hours[0]) for points in series.values())
    once = any(points.once for points in series.values())
    noises = _NOISES_PP if once else _NOISES_PP[:1]
    likelihoods = {
        lang: [_likelihood(points, reference, noise) for noise in noises]
        for lang, points in series.items()
    }
    evidence = np.tile(np.log(prior), (len(noises), len(exponents), 1))
    evidence += np.log(_NOISE_PRIOR[: len(noises), None, None])
    for of_noises in likelihoods.values():
        for place, (log, _, _) in enumerate(of_noises):
            top = log.max()
            with np.errstate(divide="ignore"):
                evidence[place] += top + np.log(exponents @ np.exp(log - top) @ shares.T)
    posterior = np.exp(evidence - evidence.max()).ravel()
    picks = random.choice(len(posterior), size=draws, p=posterior / posterior.sum())
    noise_at, exponents_at, shares_at = np.unravel_index(picks, evidence.shape)
    of_exponents, of_shares = exponents[exponents_at], shares[shares_at]

    def shapes(lang: str | None) -> tuple[np.ndarray, np.ndarray]:
        """(R,) places of an exponent and of a share for each draw, from what its population and its
        noise leave likely: the share first, then the exponent that goes with it."""
        known = np.ones((len(noises), len(_EXPONENTS), len(_SHARES)))
        if lang is not None:
            known = np.stack([np.exp(log - log.max()) for log, _, _ in likelihoods[lang]])
        share_weights, exponent_weights = of_shares.copy(), of_exponents.copy()
        for place in range(len(noises)):
            mine = noise_at == place
            share_weights[mine] *= of_exponents[mine] @ known[place]
        share_at = _one_of(share_weights, random)
        exponent_weights *= known[noise_at, :, share_at]
        return _one_of(exponent_weights, random), share_at

    level, share, exponent = {}, {}, {}
    for lang, of_noises in likelihoods.items():
        chosen = shapes(lang)
        mean, sd = (
            np.stack([each[part] for each in of_noises])[noise_at, *chosen] for part in (1, 2)
        )
        level[lang] = mean + sd * random.standard_normal(draws)
        exponent[lang], share[lang] = _EXPONENTS[chosen[0]], _SHARES[chosen[1]]
    at_exponent, at_share = shapes(None)
    new_level = np.full(draws, np.nan)
    if len(series) >= 3:
        # Spread of the estimates: it holds what the languages differ by, and their noise.
        found = np.array([each.mean() for each in level.values()])
        spread = found.std(ddof=1) * math.sqrt(1 + 1 / len(found))
        new_level = found.mean() + spread * random.standard_t(len(found) - 1, draws)
    return Curves(
        reference,
        level,
        share,
        exponent,
        noises[noise_at],
        (new_level, _SHARES[at_share], _EXPONENTS[at_exponent]),
    )


def _one_of(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(R,) a place of each row of (R, N) weights, as likely as its weight."""
    total = np.cumsum(weights, axis=1)
    return (total < random.random((len(weights), 1)) * total[:, -1:]).sum(axis=1)


@functools.cache
def _populations() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(P, E) probabilities of the exponents in each population, (Q, S) those of the shares, (Q,)
    of the populations of shares a priori."""
    exponents = stats.norm.pdf(
        np.log(_EXPONENTS), np.log(_MEDIAN_EXPONENTS)[:, None, None], _EXPONENT_SDS[:, None]
    ).reshape(-1, len(_EXPONENTS))
    mean, sd = (each.ravel()[:, None] for each in np.meshgrid(_MEAN_SHARES, _SHARE_SDS))
    shares = np.zeros((len(mean) + 1, len(_SHARES)))
    shares[1:, 1:] = stats.norm.pdf(_SHARES[1:], mean, sd) * np.diff(_EDGES)
    shares[0, 0] = 1.0
    prior = np.append(_NO_FLOOR, np.full(len(mean), (1 - _NO_FLOOR) / len(mean)))
    return (
        exponents / exponents.sum(axis=1, keepdims=True),
        shares / shares.sum(axis=1, keepdims=True),
        prior,
    )


def _likelihood(
    points: Points, reference: float, noise_pp: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of one language, at one noise of training.

    Returns:
        (E, S) log likelihood with A integrated out; (E, S) mean and standard deviation of A.
    """
    covariance = points.covariance + np.eye(len(points.hours)) * noise_pp**2
    precision = np.linalg.inv(covariance)
    falling = (points.hours / reference) ** -_EXPONENTS[:, None]  # (E, n)
    curves = _SHARES[:, None] + (1 - _SHARES)[:, None] * falling[:, None, :]  # (E, S, n)
    weighted = curves @ precision
    bottom = np.einsum("esn,esn->es", weighted, curves)
    level = (weighted @ points.gap_pp) / bottom
    chi2 = points.gap_pp @ precision @ points.gap_pp - level**2 * bottom
    log = -0.5 * (chi2 + np.linalg.slogdet(covariance)[1] + np.log(bottom))
    return log, level, 1 / np.sqrt(bottom)
