"""Which arm to take, for each language and amount of data, only as far as the evidence carries
it."""

import math
from collections.abc import Iterator
from typing import Any

from warmstart.evidence import trainings, verdicts
from warmstart.evidence.analyses import base, gap
from warmstart.evidence.cells import Shown, p_cell, text_cell
from warmstart.evidence.collected import Evidence
from warmstart.evidence.columns import (
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_ERROR,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import FULL, MEAN
from warmstart.evidence.means import NAN, Estimate, training_error, with_interval
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

EITHER = "either"
AHEAD = "ahead, size not decided"
OPEN = "not decided by this study"


class Analysis(base.Analysis):
    """Gaps of the headline, turned into advice."""

    section = base.GAP
    title = "What to start from"
    caption = (
        "Which arm of a contrast to take, for each language and amount of data, no further than "
        "the evidence carries. On the headline test set and reference tier; a language without "
        "that test set is read from its own first one, and enters no mean."
    )
    details = (
        "Size comes before sign. A gap is `either` where two one-sided tests put it inside "
        "±`threshold_pp` (its 90 % interval lies inside, at a confidence of 95 %), whatever its "
        "sign. An arm is named where the gap is surely larger than that. Where only its sign is "
        "sure, `ahead` names the arm, and the gap may be too small to matter. All p-values are "
        "adjusted by Holm over the rows of a contrast in this table, each of the three tests by "
        "itself: the chance that any verdict of a kind is false is at most 1 − `confidence`. Rows "
        "of systems that do not recognise are not among them. gap_by_tier.csv follows the same "
        "rule."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES, HOURS, TEST_SET, TIER),
        *estimate("gap", "pp", "pp", "the gap, as in gap.csv, its interval by itself", "Gap pp"),
        Column(
            "decision",
            "",
            "the challenger or the baseline (the gap is surely above `threshold_pp`, for it), "
            "`either` (surely inside), `ahead, size not decided`, `not decided by this study`, or "
            "`not decided: systems do not recognise`",
            "Start from",
        ),
        Column("ahead", "", "the arm that is surely better, whatever the size; else empty"),
        Column("p_value", "", "two-sided, of “no gap”"),
        Column("p_holm", "", "`p_value` after Holm", "p (Holm)"),
        Column("threshold_p_value", "", "two-sided, of “a gap inside ±`threshold_pp`”"),
        Column("threshold_p_holm", "", "`threshold_p_value` after Holm"),
        Column(
            "equivalence_p_value", "", "larger p of the two one-sided tests, of “a gap outside”"
        ),
        Column("equivalence_p_holm", "", "`equivalence_p_value` after Holm"),
        Column("rows_adjusted_for", "", "rows of the contrast that Holm is over: those with a p"),
        Column("confidence", "", "of the interval, and of all verdicts together"),
        Column(
            "interval_of",
            "",
            "what the confidence is of: `these trainings` where each was done once, because a "
            "further one may come out otherwise; `the recipe` where their noise is in it",
        ),
        Column("seeds", "", "trainings of each arm"),
        TRAINING_ERROR,
        Column("threshold_pp", "pp", "`statistics.threshold_pp`"),
        RECOGNITION,
    )
    by_contrast = True

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """A decision for each gap at the reference tier and full precision."""
        for contrast in settings.contrasts:
            rows = list(_gaps(evidence, contrast, settings))
            judged = verdicts.judge(
                [one.draws if row["recognition"] == OK else None for one, row in rows],
                settings.threshold_pp,
                1 - settings.confidence,
            )
            adjusted_for = sum(not math.isnan(verdict.single.there) for verdict in judged)
            for (one, row), verdict in zip(rows, judged, strict=True):
                ahead = _ahead(one, verdict, contrast, settings)
                yield {
                    **row,
                    "decision": decision(verdict, ahead) if row["recognition"] == OK else UNDECIDED,
                    "ahead": ahead,
                    "p_value": verdict.single.there,
                    "p_holm": verdict.adjusted.there,
                    "threshold_p_value": verdict.single.beyond,
                    "threshold_p_holm": verdict.adjusted.beyond,
                    "equivalence_p_value": verdict.single.within,
                    "equivalence_p_holm": verdict.adjusted.within,
                    "rows_adjusted_for": adjusted_for,
                    "confidence": settings.confidence,
                    "interval_of": trainings.interval_of(row["training_error_pp"]),
                    "threshold_pp": settings.threshold_pp,
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
        threshold = f"{display.settings.threshold_pp:g} pp"
        for (decided, ahead), group in rows.groupby(
            ["decision", rows.ahead.fillna("").where(rows.decision == AHEAD, "")], sort=False
        ):
            where = _places(group, display)
            if decided in contrast.arms:
                parts.append(f"Take {display.arm(decided)} for {where}.")
            elif decided == AHEAD:
                parts.append(
                    f"{display.arm(ahead)} is ahead, perhaps by less than {threshold}, for {where}."
                )
            elif decided == EITHER:
                parts.append(f"Either will do, within {threshold}, for {where}.")
            elif decided == UNDECIDED:
                parts.append(f"Not decided, because systems do not recognise: {where}.")
            else:
                parts.append(f"Not decided by this study: {where}.")
        if missing := [lang for lang in display.languages if lang not in set(rows.lang)]:
            names = listed(map(display.language, missing))
            parts.append(f"Not decoded with both {display.noun(contrast)}s there: {names}.")
        settings = display.settings
        parts.append(
            f"On {display.test_set(settings.headline_test_set)} at "
            f"{display.tier(settings.reference_tier)}."
        )
        parts.append(self._how_sure(tables["guideline"], display, contrast))
        return " ".join([*parts, display.elsewhere()]).strip()

    def _how_sure(self, table: Any, display: Display, contrast: Contrast) -> str:
        """What the verdicts together are worth, and of what."""
        own = table[table.contrast == contrast.name]
        count = int(own.rows_adjusted_for.max())
        error = f"{100 - float(display.settings.level):g} %"
        of = trainings.of_trainings(own.training_error_pp)
        once = (
            " Another training of the same kind may turn a verdict, because runs with one seed "
            "do not show how far trainings differ."
            if of
            else ""
        )
        return (
            f"Verdicts are adjusted for all {count} gaps of the table (Holm): the chance that any "
            f"“take”, any “ahead” or any “either” is false is at most {error} for each of these "
            f"three{of.replace(' of ', ', for ', 1)}. The intervals beside them are each by "
            f"itself.{once}"
        )

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
            known = row.decision in contrast.arms
            name = display.arm(row.decision) if known else row.decision
            if row.decision == AHEAD:
                name = f"{display.arm(row.ahead)} {AHEAD}"
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
            of.cell("p_holm", lambda row: p_cell(row.p_holm)),
        ]
        rows = display.ordered(table).itertuples()
        return sheet(self.sheet_name(display, contrast), fields, rows)


def decision(judged: verdicts.Judged, ahead: str) -> str:
    """What the tests of a gap carry; `ahead` is the arm that they put in front."""
    return {
        verdicts.WITHIN: EITHER,
        verdicts.BEYOND: ahead,
        verdicts.THERE: AHEAD,
        verdicts.OPEN: OPEN,
    }[judged.verdict]


def _ahead(one: Estimate, judged: verdicts.Judged, contrast: Contrast, settings: Settings) -> str:
    """The arm that is surely better, of however little; empty where that is not sure."""
    sure = judged.adjusted.there < 1 - settings.confidence and (one.low > 0 or one.high < 0)
    if not sure and judged.verdict != verdicts.BEYOND:
        return ""
    return contrast.challenger if one.value > 0 else contrast.baseline


def _gaps(
    evidence: Evidence, contrast: Contrast, settings: Settings
) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    """The gaps that a contrast is decided by, and their rows without a decision."""
    # The headline first: the terminal takes the first row for it.
    headline = settings.headline_test_set
    for test_set in sorted(evidence.by_test_set(), key=lambda name: name != headline):
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
            del axes["languages_as"]
            yield (
                one,
                {
                    "contrast": contrast.name,
                    **axes,
                    "hours": one.place.hours,
                    "tier": one.place.tier,
                    **with_interval("gap", "pp", one.value, (one.low, one.high)),
                    "seeds": gap.seeds_of(one, rates, contrast),
                    "training_error_pp": training_error(one.draws) if one.draws else NAN,
                    "recognition": gap.recognition_of(one, rates, contrast),
                },
            )


def _places(group: Any, display: Display) -> str:
    """Languages and hours of some rows."""
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
    return "; ".join(places)


def _where(display: Display, training_set: str, lang: str) -> str:
    name = display.language(lang)
    if training_set == lang:
        return name
    return f"{name} (trained on {display.training_set(training_set)})"
