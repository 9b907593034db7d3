"""The law of the gap in the hours of training, by language and pooled, and other curves beside
it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from warmstart.evidence import gap_curves, intervals, laws
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, interval_cell, number_cell, text_cell
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    CONTRAST,
    LANG,
    LANGUAGES,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, POOLED, Place, name_of
from warmstart.evidence.means import NAN, with_interval
from warmstart.evidence.recognition import OK
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Field, Sheet, field, sheet

LAW, GAP_AT = "law", "gap_at_hours"
"""What a row answers (column `asked`)."""
ALREADY, BETWEEN, AT_LEAST, NEVER, OPEN = "already", "between", "at least", "never", "not bounded"
"""What the hours to the threshold are (column `threshold_says`), where there is a law."""
REACH = 4.0
"""Times the largest budget: as far as hours are told, and curves drawn."""
_NEIGHBOURS = 3
"""Languages that must have been trained with as many hours where the gap of a new one is told
although curves disagree: ours. A gap that falls with log h was covered in 81 % at hours that one
language of eight had (benchmarks/RESULTS.md)."""
_FORECASTS = 25  # hours at which a new language is foretold; the planner interpolates between

_ESTIMATES = [
    *("exponent_b", "exponent_low_b", "exponent_high_b"),
    *("factor_per_doubling", "factor_low_per_doubling", "factor_high_per_doubling"),
    *("floor_pp", "floor_low_pp", "floor_high_pp"),
]
"""Columns of the page that speak of a law, in numbers."""

_AIC = "AIC = χ² / `misfit_inflation`² + 2·parameters, with variances known from the bootstrap"

Series = Mapping[str, Mapping[float, intervals.Draws]]
"""language -> hours -> gap, of one test set and tier."""


class Analysis(base.Analysis):
    """Gap = a·h^(−b), least squares in percentage points, weighted by the bootstrap's variances and
    repeated in every replicate; and the hours from which the gap is small, by a law with a
    floor."""

    section = base.GAP
    caption = (
        "The law gap = a·h^(−b) on the full-precision gaps of a test set and tier, per language "
        "and pooled, with intervals, the hours from which the gap stays under the threshold, and "
        "other families for comparison."
    )
    details = (
        "The fit is least squares in percentage points, weighted by the bootstrap's variances and "
        "repeated in every replicate. Zero and negative gaps are ordinary observations: an "
        "amplitude below zero means that the baseline is better. Gaps of both signs, or gaps that "
        "vanish after the first budget, have no exponent: the row says so, and has no estimates. "
        "Exponents may differ between languages. With three or more languages of three or more "
        "budgets the pooled exponent is the mean of the population that they stand for, by random "
        "effects (DerSimonian and Laird, interval after Hartung and Knapp). With fewer it is one "
        "that they share, which is not told where a test says that they differ. "
        "The hours to the threshold are about the size of the gap, whichever arm is better, and in "
        "the pooled row about its mean over the languages. They come from gap = A·(r + "
        "(1 − r)·(h/h₀)^(−b), which has a floor, fitted to all languages together. Nothing is told "
        "beyond four times the largest budget: `inf` stands for more. Rows `gap_at_hours` are of a "
        "language that is not in the study; the planner reads them. Where another kind of curve "
        f"cannot be excluded, they end at the hours that {_NEIGHBOURS} languages have. "
        "With one seed the gaps lie farther from the law than their test sets explain, because "
        "trainings differ. Intervals are then widened by `misfit_inflation`."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, TEST_SET, TIER),
        Column("budgets", "", "different budgets"),
        Column("points", "", "gaps that were fitted"),
        Column(
            "left_out",
            "",
            "gaps that the law leaves out: a system does not recognise, or no replicate varies",
        ),
        Column("threshold_pp", "pp", "`statistics.threshold_pp`"),
        Column("criterion", "", "how families are compared"),
        Column(
            "family",
            "",
            "`power`, `floor_power` c + a·h^(−b), `exponential` a·e^(−ch), `log_linear` "
            "a − c·ln h, `constant`; estimates are given for `power`",
        ),
        Column("asked", "", "`law`, or `gap_at_hours`: the gap of a new language at `asked_hours`"),
        Column("asked_hours", "h", "hours of a row `gap_at_hours`"),
        *estimate(
            "forecast", "pp", "pp", "gap of a new language at `asked_hours`, prediction interval"
        ),
        *estimate("exponent", "b", "", "b", "Exponent b"),
        Column(
            "exponent_as",
            "",
            "`own` of a language, `shared` by the languages, or `random effects`: the mean of the "
            "population of languages",
        ),
        Column("exponent_languages", "", "languages whose exponents are compared (three budgets)"),
        Column("exponent_sd_b", "", "standard deviation of b between languages, by random effects"),
        Column("q", "", "Cochran's Q of “all languages have one exponent”"),
        Column("q_df", "", "its degrees of freedom"),
        Column("q_p", "", "its p-value"),
        Column(
            "i2_pct",
            "%",
            "share of the exponents' variation that is no noise (Higgins and Thompson 2002)",
            "I² %",
        ),
        *estimate(
            "factor",
            "per_doubling",
            "",
            "2^(−b), by which each doubling of the data multiplies the gap",
            "Per doubling",
        ),
        Column("reference_hours", "h", "the smallest budget"),
        *estimate(
            "gap_at_reference",
            "pp",
            "pp",
            "the law's gap at `reference_hours`; `pooled`: mean over languages",
        ),
        *estimate(
            "threshold",
            "hours",
            "h",
            "hours from which the size of the gap stays under `threshold_pp`, by a law with a "
            "floor; 0: from the smallest budget on, inf: beyond four times the largest, or never",
        ),
        Column(
            "threshold_says",
            "",
            "`already` at the smallest budget, `between` the bounds, `at least` the lower bound, "
            "`never` (the floor is above, or the gap does not fall), `not bounded`, or "
            "`not estimable: ...`",
        ),
        Column(
            "threshold_beyond",
            "",
            "`above`: a finite bound of the hours is beyond the largest budget, an extrapolation; "
            "else empty",
        ),
        *estimate(
            "floor",
            "pp",
            "pp",
            "size of the gap that endless data would leave; `pooled`: mean over languages",
            "Floor pp",
        ),
        Column(
            "amplitude_sd_pp",
            "pp",
            "`pooled`: spread of the languages' gaps at `reference_hours`",
        ),
        Column("parameters", "", _AIC),
        Column("chi2", "", _AIC),
        Column("df", "", "degrees of freedom of χ²: points − parameters"),
        Column("aic", "", _AIC),
        Column("weight", "", "Akaike weight among the families that can be compared"),
        Column(
            "better_family",
            "",
            "`power`: the family that describes the gaps better, where its Akaike weight is more "
            f"than {laws.CLAIM_RATIO:g} times as large; else empty",
        ),
        Column(
            "misfit_inflation",
            "",
            "factor by which intervals are widened, at least 1: the root of χ² of the languages' "
            "own laws over what the bootstrap gives it if they are exact. With one seed, how far "
            "gaps lie from a law shows what trainings differ by; intervals are then Student's with "
            "the degrees of freedom of this χ²",
        ),
        Column("status", "", "`ok`, `not estimable: ...` or `exponent not bounded by the data`"),
    )
    note = (
        "Law gap = a·h^(−b). Hours and floor are of the size of the gap and come from a law with a "
        "floor; “extrapolated” hours are beyond the largest budget. Curve: the one with the lowest "
        "AIC, with its χ² on so many degrees of freedom; named where three budgets or more allow "
        f"a comparison. Another one is called better than the power law where its Akaike weight is "
        f"more than {laws.CLAIM_RATIO:g} times as large. ∞: the data do not bound it."
    )
    by_contrast = True

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every contrast, test set and tier: each language, then all of them."""
        for contrast in settings.contrasts:
            for test_set, members in evidence.by_test_set().items():
                gaps = {one.lang: one.gaps(contrast) for one in members}
                scored = {one.lang: one for one in members}
                at = {
                    (place.training_set, place.tier)
                    for own in gaps.values()
                    for place in own
                    if place.precision == FULL
                }
                for part, tier in sorted(at, key=lambda one: (one[0], settings.tier_place(one[1]))):
                    series = {
                        # Zero hours, a donor as published, is no point of a law in the hours; on a
                        # logarithmic axis it has no place.
                        lang: {
                            place.hours: draws
                            for place, draws in own.items()
                            if place == (part, place.hours, FULL, tier) and place.hours > 0
                        }
                        for lang, own in gaps.items()
                    }
                    series = {lang: own for lang, own in series.items() if own}
                    usable = {
                        lang: {
                            hours: draws
                            for hours, draws in own.items()
                            if _usable(scored[lang], Place(part, hours, FULL, tier), contrast)
                            and (draws.varies or draws.block_df < 1)
                        }
                        for lang, own in series.items()
                    }
                    about = {"contrast": contrast.name, "test_set": test_set, "tier": tier}
                    names = contrast.name, part, test_set, tier
                    random = intervals.generator(settings.seed, "fit", *names)
                    for row in law_rows(usable, series, settings, random):
                        lang = row["lang"]
                        name = part if lang == POOLED else name_of(part, lang)
                        yield about | {"training_set": name} | row

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's laws, a row each, with the hours to a small gap and the best curve."""
        table = display.ordered(display.headline(tables["fit"], contrast))
        table = table[table.asked == LAW]
        rows = []
        for _, group in table.groupby(["training_set", "lang"], sort=False):
            families = group.set_index("family")
            law = families.loc["power"].copy()
            if not stands(law.status):
                # What does not exist has no size: infinities and zeros here would read as findings.
                law[_ESTIMATES] = NAN
                law["threshold_says"] = law.status
            rows.append(pd.concat([law, pd.Series({"curve": _best_curve(families)})]))
        of = self.fields(display)

        def bounds(name: str, suffix: str, digits: int) -> Field:
            low, high = f"{name}_low_{suffix}", f"{name}_high_{suffix}"

            def cell(row: Any) -> Shown:
                if math.isnan(getattr(row, low)):
                    return number_cell(None, digits)
                return interval_cell(getattr(row, low), getattr(row, high), digits, signed=False)

            return of.cell(low, cell, head=display.interval)

        threshold_pp = f"{display.settings.threshold_pp:g}"
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            *of.training_set(),
            of.number("exponent_b", 2),
            bounds("exponent", "b", 2),
            of.number("factor_per_doubling", 2, unit=" ×"),
            bounds("factor", "per_doubling", 2),
            of.cell("threshold_hours", _hours_needed, head=f"Hours to {threshold_pp} pp"),
            of.number("floor_pp", 2),
            bounds("floor", "pp", 2),
            of.number("i2_pct", 0),
            field(
                "Curve, χ² (df)",
                lambda row: text_cell(row.curve),
                "The family with the lowest AIC, and how far the gaps lie from it",
            ),
            of.text("better_family", lambda row: named(row.better_family), head="Better curve"),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, rows)


def named(family: Any) -> str:
    """A family for readers; empty where none is named."""
    return "" if pd.isna(family) else str(family).replace("_", "-")


def _best_curve(families: pd.DataFrame) -> str:
    """The family of the lowest AIC with its chi2; nothing where none can be compared."""
    compared = families[families.aic.notna()]
    if compared.empty:
        return ""
    best = compared.loc[compared.aic.idxmin()]
    return f"{named(best.name)}, {best.chi2:.1f} ({best.df:.0f})"


def _hours_needed(row: Any) -> Shown:
    """The interval of the hours, or what else can be said of them."""
    says, low, high = row.threshold_says, row.threshold_low_hours, row.threshold_high_hours
    beyond = " (extrapolated)" if row.threshold_beyond == "above" else ""
    if says == BETWEEN:
        first = f"{written_hours(low)} to" if low else "up to"
        return number_cell(low, 0, text=f"{first} {written_hours(high)}{beyond}")
    if says == AT_LEAST:
        return number_cell(low, 0, text=f"over {written_hours(low)}{beyond}")
    if says == ALREADY:
        return number_cell(0.0, 0, text=f"under {written_hours(row.reference_hours)}")
    return number_cell(math.inf, 0, text=NEVER) if says == NEVER else number_cell(NAN, 0)


def written_hours(hours: float) -> str:
    """Hours with two digits that count."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _usable(scored: Scored, place: Place, contrast: Contrast) -> bool:
    """Whether both systems of a gap recognise. The gap of one that does not is bounded by what
    there is to get wrong, and no law of the hours is."""
    return recognition_status((scored, place.cell(scored.lang, arm)) for arm in contrast.arms) == OK


def stands(status: Any) -> bool:
    """Whether a row of the table has a law, as its status says."""
    return not str(status).startswith("not estimable")


@dataclass(frozen=True)
class _Study:
    """What the laws of one test set and tier have in common.

    Attributes:
        misfit: factor by which intervals are widened.
        misfit_df: degrees of freedom that it is known by; infinity where it is not needed.
        exponents: language of three or more budgets -> its exponent and standard error, where the
            data bound it.
        curves: laws with a floor of all languages; None where there is nothing to fit.
        shaped: whether some language has three budgets, so that its data tell of a floor.
    """

    misfit: float
    misfit_df: float
    exponents: Mapping[str, tuple[float, float]]
    curves: gap_curves.Curves | None
    shaped: bool


def law_rows(
    series: Series, measured: Series, settings: Settings, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of the laws of one test set and tier: each language, then all of them where there are
    several.

    Args:
        series: what is fitted.
        measured: the same with the gaps that laws leave out.
        settings: confidence, replicates, threshold.
        random: source of the draws of the laws with a floor.
    """
    known = {
        lang: {hours: draws for hours, draws in own.items() if draws.block_df >= 1}
        for lang, own in series.items()
    }
    known = {lang: own for lang, own in known.items() if own}
    study = _study(known, settings, random)
    for lang, own in measured.items():
        for row in fit({lang: series.get(lang, {})}, {lang: own}, settings, study):
            yield {"lang": lang} | row
    if len(measured) > 1:
        # A language of one block has gaps, and nobody knows how far to trust them.
        for row in fit(known or series, measured, settings, study):
            yield {"lang": POOLED} | row


def _study(series: Series, settings: Settings, random: np.random.Generator) -> _Study:
    shaped = {lang: own for lang, own in series.items() if len(own) > 2}
    chi2 = expected = df = 0.0
    exponents = {}
    for lang, own in shaped.items():
        hours = np.array(sorted(own))
        gaps, weights = _arrays({lang: own}, hours, settings.replicates)
        found = laws.fit_shape(laws.SHAPES[0], hours, gaps, weights)
        chi2 += found.chi2[0]
        expected += _expected_chi2(found, hours, gaps, weights)
        df += len(own) - 2
        bound = laws.at_shape_bound(laws.SHAPES[0], found.shape)
        drawn = np.select([bound < 0, bound > 0], [-np.inf, np.inf], found.shape)[1:]
        # Quantiles, because some replicates may have no exponent.
        low, high = np.quantile(drawn, _ONE_SD, method="nearest")
        if not bound[0] and math.isfinite(high - low) and high > low:
            exponents[lang] = (float(found.shape[0]), float(high - low) / 2)
    once = any(draws.seed_df < 1 for own in series.values() for draws in own.values())
    # With several seeds the variances of the gaps hold what trainings differ by.
    misfit = math.sqrt(max(1.0, chi2 / expected)) if once and df else 1.0
    fitted = any(len(own) > 1 for own in series.values())
    points = {lang: gap_curves.points_of(own) for lang, own in series.items()}
    return _Study(
        misfit,
        df if misfit > 1 else math.inf,
        {lang: (value, misfit * error) for lang, (value, error) in exponents.items()},
        gap_curves.fit(points, random) if fitted else None,
        bool(shaped),
    )


def _expected_chi2(
    found: laws.Fit, hours: np.ndarray, gaps: np.ndarray, weights: np.ndarray
) -> float:
    """What the misfit of one language would be on average if its law were exact, by the bootstrap:
    budgets share a test set, so that gaps lie closer to a law than their variances say."""
    power = laws.SHAPES[0]
    curve = power.curve(hours / found.reference, found.shape[0])
    exact = found.amplitude[0][:, None] * curve
    refitted = laws.fit_shape(power, hours, exact + (gaps[1:] - gaps[:1]), weights)
    return float(refitted.chi2.mean())


_ONE_SD = stats.norm.cdf([-1, 1])


def fit(
    series: Series, measured: Series, settings: Settings, study: _Study
) -> Iterator[dict[str, Any]]:
    """Rows of one law: the power law with its estimates, then the other families, then what is
    foretold.

    Args:
        series: one language, or several.
        measured: the same with the gaps that the law leaves out.
        settings: confidence, replicates, threshold.
        study: what is common to all laws.
    """
    hours = np.array(sorted({h for own in series.values() for h in own}))
    points = sum(len(own) for own in series.values())
    every = {h for own in measured.values() for h in own}
    left_out = sum(map(len, measured.values())) - points
    common = {
        "languages": len(series),
        "budgets": len(hours),
        "points": points,
        "left_out": left_out,
        "threshold_pp": settings.threshold_pp,
        "criterion": "AIC, known variance",
        "asked": LAW,
    }
    if len(hours) < 2 or points < len(series) + 1:
        status = f"not estimable: {len(every)} budget(s), a law needs two"
        if len(every) > 1 and left_out:
            status = (
                f"not estimable: {len(hours)} budget(s) left, a law needs two; of {left_out} "
                "gap(s) a system does not recognise, or nothing varies"
            )
        yield common | {"family": "power", "status": status}
        return
    gaps, weights = _arrays(series, hours, settings.replicates, study.misfit)
    power = _power(series, hours, gaps, weights, settings, study)
    there = stands(power["status"])
    without = () if there else ("power",)
    comparison = laws.compare_shapes(hours, gaps[0], weights, without, study.misfit)
    # A law that does not exist has no numbers.
    yield (
        common
        | {"family": "power"}
        | (
            comparison["power"]
            | power
            | _threshold(series, study, settings)
            | {"better_family": laws.better_than("power", comparison)}
            if there
            else {"status": power["status"]}
        )
    )
    few = not any(len(own) > 2 for own in series.values())
    why = "no language has three budgets" if few else "as many parameters as gaps"
    for family in laws.SHAPES[1:]:
        comparable = not math.isnan(comparison[family.name]["aic"])
        yield (
            common
            | {"family": family.name, **comparison[family.name]}
            | {"status": "ok" if comparable else f"not comparable: {why}"}
        )
    if len(series) > 2 and power["status"] == OK and study.shaped and study.curves:
        for row in _foretold(study.curves, series, comparison, settings):
            yield common | {"family": "floor_power", "asked": GAP_AT} | row


def _foretold(
    curves: gap_curves.Curves,
    series: Series,
    comparison: Mapping[str, Mapping[str, float]],
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    """Gaps of a new language from the smallest budget on, as far as they can be told; and a row
    that says why not farther."""
    most = sorted(max(own) for own in series.values())
    first, reach = min(min(own) for own in series.values()), REACH * most[-1]
    rival = laws.rival_of(("power", "floor_power"), comparison)
    told = min(most[-_NEIGHBOURS], reach) if rival else reach
    asked = np.geomspace(first, told, _FORECASTS)
    foretold = curves.gap_pp(None, asked)
    for place, at in enumerate(asked):
        yield (
            {"asked_hours": float(at), "status": OK}
            | with_interval("forecast", "pp", *_summary(foretold[:, place], settings))
        )
    if told < reach:
        reason = (
            f"not estimable: the {named(rival)} curve cannot be excluded, and fewer than "
            f"{_NEIGHBOURS} languages have more than {told:g} h"
        )
        yield {"asked_hours": float(reach), "status": reason}


def _arrays(
    series: Series, hours: np.ndarray, replicates: int, misfit: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Gaps (1 + R, L, n), the estimates first, NaN where a language has no such budget; weights
    (L, n). `misfit` times as far from the estimates as the replicates are."""
    gaps = np.full((replicates + 1, len(series), len(hours)), np.nan)
    weights = np.zeros((len(series), len(hours)))
    for row, own in enumerate(series.values()):
        for column, h in enumerate(hours):
            if h in own:
                gaps[0, row, column] = own[h].value
                # With several seeds the replicates have the tails of Student's t, because the
                # variance of trainings, on which the weights rest, is estimated too.
                gaps[1:, row, column] = own[h].value + misfit * (own[h].all - own[h].value)
                weights[row, column] = laws.gap_weights([own[h]])[0]
    return gaps, weights


def _power(
    series: Series,
    hours: np.ndarray,
    gaps: np.ndarray,
    weights: np.ndarray,
    settings: Settings,
    study: _Study,
) -> dict[str, Any]:
    """Estimates of the power law with their intervals, and what they are worth."""
    power = laws.SHAPES[0]
    # The language that tells least about its own noise says how far all may be trusted.
    df = min(draws.block_df for own in series.values() for draws in own.values())
    df = min(df, study.misfit_df)
    found = laws.fit_shape(power, hours, gaps, weights)
    bound = laws.at_shape_bound(power, found.shape)
    exponent = np.select([bound < 0, bound > 0], [-np.inf, np.inf], found.shape)
    first = found.amplitude.mean(axis=1) * (hours[0] / found.reference) ** -found.shape

    def spread(draws: np.ndarray) -> tuple[float, float]:
        return intervals.interval(draws[1:], settings.confidence, df)

    b, bounds, kind = float(exponent[0]), spread(exponent), "shared" if len(series) > 1 else "own"
    several = {}
    population = None
    if len(series) > 1:
        known = [study.exponents[lang] for lang in series if lang in study.exponents]
        population = laws.random_effects(
            [value for value, _ in known], [error for _, error in known], settings.confidence
        )
        several = {
            "exponent_languages": len(known),
            "exponent_sd_b": population.sd,
            "q": population.q,
            "q_df": population.df if population.df > 0 else None,
            "q_p": population.p,
            "i2_pct": 100 * population.i2,
        }
        if len(known) > 2:
            b, bounds, kind = population.mean, (population.low, population.high), "random effects"
    low, high = bounds
    status = OK
    if math.isnan(low) or df < 1:
        status = "not estimable: fewer than two blocks"
    elif not np.nan_to_num(gaps[0]).any():
        status = "not estimable: every gap is zero"
    elif kind == "shared" and population and population.p < 1 - settings.confidence:
        status = (
            f"not estimable: the exponents of two languages differ (Q = {population.q:.1f}, "
            f"p = {population.p:.2g}), and a mean needs three"
        )
    elif not math.isfinite(b):
        status = "not estimable: gaps of both signs or flat, no exponent fits"
    elif math.isinf(low) or math.isinf(high):
        status = "exponent not bounded by the data"
    sizes = found.amplitude[0] * (hours[0] / found.reference) ** -found.shape[0]
    return {
        **with_interval("exponent", "b", b, bounds),
        "exponent_as": kind,
        **several,
        # Falling in b, so that the bounds change places.
        **with_interval("factor", "per_doubling", 2.0**-b, (2.0**-high, 2.0**-low)),
        "reference_hours": float(hours[0]),
        **with_interval("gap_at_reference", "pp", float(first[0]), spread(first)),
        "amplitude_sd_pp": float(np.std(sizes, ddof=1)) if len(sizes) > 1 else NAN,
        "misfit_inflation": study.misfit,
        "status": status,
    }


def _threshold(series: Series, study: _Study, settings: Settings) -> dict[str, Any]:
    """Hours from which the size of the gap stays under the threshold, and the floor of it."""
    if study.curves is None:
        return {"threshold_says": "not estimable: no language has two budgets"}
    curves, langs = study.curves, list(series)
    largest = max(h for own in series.values() for h in own)
    value, (low, high) = _summary(curves.hours_to(langs, settings.threshold_pp), settings)
    # Without a third budget the shape is assumed: what it says beyond the data is not told.
    reach = REACH * largest if study.shaped else largest
    says = BETWEEN
    if high == 0:
        says = ALREADY
    elif math.isinf(low) and study.shaped:
        says = NEVER
    elif high > reach:
        says = AT_LEAST if low else OPEN
        low, high = min(low, reach), math.inf
    told = [bound for bound in (low, high) if math.isfinite(bound)]
    floors = np.mean([np.abs(curves.floor_pp(lang)) for lang in langs], axis=0)
    floor = with_interval("floor", "pp", *_summary(floors, settings)) if study.shaped else {}
    return {
        **with_interval("threshold", "hours", value if value <= reach else math.inf, (low, high)),
        "threshold_says": says,
        "threshold_beyond": "above" if largest < max(told, default=0) else "",
        **floor,
    }


def _summary(draws: np.ndarray, settings: Settings) -> tuple[float, tuple[float, float]]:
    """Median and equal-tailed interval of draws, of which some may be infinite."""
    tail = (1 - settings.confidence) / 2
    low, middle, high = np.quantile(draws, [tail, 0.5, 1 - tail], method="nearest")
    return float(middle), (float(low), float(high))
