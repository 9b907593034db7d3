"""Laws of the gap in the hours of training: families fitted and compared, and the exponents of
languages that differ."""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from scipy import optimize, stats

from warmstart.evidence.intervals import Draws

_EXPONENTS = np.linspace(-3.0, 6.0, 181)


_GOLDEN = (math.sqrt(5) - 1) / 2


_SMALLEST_SD_PP = 1e-3  # a budget without any variation must not get infinite weight


CLAIM_RATIO = 10.0
"""Akaike weight of a family over that of another from which the first is called better: "strong"
evidence on the scale of Jeffreys 1961 (Theory of Probability, appendix B). Burnham & Anderson 2002
(Model Selection and Multimodel Inference, section 2.6) call a difference in AIC of 4, a ratio of
7.4, "considerably less" support."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """A family gap = a * f(h; t): amplitude `a` per language, shape `t` shared and searched on
    `grid` (None: no shape).

    With `floors` it is gap = a * (r + (1 - r) * f(h; t)), the share r of what no amount of data
    removes searched on them.
    """

    name: str
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray]
    grid: np.ndarray | None
    floors: np.ndarray | None = None

    @property
    def shape_parameters(self) -> int:
        """0, 1 or 2, for the count of parameters."""
        return (self.grid is not None) + (self.floors is not None)


def power_curve(hours: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """h^-b; `hours` relative to a reference budget."""
    return np.power(hours, -exponent)


SHAPES = [
    Shape("power", power_curve, _EXPONENTS),
    # A share below zero is a gap that changes its sign.
    Shape("floor_power", power_curve, np.linspace(0.05, 6.0, 60), np.linspace(-0.5, 1.0, 31)),
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


def gap_weights(draws: Sequence[Draws]) -> np.ndarray:
    """1 / variance of gaps given in percentage points, less where few blocks tell the variance."""
    return np.array(
        [
            1.0 / max(estimate.error * tail_widening(estimate.block_df), _SMALLEST_SD_PP) ** 2
            for estimate in draws
        ]
    )


def tail_widening(df: float) -> float:
    """How much farther out 95 % of Student's t with `df` degrees of freedom reach than of the
    normal; 1 where there are none to count."""
    return float(stats.t.ppf(0.975, df) / stats.norm.ppf(0.975)) if df >= 1 else 1.0


def compare_shapes(
    hours: np.ndarray,
    gaps: np.ndarray,
    weights: np.ndarray,
    without: Collection[str] = (),
    misfit: float = 1.0,
) -> dict[str, dict[str, float]]:
    """AIC = chi2 / misfit^2 + 2 k of every family on the estimates themselves.

    The variances of the gaps are known from the bootstrap, not estimated from the residuals, so the
    small-sample term of AICc, which pays for estimating the variance, does not apply. That budgets
    of a language share their blocks is left out; most of it cancels in a gap. A family with as many
    parameters as there are gaps fits perfectly and cannot be compared: its AIC is NaN. Where no
    language has three budgets nothing tells curves apart, and none is compared.

    Args:
        hours: (n,) budgets; gaps: (L, n); weights: (L, n).
        without: families that are not compared, because they do not exist for these gaps.
        misfit: factor by which errors are larger than the weights say (QAIC, Burnham & Anderson
            2002, section 2.5).

    Returns:
        family -> {"parameters", "chi2", "df", "aic", "weight"}; `df` is points - parameters,
        `weight` the Akaike weight among the comparable families.
    """
    there = ~np.isnan(gaps)
    points = int(there.sum())
    enough = bool((there.sum(axis=1) > 2).any())
    result = {}
    for family in SHAPES:
        if family.name in without:
            continue
        chi2 = _smallest_chi2(family, hours, gaps, weights)
        parameters = gaps.shape[0] + family.shape_parameters
        comparable = enough and points > parameters
        result[family.name] = {
            "parameters": parameters,
            "chi2": chi2,
            "df": max(points - parameters, 0),
            "aic": chi2 / misfit**2 + 2 * parameters if comparable else float("nan"),
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


def better_than(name: str, comparison: Mapping[str, Mapping[str, float]]) -> str:
    """The family that describes gaps best, where that may be claimed against one of them by
    `CLAIM_RATIO`; else empty."""
    weights = {family: row["weight"] for family, row in comparison.items()}
    weights = {family: weight for family, weight in weights.items() if not math.isnan(weight)}
    if name not in weights:
        return ""
    best = max(weights, key=lambda family: weights[family])
    return best if weights[best] > CLAIM_RATIO * weights[name] else ""


def rival_of(names: Collection[str], comparison: Mapping[str, Mapping[str, float]]) -> str:
    """The most likely family beside some, where none of these may be claimed against it by
    `CLAIM_RATIO`; else empty."""
    weights = {family: row["weight"] for family, row in comparison.items()}
    own = [weights[name] for name in names if not math.isnan(weights.get(name, math.nan))]
    others = {
        family: weight
        for family, weight in weights.items()
        if family not in names and not math.isnan(weight)
    }
    if not others:
        return ""
    best = max(others, key=lambda family: others[family])
    return best if CLAIM_RATIO * others[best] >= max(own, default=0.0) else ""


def _smallest_chi2(
    family: Shape, hours: np.ndarray, gaps: np.ndarray, weights: np.ndarray
) -> float:
    """Weighted sum of squares that a family leaves, of gaps (L, n)."""
    if family.grid is None or family.floors is None:
        return float(fit_shape(family, hours, gaps[None], weights).chi2[0])
    weights = np.where(np.isnan(gaps), 0.0, weights)
    gaps = np.nan_to_num(gaps)
    relative = np.asarray(hours, float) / np.min(hours)

    def left(curves: np.ndarray) -> np.ndarray:
        """(B,) of curves (B, n)."""
        top = curves @ (weights * gaps).T
        bottom = np.maximum(curves**2 @ weights.T, 1e-300)
        return (weights * gaps**2).sum() - (top**2 / bottom).sum(axis=1)

    def curves_of(floors: np.ndarray, shapes: np.ndarray) -> np.ndarray:
        falling = family.curve(relative[None, :], shapes[:, None])
        return floors[:, None] + (1 - floors)[:, None] * falling

    grid = np.meshgrid(family.floors, family.grid)
    floors, shapes = (each.ravel() for each in grid)
    coarse = left(curves_of(floors, shapes))
    best = coarse.argmin()
    found = optimize.minimize(
        lambda at: left(curves_of(at[:1], at[1:]))[0],
        [floors[best], shapes[best]],
        method="Nelder-Mead",
        bounds=[(each[0], each[-1]) for each in (family.floors, family.grid)],
        options={"xatol": 1e-4, "fatol": 1e-4},
    )
    return max(0.0, float(min(found.fun, coarse[best])))


# ---- languages that differ


@dataclasses.dataclass(frozen=True)
class Population:
    """Languages' estimates of one number, and what they say of the languages they stand for.

    Attributes:
        mean, low, high: of the population, with its interval.
        sd: between languages.
        q, df, p: Cochran's test that all are equal.
        i2: share of the variation that is not noise of the estimates (Higgins & Thompson 2002,
            doi:10.1002/sim.1186).
    """

    mean: float
    low: float
    high: float
    sd: float
    q: float
    df: int
    p: float
    i2: float


def random_effects(
    values: Sequence[float], errors: Sequence[float], confidence: float
) -> Population:
    """Random effects over languages.

    Variance between languages by the moments of DerSimonian & Laird 1986
    (doi:10.1016/0197-2456(86)90046-2); interval of the mean by Student's t after Hartung & Knapp
    2001 (doi:10.1002/sim.1009), not narrower than without their factor (Roever, Knapp & Friede
    2015, doi:10.1186/s12874-015-0091-1).

    Args:
        values: one a language.
        errors: their standard errors, above zero.
        confidence: of the interval.

    Returns:
        The population. With one or two languages only the test is known; with one not even that.
    """
    found, variance = np.asarray(values, float), np.asarray(errors, float) ** 2
    df = len(found) - 1
    nan = float("nan")
    if df < 1:
        return Population(nan, nan, nan, nan, nan, df, nan, nan)
    weights = 1 / variance
    common = (weights * found).sum() / weights.sum()
    q = float((weights * (found - common) ** 2).sum())
    p = float(stats.chi2.sf(q, df))
    i2 = max(0.0, (q - df) / q) if q > 0 else 0.0
    if df < 2:
        return Population(nan, nan, nan, nan, q, df, p, i2)
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    between = max(0.0, (q - df) / scale)
    weights = 1 / (variance + between)
    mean = (weights * found).sum() / weights.sum()
    factor = max(1.0, (weights * (found - mean) ** 2).sum() / df)
    half = stats.t.ppf(0.5 + confidence / 2, df) * math.sqrt(factor / weights.sum())
    return Population(
        float(mean), float(mean - half), float(mean + half), math.sqrt(between), q, df, p, i2
    )
