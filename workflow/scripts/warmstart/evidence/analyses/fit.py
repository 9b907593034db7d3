"""The law of the gap in the hours of training, by language and pooled, and other curves beside
it."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from warmstart.evidence import intervals, laws
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, interval_cell, number_cell, within_reach
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

_ESTIMATES = [
    *("exponent_b", "exponent_low_b", "exponent_high_b"),
    *("factor_per_doubling", "factor_low_per_doubling", "factor_high_per_doubling"),
    *("threshold_hours", "threshold_low_hours", "threshold_high_hours"),
]
"""Columns of the page that speak of a law."""

Series = Mapping[str, Mapping[float, intervals.Draws]]
"""language -> hours -> gap, of one test set and tier."""


class Analysis(base.Analysis):
    """Gap = a·h^(−b), least squares in percentage points, weighted by the bootstrap's variances and
    repeated in every replicate."""

    section = base.GAP
    caption = (
        "The law gap = a·h^(−b) on the full-precision gaps of a test set and tier, per language "
        "and pooled, with intervals, the hours to the threshold, and other families for comparison."
    )
    details = (
        "The fit is least squares in percentage points, weighted by the bootstrap's variances and "
        "repeated in every replicate. Zero and negative gaps are ordinary observations: an "
        "amplitude below zero means that the baseline is better. Gaps of both signs, or gaps that "
        "vanish after the first budget, have no exponent: the row says so, and has no estimates."
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
            "`power`, `exponential` a·e^(−ch), `log_linear` a − c·ln h, `constant`; estimates are "
            "given for `power`",
        ),
        *estimate("exponent", "b", "", "b", "Exponent b"),
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
            "hours from which the law stays under `threshold_pp`; 0: always, inf: never",
        ),
        Column(
            "amplitude_sd_pp",
            "pp",
            "`pooled`: spread of the languages' gaps at `reference_hours`",
        ),
        Column(
            "parameters", "", "AIC = χ² + 2·parameters, with variances known from the bootstrap"
        ),
        Column("chi2", "", "AIC = χ² + 2·parameters, with variances known from the bootstrap"),
        Column("aic", "", "AIC = χ² + 2·parameters, with variances known from the bootstrap"),
        Column("weight", "", "Akaike weight among the families that can be compared"),
        Column("status", "", "`ok`, `not estimable: ...` or `exponent not bounded by the data`"),
    )
    note = (
        "Law gap = a·h^(−b). The last four numbers are Akaike weights of the families, higher is "
        "better supported; they need more budgets than parameters. ∞ in an interval means that the "
        "data do not bound the value on that side."
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
                    common = {"contrast": contrast.name, "test_set": test_set, "tier": tier}
                    for lang, own in series.items():
                        about = {"training_set": name_of(part, lang), "lang": lang, **common}
                        for row in fit({lang: usable[lang]}, settings, {lang: own}):
                            yield about | row
                    if len(series) > 1:
                        about = {"training_set": part, "lang": POOLED, **common}
                        several = {lang: own for lang, own in usable.items() if own}
                        for row in fit(several, settings, series):
                            yield about | row

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's laws, a row each, with the weights of all families."""
        table = display.ordered(display.headline(tables["fit"], contrast))
        shapes = [shape.name for shape in laws.SHAPES]
        rows = []
        for _, group in table.groupby(["training_set", "lang"], sort=False):
            families = group.set_index("family")
            weights = {f"weight_{name}": families.weight.get(name, NAN) for name in shapes}
            law = families.loc["power"].copy()
            if not stands(law.status):
                # What does not exist has no size: infinities and zeros here would read as findings.
                law[_ESTIMATES] = NAN
            rows.append(pd.concat([law, pd.Series(weights)]))

        def weight(name: str) -> Field:
            label = name.replace("_", "-").capitalize()
            return field(
                label,
                lambda row: number_cell(row[f"weight_{name}"], 2),
                f"Akaike weight of the {label.lower()} family",
            )

        def threshold(row: Any) -> Shown:
            hours = within_reach(row.threshold_hours)
            said = {0.0: "always", math.inf: "never"}.get(hours, "")
            return number_cell(hours, 1, text=said)

        def bounds(name: str, suffix: str, digits: int, scale: Any = float) -> Field:
            low, high = f"{name}_low_{suffix}", f"{name}_high_{suffix}"

            def cell(row: Any) -> Shown:
                if not stands(row.status):
                    return number_cell(None, digits)
                ends = (scale(getattr(row, low)), scale(getattr(row, high)))
                return interval_cell(*ends, digits, signed=False)

            return of.cell(low, cell, head=f"{display.settings.level} % interval")

        of = self.fields(display)
        threshold_pp = f"{display.settings.threshold_pp:g}"
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            *of.training_set(),
            of.number("exponent_b", 2),
            bounds("exponent", "b", 2),
            of.number("factor_per_doubling", 2, unit=" ×"),
            bounds("factor", "per_doubling", 2),
            of.cell("threshold_hours", threshold, head=f"Hours to {threshold_pp} pp"),
            bounds("threshold", "hours", 1, within_reach),
            *map(weight, shapes),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, rows)


def _usable(scored: Scored, place: Place, contrast: Contrast) -> bool:
    """Whether both systems of a gap recognise. The gap of one that does not is bounded by what
    there is to get wrong, and no law of the hours is."""
    return recognition_status((scored, place.cell(scored.lang, arm)) for arm in contrast.arms) == OK


def stands(status: Any) -> bool:
    """Whether a row of the table has a law, as its status says."""
    return not str(status).startswith("not estimable")


def fit(
    series: Series, settings: Settings, measured: Series | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of one law: the power law with its estimates, then the other families.

    Args:
        series: one language, or several that share the exponent.
        settings: confidence, replicates, threshold.
        measured: the same with the gaps that the law leaves out; None: there are none.
    """
    hours = np.array(sorted({h for own in series.values() for h in own}))
    points = sum(len(own) for own in series.values())
    every = {h for own in (measured or series).values() for h in own}
    left_out = sum(map(len, (measured or series).values())) - points
    common = {
        "languages": len(series),
        "budgets": len(hours),
        "points": points,
        "left_out": left_out,
        "threshold_pp": settings.threshold_pp,
        "criterion": "AIC, known variance",
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
    gaps, weights = _arrays(series, hours, settings.replicates)
    df = max((draws.block_df for own in series.values() for draws in own.values()), default=0)
    power = _power(hours, gaps, weights, df, settings)
    there = power["status"] == "ok" or not power["status"].startswith("not estimable")
    comparison = laws.compare_shapes(hours, gaps[0], weights, () if there else ("power",))
    # A law that does not exist has no numbers.
    yield (
        common
        | {"family": "power"}
        | (comparison["power"] | power if there else {"status": power["status"]})
    )
    for family in laws.SHAPES[1:]:
        comparable = not math.isnan(comparison[family.name]["aic"])
        yield (
            common
            | {"family": family.name, **comparison[family.name]}
            | {"status": "ok" if comparable else "not comparable: as many parameters as gaps"}
        )


def _arrays(series: Series, hours: np.ndarray, replicates: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps (1 + R, L, n), the estimates first, NaN where a language has no such budget; weights
    (L, n)."""
    gaps = np.full((replicates + 1, len(series), len(hours)), np.nan)
    weights = np.zeros((len(series), len(hours)))
    for row, own in enumerate(series.values()):
        for column, h in enumerate(hours):
            if h in own:
                gaps[0, row, column] = own[h].value
                # With several seeds each point keeps the wide tails of its own few, because its
                # weight rests on a variance that is as uncertain. One spread common to all points
                # gives intervals of the exponent that are far too short.
                gaps[1:, row, column] = own[h].all
                weights[row, column] = laws.gap_weights([own[h]])[0]
    return gaps, weights


def _power(
    hours: np.ndarray, gaps: np.ndarray, weights: np.ndarray, df: float, settings: Settings
) -> dict[str, Any]:
    """Estimates of the power law with their intervals, and what they are worth."""
    power = laws.SHAPES[0]
    found = laws.fit_shape(power, hours, gaps, weights)
    amplitude = found.amplitude.mean(axis=1)
    bound = laws.at_shape_bound(power, found.shape)
    exponent = np.select([bound < 0, bound > 0], [-np.inf, np.inf], found.shape)
    first = amplitude * (hours[0] / found.reference) ** -found.shape
    threshold = laws.hours_to_threshold(
        amplitude, found.shape, found.reference, settings.threshold_pp
    )

    def spread(draws: np.ndarray) -> tuple[float, float]:
        return intervals.interval(draws[1:], settings.confidence, df)

    low, high = spread(exponent)
    factor = 2.0**-exponent
    status = "ok"
    if math.isnan(low):
        status = "not estimable: fewer than two blocks"
    elif not np.nan_to_num(gaps[0]).any():
        status = "not estimable: every gap is zero"
    elif bound[0]:
        status = "not estimable: gaps of both signs or flat, no exponent fits"
    elif math.isinf(low) or math.isinf(high):
        status = "exponent not bounded by the data"
    sizes = found.amplitude[0] * (hours[0] / found.reference) ** -found.shape[0]
    return {
        **with_interval("exponent", "b", float(exponent[0]), (low, high)),
        **with_interval("factor", "per_doubling", float(factor[0]), spread(factor)),
        "reference_hours": float(hours[0]),
        **with_interval("gap_at_reference", "pp", float(first[0]), spread(first)),
        **with_interval("threshold", "hours", float(threshold[0]), spread(threshold)),
        "amplitude_sd_pp": float(np.std(sizes, ddof=1)) if len(sizes) > 1 else NAN,
        "status": status,
    }
