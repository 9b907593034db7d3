"""Which arm to take, for each language and amount of data, only as far as the intervals carry
it."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from warmstart.evidence.analyses import base, gap
from warmstart.evidence.cells import Shown, text_cell
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import FULL, MEAN
from warmstart.evidence.means import Estimate, with_interval
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

EITHER = "either"
OPEN = "not decided by this study"


class Analysis(base.Analysis):
    """Gaps of the headline, turned into advice."""

    section = base.GAP
    title = "What to start from"
    caption = (
        "Which arm of a contrast to take, for each language and amount of data, no further than "
        "the intervals carry. On the headline test set and reference tier; a language without that "
        "test set is read from its own first one, and enters no mean."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, HOURS, TEST_SET, TIER),
        *estimate("gap", "pp", "pp", "the gap, as in gap.csv", "Gap pp"),
        Column(
            "decision",
            "",
            "the challenger (interval above 0), the baseline (below 0), `either` (inside "
            "±`threshold_pp`), `not decided by this study`, or `not decided: systems do not "
            "recognise`",
            "Start from",
        ),
        Column("confidence", "", "of the interval"),
        Column("threshold_pp", "pp", "`statistics.threshold_pp`"),
        RECOGNITION,
    )
    by_contrast = True

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """A decision for each gap at the reference tier and full precision."""
        # The headline first: the terminal takes the first row for it.
        headline = settings.headline_test_set
        names = sorted(evidence.by_test_set(), key=lambda name: name != headline)
        for contrast, test_set in itertools.product(settings.contrasts, names):
            members = [
                one
                for one in evidence.by_test_set()[test_set]
                if settings.headline_in(one.lang) == test_set
            ]
            rates = {one.lang: one for one in members}
            for one in gap.estimates(test_set, members, contrast, settings):
                at = one.place.precision, one.place.tier
                if at != (FULL, settings.reference_tier) or one.languages_as == "sampled":
                    continue
                # One mean, on one test set.
                if one.lang == MEAN and test_set != headline:
                    continue
                axes = one.axes()
                recognises = gap.recognition_of(one, rates, contrast)
                del axes["languages_as"]
                yield {
                    "contrast": contrast.name,
                    **axes,
                    "hours": one.place.hours,
                    "tier": one.place.tier,
                    **with_interval("gap", "pp", one.value, (one.low, one.high)),
                    "decision": decision(one, contrast, settings.threshold_pp)
                    if recognises == OK
                    else UNDECIDED,
                    "confidence": settings.confidence,
                    "threshold_pp": settings.threshold_pp,
                    "recognition": recognises,
                }

    def heading(self, display: Display, contrast: Contrast | None) -> str:
        """Of arms that differ in more than their init, nothing is started from."""
        start = contrast is None or display.noun(contrast) == "start"
        return self.title if start else "Which arm to take"

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """One paragraph of advice."""
        contrast = contrast or display.contrasts[0]
        rows = tables["guideline"]
        rows = display.ordered(rows[(rows.lang != MEAN) & (rows.contrast == contrast.name)])
        if rows.empty:
            return "This study has no pair of runs at the reference tier and so gives no advice."
        parts = []
        for decided, group in rows.groupby("decision", sort=False):
            places = []
            for (training_set, lang), own in group[group.hours > 0].groupby(
                ["training_set", "lang"], sort=False
            ):
                hours = ", ".join(f"{h:g}" for h in sorted(own.hours))
                places.append(f"{_where(display, training_set, lang)} at {hours} h")
            untrained = group[group.hours == 0]
            if len(untrained):
                names = ", ".join(
                    _where(display, row.training_set, row.lang) for row in untrained.itertuples()
                )
                places.append(f"{names} without fine-tuning")
            where = "; ".join(places)
            if decided in (contrast.baseline, contrast.challenger):
                parts.append(f"Take {display.arm(decided)} for {where}.")
            elif decided == EITHER:
                threshold = rows.threshold_pp.iloc[0]
                parts.append(f"Either will do, within {threshold:g} pp, for {where}.")
            elif decided == UNDECIDED:
                parts.append(f"Not decided, because systems do not recognise: {where}.")
            else:
                parts.append(f"Not decided by this study: {where}.")
        if missing := [lang for lang in display.languages if lang not in set(rows.lang)]:
            names = listed(map(display.language, missing))
            parts.append(f"Not decoded with both {display.noun(contrast)}s there: {names}.")
        settings = display.settings
        return (
            " ".join(parts) + f" Each statement holds at {settings.level} % confidence by itself, "
            f"on {display.test_set(settings.headline_test_set)} at "
            f"{display.tier(settings.reference_tier)}. {display.elsewhere()}"
        ).strip()

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Decisions of a contrast, language by language."""
        contrast = contrast or display.contrasts[0]
        table = tables["guideline"]
        table = table[table.contrast == contrast.name]
        langs = list(display.languages)
        places = {lang: place for place, lang in enumerate(langs)}
        table = table.sort_values(
            "lang", kind="stable", key=lambda column: column.map(places).fillna(len(langs))
        )

        def decided(row: Any) -> Shown:
            known = row.decision in (contrast.baseline, contrast.challenger)
            name = display.arm(row.decision) if known else row.decision
            return text_cell(name, tag="yes" if known else "plain")

        of = self.fields(display)
        head = "Start from" if display.noun(contrast) == "start" else "Take"
        fields = [
            of.language(),
            of.hours(),
            of.cell("decision", decided, head=head),
            *of.training_set(),
            *([of.text("test_set")] if display.read_elsewhere else []),
            of.number("gap_pp", 2, signed=True),
            of.interval("gap", "pp"),
        ]
        rows = display.ordered(table).itertuples()
        return sheet(self.sheet_name(display, contrast), fields, rows)


def decision(one: Estimate, contrast: Contrast, threshold_pp: float) -> str:
    """What the interval of a gap carries."""
    if math.isnan(one.low) or one.draws is None or not one.draws.varies:
        return OPEN
    if one.low > 0:
        return contrast.challenger
    if one.high < 0:
        return contrast.baseline
    return EITHER if -threshold_pp < one.low and one.high < threshold_pp else OPEN


def _where(display: Display, training_set: str, lang: str) -> str:
    name = display.language(lang)
    if training_set == lang:
        return name
    return f"{name} (trained on {display.training_set(training_set)})"
