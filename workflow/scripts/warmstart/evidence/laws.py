"""Laws of the gap in the hours of training, fitted to all replicates at once."""

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from warmstart.evidence.intervals import Draws

_EXPONENTS = np.linspace(-3.0, 6.0, 181)


_GOLDEN = (math.sqrt(5) - 1) / 2


_SMALLEST_SD_PP = 1e-3  # a budget without any variation must not get infinite weight


@dataclasses.dataclass(frozen=True)
class Shape:
    """A family gap = a * f(h; t): amplitude `a` per language, shape `t` shared and searched on
    `grid` (None: no shape)."""

    name: str
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray]
    grid: np.ndarray | None

    @property
    def shape_parameters(self) -> int:
        """0 or 1, for the count of parameters."""
        return 0 if self.grid is None else 1


def power_curve(hours: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """h^-b; `hours` relative to a reference budget."""
    return np.power(hours, -exponent)


SHAPES = [
    Shape("power", power_curve, _EXPONENTS),
    Shape(
        "exponential",
        lambda hours, rate: np.exp(-rate * (hours - 1.0)),
        np.concatenate([[0.0], np.geomspace(1e-4, 30, 240)]),
    ),
    Shape(
        "log_linear", lambda hours, slope: 1.0 - slope * np.log(hours), np.linspace(-3.0, 3.0, 241)
    ),
    Shape("constant", lambda hours, _: np.ones_like(hours), None),
]


@dataclasses.dataclass(frozen=True)
class Fit:
    """Amplitudes and shape for each replicate: `amplitude` (R, L) in the gap's unit at `reference`
    hours, `shape` (R,)."""

    amplitude: np.ndarray
    shape: np.ndarray
    reference: float
    chi2: np.ndarray


def fit_shape(family: Shape, hours: np.ndarray, gaps: np.ndarray, weights: np.ndarray) -> Fit:
    """Weighted least squares of gap = a_l * f(h; t), in the gap's own unit, for every replicate at
    once.

    In linear space a zero or negative gap is an observation like any other; a log-log line would
    have to drop it, and dropping small gaps that happen to fall below zero biases the exponent
    towards zero. For given `t` the best amplitudes are closed form, so one number is searched
    (variable projection): a grid, then golden section.

    Args:
        family: what to fit.
        hours: (n,) budgets.
        gaps: (R, L, n) gaps; NaN where a language has no such budget.
        weights: (L, n) 1 / variance of the gaps; ignored where the gap is NaN.

    Returns:
        The fit. `shape` at an end of the grid means that the data do not bound it on that side.
    """
    gaps = np.asarray(gaps, float)
    weights = np.where(np.isnan(gaps[0]), 0.0, weights)
    filled = np.nan_to_num(gaps)
    reference = (
        float(np.exp(np.mean(np.log(hours)))) if family.name == "power" else float(np.min(hours))
    )
    relative = np.asarray(hours, float) / reference
    weighted = filled * weights  # (R, L, n)

    def explained(shape: np.ndarray) -> np.ndarray:
        """(R,) part of the weighted sum of squares that shape (R,) explains."""
        curve = family.curve(relative[None, :], shape[:, None])  # (R, n)
        top = np.einsum("rln,rn->rl", weighted, curve)
        bottom = np.einsum("ln,rn->rl", weights, curve**2)
        return (top**2 / np.maximum(bottom, 1e-300)).sum(axis=1)

    replicates = len(gaps)
    if family.grid is None:
        shape = np.zeros(replicates)
    else:
        curves = family.curve(relative[None, :], family.grid[:, None])  # (B, n)
        bottom = np.maximum(curves**2 @ weights.T, 1e-300)  # (B, L)
        score = np.zeros((replicates, len(family.grid)))
        for language in range(gaps.shape[1]):
            score += (weighted[:, language] @ curves.T) ** 2 / bottom[:, language]
        best = score.argmax(axis=1)
        low = family.grid[np.maximum(best - 1, 0)]
        high = family.grid[np.minimum(best + 1, len(family.grid) - 1)]
        for _ in range(36):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            better = explained(left) > explained(right)
            low, high = np.where(better, low, left), np.where(better, right, high)
        shape = (low + high) / 2
    curve = family.curve(relative[None, :], shape[:, None])
    bottom = np.maximum(np.einsum("ln,rn->rl", weights, curve**2), 1e-300)
    amplitude = np.einsum("rln,rn->rl", weighted, curve) / bottom
    residual = np.where(weights > 0, filled - amplitude[:, :, None] * curve[:, None, :], 0.0)
    return Fit(amplitude, shape, reference, (weights * residual**2).sum(axis=(1, 2)))


def at_shape_bound(family: Shape, shape: np.ndarray) -> np.ndarray:
    """-1, 0 or 1: whether the shape ran into the low or the high end of what is searched."""
    if family.grid is None:
        return np.zeros_like(shape)
    low, high = family.grid[0], family.grid[-1]
    slack = 1e-3 * (high - low)
    return np.where(shape <= low + slack, -1, np.where(shape >= high - slack, 1, 0))


def hours_to_threshold(
    amplitude: np.ndarray, exponent: np.ndarray, reference: float, threshold: float
) -> np.ndarray:
    """Hours from which on a * (h / reference)^-b stays under `threshold`: 0 if it always does,
    infinity if it never does."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        crossing = reference * np.power(
            np.maximum(amplitude, 1e-300) / threshold,
            1.0 / np.where(exponent == 0, np.nan, exponent),
        )
    falling = np.where(
        exponent > 0, crossing, np.where((exponent == 0) & (amplitude < threshold), 0.0, np.inf)
    )
    return np.where(amplitude <= 0, 0.0, falling)


def gap_weights(draws: Sequence[Draws]) -> np.ndarray:
    """1 / variance of gaps given in percentage points."""
    return np.array([1.0 / max(estimate.error, _SMALLEST_SD_PP) ** 2 for estimate in draws])


def compare_shapes(
    hours: np.ndarray, gaps: np.ndarray, weights: np.ndarray, without: Collection[str] = ()
) -> dict[str, dict[str, float]]:
    """AIC = chi2 + 2 k of every family on the estimates themselves.

    The variances of the gaps are known from the bootstrap, not estimated from the residuals, so AIC
    is exact for Gaussian errors and the small-sample term of AICc, which pays for estimating the
    variance, does not apply. A family with as many parameters as there are gaps fits perfectly and
    cannot be compared: its AIC is NaN.

    Args:
        hours: (n,) budgets; gaps: (L, n); weights: (L, n).
        without: families that are not compared, because they do not exist for these gaps.

    Returns:
        family -> {"parameters", "chi2", "aic", "weight"}; `weight` is the Akaike weight among the
        comparable families.
    """
    points = int((~np.isnan(gaps)).sum())
    result = {}
    for family in SHAPES:
        if family.name in without:
            continue
        fit = fit_shape(family, hours, gaps[None], weights)
        parameters = gaps.shape[0] + family.shape_parameters
        chi2 = float(fit.chi2[0])
        result[family.name] = {
            "parameters": parameters,
            "chi2": chi2,
            "aic": chi2 + 2 * parameters if points > parameters else float("nan"),
        }
    known = [row["aic"] for row in result.values() if not math.isnan(row["aic"])]
    for row in result.values():
        row["weight"] = (
            math.exp(-(row["aic"] - min(known)) / 2) if not math.isnan(row["aic"]) else float("nan")
        )
    total = sum(row["weight"] for row in result.values() if not math.isnan(row["weight"]))
    for row in result.values():
        row["weight"] /= total or 1.0
    return result
