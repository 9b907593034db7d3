"""Who loses: how far languages lie apart, and how bad it is in the worst of them."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored
from warmstart.evidence.columns import (
    ARM,
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    PRECISION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import GAP, MEAN, Place
from warmstart.evidence.means import with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

_FEWEST = 3  # languages: two have no worst third


class Analysis(base.Analysis):
    """A mean over languages hides those that a start fails."""

    section = base.ERROR_RATES
    title = "Which languages lose?"
    caption = (
        "Mean WER of the worst third of the languages and standard deviation over languages, of "
        "every arm; and by how much the challenger of a contrast narrows them."
    )
    details = (
        "The worst third of the languages, rounded up, is the one with the highest WER of the arm; "
        "in a row of a contrast each arm has its own. Rows with `arm = gap` are baseline minus "
        "challenger, so that a positive number says that the challenger is kinder to the worst, or "
        "treats languages more alike. The standard deviation is corrected for the noise "
        "of the test sets. Intervals are for exactly these languages."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("worst", "", "the worst third, worst first", "Worst third"),
        *estimate("worst_third", "pct", "%", "mean WER of the worst third", "Worst third %"),
        *estimate("sd", "pp", "pp", "standard deviation over languages", "SD pp"),
        Column("status", "", "`ok` or `not estimable: ...`"),
    )
    note = (
        "The worst third is that of each arm. A positive gap says that the challenger is kinder to "
        "the worst languages, or treats languages more alike."
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set and place: each arm over the languages that have it, then contrasts over
        the languages that have both."""
        for test_set, members in evidence.by_test_set().items():
            places = sorted(
                {cell.place(one.lang) for one in members for cell in one.wer},
                key=settings.order_of,
            )
            for place in places:
                common = {"lang": MEAN, "test_set": test_set, **place._asdict()}
                arms = dict.fromkeys(cell.arm for one in members for cell in one.wer)
                for arm in arms:
                    if have := _rates(members, place, arm):
                        yield common | {"arm": arm} | _row(have, settings.confidence)
                for contrast in settings.contrasts:
                    row = _contrast(members, place, contrast, settings.confidence)
                    if row:
                        yield common | {"contrast": contrast.name, "arm": GAP} | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Fewer than three languages have no spread."""
        table = display.headline(tables["spread"])
        if (table.status == "ok").any():
            return ""
        return f"Not stated: {base.reasons(table) or 'nothing was scored'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows."""
        table = display.headline(tables["spread"])
        of = self.fields(display)
        fields = [
            *of.training_set(),
            of.hours(),
            of.arm_or_gap(),
            of.text(
                "worst",
                lambda row: (
                    ", ".join(map(display.language, str(row.worst).split()))
                    if row.worst == row.worst
                    else ""
                ),
            ),
            of.number("worst_third_pct", 1),
            of.interval("worst_third", "pct", 1, signed=False),
            of.number("sd_pp", 2),
            of.interval("sd", "pp", signed=False),
            of.text("status", wide=True),
        ]
        return sheet(self.sheet_name(display, contrast), fields, table.itertuples(), sortable=True)


def _rates(members: Sequence[Scored], place: Place, arm: str) -> dict[str, Draws]:
    """Language -> WER of an arm at a place."""
    cells = {one.lang: (one, place.cell(one.lang, arm)) for one in members}
    return {lang: one.wer[cell] for lang, (one, cell) in cells.items() if cell in one.wer}


def _row(have: dict[str, Draws], confidence: float) -> dict[str, Any]:
    """Worst third and spread of one arm."""
    if status := _unfit(have):
        return {"languages": len(have), "status": status}
    worst, sd, langs = _summaries(have)
    return {
        "languages": len(have),
        "worst": " ".join(langs),
        **with_interval("worst_third", "pct", worst.value, worst.interval(confidence)),
        **with_interval("sd", "pp", sd.value, sd.interval(confidence)),
        "status": "ok",
    }


def _contrast(
    members: Sequence[Scored], place: Place, contrast: Contrast, confidence: float
) -> dict[str, Any] | None:
    """How much worse the baseline is; None where no language has both arms."""
    sides = [_rates(members, place, arm) for arm in contrast.arms]
    both = [lang for lang in sides[0] if lang in sides[1]]
    if not both:
        return None
    sides = [{lang: side[lang] for lang in both} for side in sides]
    for side in sides:
        if status := _unfit(side):
            return {"languages": len(both), "status": status}
    (worst, sd, _), (other_worst, other_sd, _) = map(_summaries, sides)
    gap, narrower = worst - other_worst, sd - other_sd
    return {
        "languages": len(both),
        **with_interval("worst_third", "pct", gap.value, gap.interval(confidence)),
        **with_interval("sd", "pp", narrower.value, narrower.interval(confidence)),
        "status": "ok",
    }


def _unfit(have: dict[str, Draws]) -> str:
    """Why a spread over languages cannot be stated; empty where it can."""
    if len(have) < _FEWEST:
        return f"not estimable: {len(have)} language(s), a spread needs {_FEWEST}"
    single = [lang for lang, draws in have.items() if draws.block_df < 1]
    if single:
        # A language without an interval would count as known exactly.
        return f"not estimable: fewer than two blocks in {', '.join(single)}"
    return ""


def _summaries(have: dict[str, Draws]) -> tuple[Draws, Draws, list[str]]:
    """Mean of the worst third, standard deviation, and the worst third's languages.

    Both are linear in small deviations of the rates, so that differences of two arms stay paired:
    the worst third is the one of the estimates, and the derivative of the standard deviation by a
    rate is (rate - mean) / ((n - 1) sd). Maxima and spreads taken in every replicate would be
    biased upwards by the replicates' own noise.
    """
    langs, draws = list(have), list(have.values())
    values = np.array([each.value for each in draws])
    count = len(values)
    order = np.argsort(-values, kind="stable")[: math.ceil(count / 3)]
    weights = np.zeros(count)
    weights[order] = 1 / len(order)
    worst = intervals.weighted(draws, weights.tolist())
    variance = float(values.var(ddof=1))
    noise = float(np.mean([each.error**2 for each in draws]))
    observed = math.sqrt(variance)
    slopes = (values - values.mean()) / ((count - 1) * observed) if observed else 0 * values
    sd = intervals.weighted(draws, slopes.tolist())
    sd = dataclasses.replace(sd, value=math.sqrt(max(variance - noise, 0.0)))
    return worst, sd, [langs[place] for place in order]
