"""Whether latency changes a gap: the gap at every tier against the gap at the reference tier."""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from warmstart.evidence import intervals, verdicts
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, hours_cell, p_cell
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    CONTRAST,
    LANG,
    LANGUAGES,
    LANGUAGES_AS,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, Place
from warmstart.evidence.means import over_languages, with_interval
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_VERDICTS = {
    verdicts.WITHIN: "equivalent",
    verdicts.BEYOND: "different",
    verdicts.THERE: "different",
    verdicts.OPEN: "not decided",
}


class Change(NamedTuple):
    """What is compared with the reference tier; infinite hours stand for the mean over budgets."""

    training_set: str
    hours: float
    tier: str


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The gap at every tier, a line for each budget."""
    from warmstart.evidence import plotting

    contrast = contrast or display.contrasts[0]
    rows = display.headline(material.tables["gap"], contrast, all_tiers=True)
    # The donors as they are, at zero hours, are another question than that of fine-tuned models.
    rows = rows[rows.gap_pp.notna() & (rows.hours > 0)]
    panels, tiers = display.panels(rows), list(display.tiers)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], f"No tier was decoded with both {display.noun(contrast)}s.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(rows, panel)
        budgets = sorted(own.hours.unique())
        axis.axhline(0, color=plotting.INK, linewidth=0.8)
        for style, hours in enumerate(budgets):
            series = (
                own[own.hours == hours]
                .set_index("tier")
                .reindex([tier for tier in tiers if tier in set(own.tier)])
                .reset_index()
            )
            x = (
                np.array([tiers.index(tier) for tier in series.tier])
                + (style - (len(budgets) - 1) / 2) * 0.08
            )
            plotting.errorbars(axis, x, series, "gap_pp", style, f"{hours:g} h")
        axis.set_xticks(
            range(len(tiers)), [display.tier(tier).replace(" ", "\n") for tier in tiers]
        )
        axis.set_title(plotting.plain(panel.title))
    figure.supylabel(plotting.difference(display, contrast), fontsize=9)
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Gap at a tier minus gap at the reference tier, at the same hours, and over all hours."""

    section = base.LATENCY
    title = "Does latency change the answer?"
    caption = (
        "The gap at every latency tier minus the gap at the reference tier, with intervals and a "
        "test of equivalence."
    )
    details = (
        "Verdicts follow the rule of guideline.csv, with `margin_pp` for the threshold, and are "
        "adjusted by Holm over all rows of a contrast's test set."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET),
        Column("hours", "h", "budget, or `all`: mean over the budgets"),
        TIER,
        Column("reference_tier", "", "`statistics.reference_tier`"),
        *estimate("difference", "pp", "pp", "gap at `tier` − gap at `reference_tier`"),
        Column("seeds", "", "trainings of each arm; with 1 all is of these trainings"),
        Column("p_value", "", "two-sided, of “no difference”"),
        Column("margin_pp", "pp", "`statistics.tier_margin_pp`"),
        Column("equivalence_p_value", "", "larger p of the two one-sided tests"),
        Column(
            "verdict",
            "",
            "`equivalent` (`equivalence_p_holm` below 1 − `statistics.confidence`), else "
            "`different` (so is `p_holm`), else `not decided`; `not decided: systems do not "
            "recognise`",
        ),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        Column(
            "p_holm", "", "`p_value` after Holm over all rows of a contrast's test set", "p (Holm)"
        ),
        Column("equivalence_p_holm", "", "`equivalence_p_value` after the same"),
        RECOGNITION,
    )
    by_contrast = True
    figures = (
        base.Drawing(
            "gap_by_tier",
            draw,
            "The gap at every latency tier on {test_set}, a line per budget, set apart sideways to "
            "be told apart. Bars: {intervals}.",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every contrast and test set."""
        for contrast in settings.contrasts:
            for test_set, members in evidence.by_test_set().items():
                for row in _rows(test_set, members, contrast, settings):
                    yield {"contrast": contrast.name, **row}

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """With one tier there is nothing to compare."""
        gaps = display.headline(tables["gap"], contrast, all_tiers=True)
        tiers = gaps.tier[gaps.gap_pp.notna() & (gaps.hours > 0)].unique()
        if len(tiers) > 1:
            return ""
        at = f" ({display.tier(tiers[0])})" if len(tiers) else ""
        return f"The study decoded both sides at one latency{at}, so it does not say."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All tiers on the headline test set."""
        contrast = contrast or display.contrasts[0]
        table = tables["gap_by_tier"]
        at = display.on_headline(table) & (table.contrast == contrast.name)

        def hours(row: Any) -> Shown:
            return hours_cell(math.inf if row.hours == "all" else float(row.hours))

        verdicts = {"equivalent": "yes", "different": "no"}
        of = self.fields(display)
        reference = display.tier(display.settings.reference_tier)
        fields = [
            of.language(),
            of.tier(),
            of.text("verdict", tag=lambda row: verdicts.get(row.verdict, "plain")),
            *of.training_set(),
            *([of.text("test_set")] if display.read_elsewhere else []),
            of.cell("hours", hours),
            of.number("difference_pp", 2, signed=True, head=f"Gap minus gap at {reference}"),
            of.interval("difference", "pp"),
            of.cell("p_holm", lambda row: p_cell(row.p_holm)),
            of.number("margin_pp", 2),
        ]
        name = self.sheet_name(display, contrast).replace("gap_by_tier", "tiers")
        return sheet(name, fields, display.ordered(table[at]).itertuples(), sortable=True)


def _rows(
    test_set: str, members: list[Scored], contrast: Contrast, settings: Settings
) -> Iterator[dict[str, Any]]:
    """Rows of one contrast and test set."""
    changes = {one.lang: _changes(one, contrast, settings.reference_tier) for one in members}
    rates = {one.lang: one for one in members}
    gaps = {one.lang: list(one.gaps(contrast)) for one in members}
    found = []
    for one in over_languages(test_set, changes, settings.confidence, settings.order_of):
        if one.draws is None:
            continue
        systems = [
            (rates[lang], place.cell(lang, arm))
            for arm in contrast.arms
            for lang in one.langs
            for place in _places(one.place, settings.reference_tier, gaps[lang])
        ]
        seeds = min(scored.totals[cell]["seeds"] for scored, cell in systems)
        found.append((one, recognition_status(systems), seeds))
    judged = verdicts.judge(
        [one.draws if recognises == OK else None for one, recognises, _ in found],
        settings.tier_margin_pp,
        1 - settings.confidence,
    )
    for (one, recognises, seeds), verdict in zip(found, judged, strict=True):
        yield {
            **one.axes(),
            "hours": "all" if math.isinf(one.place.hours) else one.place.hours,
            "tier": one.place.tier,
            "reference_tier": settings.reference_tier,
            **with_interval("difference", "pp", one.value, (one.low, one.high)),
            "seeds": seeds,
            "p_value": verdict.single.there,
            "margin_pp": settings.tier_margin_pp,
            "equivalence_p_value": verdict.single.within,
            "verdict": _VERDICTS[verdict.verdict] if recognises == OK else UNDECIDED,
            "status": one.status,
            "p_holm": verdict.adjusted.there,
            "equivalence_p_holm": verdict.adjusted.within,
            "recognition": recognises,
        }


def _places(change: Change, reference: str, gaps: Iterable[Place]) -> list[Place]:
    """What of the gaps of a language enters a change: those at its tier and at the reference."""
    return [
        place
        for place in gaps
        if (place.training_set, place.precision) == (change.training_set, FULL)
        and place.tier in (change.tier, reference)
        and (place.hours == change.hours or (math.isinf(change.hours) and place.hours > 0))
    ]


def _changes(one: Scored, contrast: Contrast, reference: str) -> dict[Change, intervals.Draws]:
    """Differences of one language to the reference tier, at each budget and over all of them."""
    gaps = {place: draws for place, draws in one.gaps(contrast).items() if place.precision == FULL}
    own = {
        Change(place.training_set, place.hours, place.tier): draws - gaps[at_reference]
        for place, draws in gaps.items()
        if place.tier != reference and (at_reference := place._replace(tier=reference)) in gaps
    }
    every: dict[Change, list[intervals.Draws]] = {}
    for change, draws in own.items():
        if change.hours > 0:
            every.setdefault(change._replace(hours=math.inf), []).append(draws)
    return own | {
        change: _mean_same_blocks(draws) for change, draws in every.items() if len(draws) > 1
    }


def _mean_same_blocks(draws: list[intervals.Draws]) -> intervals.Draws:
    """Mean of estimates that share blocks (budgets of one language): their replicates stay
    aligned."""
    return intervals.combine(draws, [1 / len(draws)] * len(draws))
