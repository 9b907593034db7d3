"""Laws of how many distinct tokens are met in how much audio, and of how often each is.

Growth. D(t) is the number of distinct tokens in t seconds of audio, averaged over all orders of the
utterances: no order is drawn, because the mean over all of them has a closed form (sample-based
rarefaction: Hurlbert 1971, doi:10.2307/1934145; Colwell, Mao & Chang 2004, doi:10.1890/03-0557).
Two laws are fitted to it by least squares: D = D_inf (1 - e^(-t/tau)), whose tau is the acoustic
saturation time of arXiv:2510.22492, and Heaps' law D = K t^beta.

Frequencies. Zipf's p(r) = r^-a / Z, and Zipf-Mandelbrot's p(r) = (r + b)^-a / Z, by the likelihood
of the counts. A line through log-log points would give each of the many singletons the weight of
the most frequent token (Clauset, Shalizi & Newman 2009, arXiv:0706.1062).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

_COARSE = 201  # values of a shape that are tried before the best is refined
_GOLDEN = (math.sqrt(5) - 1) / 2
_ROUNDS = 40  # of golden section: the interval shrinks to 4e-9 of itself

# Beyond these a curve tells no shape: a straight line, or flat from the first point on.
TAU_BOUNDS = 1e-2, 1e2  # times the window
_BETA_BOUNDS = 1e-4, 2.0

_MOST_EXPONENT, _MOST_SHIFT = 20.0, 1e6


def rarefied(frequencies: np.ndarray, utterances: int, drawn: np.ndarray) -> np.ndarray:
    """Distinct tokens in some of the utterances, the mean over all choices of them.

    Args:
        frequencies: (V,) in how many utterances each token is.
        utterances: how many there are.
        drawn: (P,) how many are drawn, not whole where a time ends inside an utterance.

    Returns:
        (P,) sum over tokens of 1 - C(N - f, n) / C(N, n).
    """
    found, times = np.unique(frequencies[frequencies > 0], return_counts=True)
    n, f = np.asarray(drawn, float)[:, None], found.astype(float)
    left = utterances - f - n + 1
    with np.errstate(invalid="ignore"):
        absent = np.exp(
            special.gammaln(utterances - f + 1)
            + special.gammaln(utterances - n + 1)
            - special.gammaln(np.maximum(left, 1e-300))
            - special.gammaln(utterances + 1)
        )
    return ((1 - np.where(left > 0, absent, 0.0)) * times).sum(axis=1)


@dataclass(frozen=True)
class Fit:
    """A law D(t) = scale * g(t; shape), for S curves.

    Attributes:
        scale, shape: (S,).
        r2: (S,) share of the variance over the points that it explains.
        basis: g.
    """

    scale: np.ndarray
    shape: np.ndarray
    r2: np.ndarray
    basis: Callable[[np.ndarray, np.ndarray], np.ndarray]

    def at(self, time_s: float) -> np.ndarray:
        """(S,) distinct tokens at a time."""
        return self.scale * self.basis(self.shape, np.array([time_s]))[:, 0]


def exponential(time_s: np.ndarray, distinct: np.ndarray) -> Fit:
    """D_inf (1 - e^(-t/tau)): scale D_inf, shape tau in seconds, inside `TAU_BOUNDS` times the last
    time.

    Args:
        time_s: (P,) rising.
        distinct: (S, P).
    """
    low, high = (bound * float(time_s[-1]) for bound in TAU_BOUNDS)
    return _least_squares(_exponential, time_s, distinct, np.geomspace(low, high, _COARSE))


def heaps(time_s: np.ndarray, distinct: np.ndarray) -> Fit:
    """K t^beta: scale K, shape beta."""
    return _least_squares(_power, time_s, distinct, np.linspace(*_BETA_BOUNDS, _COARSE))


def _exponential(tau: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    return -np.expm1(-time_s / tau[:, None])


def _power(beta: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    return time_s ** beta[:, None]


def _least_squares(
    basis: Callable[[np.ndarray, np.ndarray], np.ndarray],
    time_s: np.ndarray,
    distinct: np.ndarray,
    grid: np.ndarray,
) -> Fit:
    """The scale is linear given the shape, so only the shape is searched: on a grid, then by golden
    section between the neighbours of the best."""
    rows = basis(grid, time_s)
    explained = (distinct @ rows.T) ** 2 / (rows**2).sum(axis=1)
    best = explained.argmax(axis=1)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, len(grid) - 1)]

    def residual(shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = basis(shape, time_s)
        scale = (distinct * own).sum(axis=1) / (own**2).sum(axis=1)
        return ((distinct - scale[:, None] * own) ** 2).sum(axis=1), scale

    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        lower = residual(left)[0] < residual(right)[0]
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    shape = (low + high) / 2
    squares, scale = residual(shape)
    whole = ((distinct - distinct.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = np.where(whole > 0, 1 - squares / whole, np.nan)
    return Fit(scale, shape, r2, basis)


@dataclass(frozen=True)
class Ranked:
    """Zipf's law (b = 0) or Zipf-Mandelbrot's of some counts.

    Attributes:
        a, b: exponent and shift of the rank; inf, both: frequencies fall exponentially with the
            rank, which is the limit of Zipf-Mandelbrot's law and no power law.
        log_likelihood: in nats, of the counts given their sum.
    """

    a: float
    b: float
    log_likelihood: float


def zipf(counts: np.ndarray, shifted: bool = False) -> Ranked:
    """The law of the most likely exponent, and with `shifted` (Zipf-Mandelbrot) shift; NaN of no
    token at all.

    Args:
        counts: (V,) how often each token occurs; those that do not occur have no rank. Where half
            of the language's tokens did not occur, a is up to 0.08 too small (the tokens that are
            rare by chance stand at the end), and no longer with some ten occurrences a token.
    """
    ordered = np.sort(counts[counts > 0])[::-1].astype(float)
    if not len(ordered):
        return Ranked(math.nan, math.nan, math.nan)
    ranks, total = np.arange(1, len(ordered) + 1.0), ordered.sum()

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        """Minus the mean log-likelihood, and its gradient."""
        a, shift = values[0], math.expm1(values[1]) if shifted else 0.0
        logs = np.log(ranks + shift)
        weights = np.exp(-a * (logs - logs[0]))
        normaliser = weights.sum()
        share, expected = ordered / total, weights / normaliser
        value = a * (share @ logs) + math.log(normaliser) - a * logs[0]
        slope_a = (share - expected) @ logs
        slope_b = a * ((share - expected) @ (1 / (ranks + shift))) * (shift + 1)
        return value, np.array([slope_a, slope_b][: len(values)])

    bounds = [(0.0, _MOST_EXPONENT), (0.0, math.log1p(_MOST_SHIFT))][: 1 + shifted]
    start = [1.0, math.log1p(1.0)][: 1 + shifted]
    found = optimize.minimize(
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-13}
    )
    a, shift = float(found.x[0]), math.expm1(found.x[1]) if shifted else 0.0
    if shifted and (a > 0.99 * _MOST_EXPONENT or shift > 0.99 * _MOST_SHIFT):
        # (1 + r / b)^-a with both without bound is e^-(a r / b): no power of the rank.
        a = shift = math.inf
    return Ranked(a, shift, -total * float(found.fun))
