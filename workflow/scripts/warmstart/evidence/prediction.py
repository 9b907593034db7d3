"""What to expect of a language that is not in the study, from the laws of those that are: the gap,
the WER at some hours, the hours for a WER."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from warmstart.evidence.keys import OWN, POOLED
from warmstart.run.errors import UserError

PUBLISHED = {100.0: 4.21, 2500.0: 0.20}
"""Mean gap at two budgets, pp: FLEURS at 160 ms, abstract of arXiv 2606.24169."""


@dataclass(frozen=True)
class Question:
    """Which law is asked.

    Attributes:
        test_set, tier: of the law.
        contrast: its name; None: the study's first.
        training_set: `own`, or the name of one training set for several languages.
    """

    test_set: str
    tier: str
    contrast: str | None = None
    training_set: str = OWN


def pooled_law(fit: pd.DataFrame, question: Question) -> pd.Series:
    """The pooled row of fit.csv that answers a question.

    Raises:
        UserError: no such row, fewer than three languages, or an exponent without a finite
            interval.
    """
    pooled = fit[(fit.lang == POOLED) & (fit.family == "power")]
    if question.contrast is not None:
        known = list(dict.fromkeys(fit.contrast))
        if question.contrast not in known:
            raise UserError(
                f"fit.csv has no contrast {question.contrast!r}; it has: "
                f"{', '.join(known) or 'none'}"
            )
        pooled = pooled[pooled.contrast == question.contrast]
    elif len(fit):
        pooled = pooled[pooled.contrast == fit.contrast.iloc[0]]
    pooled = pooled[pooled.training_set == question.training_set]
    rows = pooled[(pooled.test_set == question.test_set) & (pooled.tier == question.tier)]
    where = f"{question.test_set} at {question.tier}"
    if rows.empty:
        known = sorted({f"{row.test_set}/{row.tier}" for row in pooled.itertuples()})
        raise UserError(
            f"fit.csv has no pooled law for {where}; it has: {', '.join(known) or 'none'}; two "
            "languages or more are needed"
        )
    law = rows.iloc[0]
    if law.languages < 3:
        raise UserError(
            f"the pooled law rests on {law.languages} languages; a prediction for another one "
            "needs at least 3"
        )
    if law.status != "ok":
        raise UserError(f"the pooled law for {where} predicts nothing: {law.status}")
    return law


def published_gap(hours: float) -> float:
    """Gap in percentage points on the power law through the two published endpoints (b = 0.947)."""
    (first, high), (last, low) = PUBLISHED.items()
    exponent = math.log(high / low) / math.log(last / first)
    return high * (hours / first) ** -exponent


def lines_of(
    fit: pd.DataFrame,
    gap: pd.DataFrame,
    question: Question,
    hours: Iterable[float],
    confidence: float,
) -> list[str]:
    """The expectation at each number of hours, for the terminal.

    Read between the points of the pooled rows `gap_at_hours` of fit.csv: a new language's size of
    the gap, exponent and floor are drawn around those of the study's languages.

    Args:
        fit, gap: tables of the study.
        question: which law.
        hours: above zero.
        confidence: of the intervals in fit.csv.

    Raises:
        UserError: see `pooled_law`; or the table foretells nothing.
    """
    law = pooled_law(fit, question)
    keys = ["contrast", "training_set", "lang", "test_set", "tier"]
    curve = fit[(fit[keys] == law[keys]).all(axis=1) & (fit.get("asked") == "gap_at_hours")]
    curve = curve.sort_values("asked_hours") if len(curve) else curve
    if curve.empty:
        raise UserError(
            "fit.csv foretells no other language: three budgets of some language are needed, and "
            "tables of this version"
        )
    told = curve.forecast_pp.notna()
    # Of hours that no curve reaches, the table may have a reason.
    why = "; ".join(curve[~told].status.unique())
    curve = curve[told]
    lines = [
        f"Gap of a new language, {question.test_set} at {question.tier}; {law.languages:g} "
        f"languages, b = {law.exponent_b:.2f}; {100 * confidence:g} % prediction intervals"
    ]
    # At zero hours nothing is trained, and the law is of trainings.
    studied = gap[(gap.contrast == law.contrast) & (gap.hours > 0)].hours
    x = np.log(curve.asked_hours.to_numpy(float))
    for each in sorted(hours):
        if not _drawn(each, x):
            lines.append(_not_foretold(each, x, why if math.log(each) > x[-1] else ""))
            continue
        value, low, high = (
            float(np.interp(math.log(each), x, curve[name].to_numpy(float)))
            for name in ("forecast_pp", "forecast_low_pp", "forecast_high_pp")
        )
        inside = studied.min() <= each <= studied.max()
        decided = "" if low > 0 or high < 0 else "  (sign open)"
        outside = "" if inside else "  (outside the budgets studied)"
        lines.append(f"{each:>9g} h  {value:+6.2f} pp  [{low:+.2f}, {high:+.2f}]{decided}{outside}")
    return lines


def _drawn(hours: float, log_hours: np.ndarray) -> bool:
    """Whether a curve reaches so many hours."""
    return bool(log_hours[0] - 1e-9 <= math.log(hours) <= log_hours[-1] + 1e-9)


def _not_foretold(hours: float, log_hours: np.ndarray, why: str = "") -> str:
    """A line for hours that a curve does not reach, with the table's reason."""
    if why:
        return f"{hours:>9g} h  {why}"
    reach = f"{math.exp(log_hours[0]):g} to {math.exp(log_hours[-1]):g} h"
    return f"{hours:>9g} h  not foretold, outside the budgets: the law is drawn from {reach}"


def wer_lines(
    wer_law: pd.DataFrame, question: Question, hours: Iterable[float], targets_pct: Iterable[float]
) -> list[str]:
    """The WER of a new language at each number of hours and the hours for each WER, arm by arm, for
    the terminal.

    Read between the points of the pooled curve in wer_law.csv, which hold one more training. The
    WER falls with the hours in every draw, so that the bounds of the hours are where the bounds of
    the WER cross the target.
    """
    at = (wer_law.lang == POOLED) & (wer_law.training_set == question.training_set)
    at &= (wer_law.test_set == question.test_set) & (wer_law.tier == question.tier)
    rows = wer_law[at]
    where = f"{question.test_set} at {question.tier}"
    if rows.empty:
        return [f"No WER of a new language on {where}: wer_law.csv has no pooled law for it."]
    lines = []
    for arm, own in rows.groupby("arm", sort=False):
        curve = own[own.asked == "wer_at_hours"].sort_values("asked_hours")
        if curve.empty:
            lines.append(f"No WER of a new language with {arm} on {where}: {own.status.iloc[0]}.")
            continue
        lines.append(
            f"WER of a new language with {arm}, {where}; {own.languages.iloc[0]} languages, with "
            "prediction intervals"
        )
        known, low, high = (
            curve[name].to_numpy(float) for name in ("wer_pct", "wer_low_pct", "wer_high_pct")
        )
        x = np.log(curve.asked_hours.to_numpy(float))
        inside = (x[0], math.log(own.largest_hours.iloc[0]))
        for each in sorted(hours):
            if not _drawn(each, x):
                lines.append(_not_foretold(each, x))
                continue
            value, least, most = (
                math.exp(np.interp(math.log(each), x, np.log(np.maximum(part, 1e-6))))
                for part in (known, low, high)
            )
            outside = "" if math.log(each) <= inside[1] else "  (outside the budgets studied)"
            lines.append(f"{each:>9g} h  {value:6.1f} %  [{least:.1f}, {most:.1f}]{outside}")
        for target in sorted(targets_pct, reverse=True):
            value, least, most = (_reached(x, part, target) for part in (known, low, high))
            lines.append(f"{target:>9g} %  {value}  [{least}, {most}]")
    return lines


def _reached(log_hours: np.ndarray, wer_pct: Sequence[float], target_pct: float) -> str:
    """Hours at which a falling curve reaches a WER, as far as it is drawn."""
    falling = np.minimum.accumulate(np.asarray(wer_pct, float))
    if falling[0] <= target_pct:
        return f"under {math.exp(log_hours[0]):,.3g} h"
    if falling[-1] > target_pct:
        return f"over {math.exp(log_hours[-1]):,.3g} h"
    found = np.interp(-math.log(target_pct), -np.log(np.maximum(falling, 1e-6)), log_hours)
    return f"{math.exp(found):,.3g} h"


def published_lines(hours: Iterable[float]) -> list[str]:
    """What the paper's two endpoints give, for the terminal."""
    lines = [
        "From the endpoints published in arXiv 2606.24169 (FLEURS, 160 ms, mean of its "
        "languages), without an interval:"
    ]
    for each in sorted(hours):
        inside = min(PUBLISHED) <= each <= max(PUBLISHED)
        outside = "" if inside else "  (outside the published budgets)"
        lines.append(f"{each:>9g} h  {published_gap(each):+6.2f} pp{outside}")
    return lines
