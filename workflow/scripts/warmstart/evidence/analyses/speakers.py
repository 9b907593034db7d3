"""Which speakers lose: how far they lie apart inside a test set, and whom each start serves
better."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from warmstart.evidence import speakers
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
    CONTRAST,
    HOURS,
    LANG,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import GAP, Cell
from warmstart.evidence.means import with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet
from warmstart.evidence.speakers import ABOVE, MEDIAN, SD, WORST, Spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_UNITS = {MEDIAN: "pct", WORST: "pct", ABOVE: "pct"}


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The median speaker and the one that a tenth exceeds, a panel for each language."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["speakers"])
    rows = table[(table.hours > 0) & (table.arm != GAP) & table.median_pct.notna()]
    panels = display.panels(rows, mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No test set has enough speakers.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(rows, panel)
        for style, arm in enumerate(display.arms):
            series = own[own.arm == arm].sort_values("hours")
            if not len(series):
                continue
            # Side by side, because a bar would hide another's.
            hours = series.hours * 1.06 ** (style - (len(display.arms) - 1) / 2)
            colour = plotting.colour(style)
            axis.vlines(hours, series.median_pct, series.worst_decile_pct, color=colour)
            axis.plot(hours, series.worst_decile_pct, color=colour, marker="_", linestyle="none")
            axis.plot(
                hours,
                series.median_pct,
                color=colour,
                marker=plotting.MARKERS[style % 9],
                linestyle="none",
                label=plotting.plain(display.arm(arm)),
            )
        axis.set_title(plotting.plain(panel.title))
        axis.set_ylim(bottom=0)
        plotting.hours_axis(axis, own.hours, label=False)
    figure.supylabel("WER of a speaker (%)", fontsize=9)
    plotting.under(axes, "Training data (h)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """A mean over speakers hides those that a start fails."""

    section = base.ERROR_RATES
    title = "Which speakers lose?"
    caption = (
        "How far the speakers of a test set lie apart, of every arm: standard deviation of their "
        "WERs, the median, the WER that one in ten exceeds, the share with more than twice the "
        "median; and whom the arms of a contrast serve better."
    )
    details = (
        "In rows with `arm = gap` these are baseline minus challenger: a positive one says that "
        "the challenger's speakers lie closer together, or that it is kinder to the worst. What "
        "speakers differ by because each said little is taken out "
        "(`warmstart/evidence/speakers.py` has the formulas); from the shares of speakers that an "
        "arm serves better it cannot be, so that they lie nearer to each other than with more "
        "speech. Intervals take the speakers as a sample of speakers and the trainings as these "
        f"trainings. Fewer than {speakers.FEWEST_SPEAKERS} speakers have no spread. The standard "
        "deviation has no interval: where WERs have a heavy tail, the odd speaker who makes it is "
        "seldom in the sample, and intervals held the truth in 86 to 92 % "
        "(benchmarks/RESULTS.md). The worst tenth is told from so many speakers on that one of "
        "them is likely to be beyond it, 36 at 95 %."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("speakers", "", "speakers who are known"),
        Column(
            "measured", "", f"those with {speakers.FEWEST_WORDS} reference words, who are ranked"
        ),
        Column("unknown", "", "utterances of nobody knows whom, which are left out"),
        Column(
            "sd_pp",
            "pp",
            "standard deviation of the speakers' WERs; of these speakers, without an interval",
            "SD pp",
        ),
        *estimate("median", "pct", "%", "median WER of the speakers", "Median %"),
        *estimate(
            "worst_decile", "pct", "%", "WER that one speaker in ten exceeds", "Worst tenth %"
        ),
        *estimate(
            "above_twice",
            "pct",
            "%",
            "share of speakers with more than twice the median WER",
            "Over twice the median %",
        ),
        *(
            column
            for name in ("challenger", "baseline")
            for column in estimate(
                f"{name}_better",
                "pct",
                "%",
                f"share of speakers with fewer errors of the {name}; the rest have equally many",
                f"{name.capitalize()} better for %",
            )
        ),
        RECOGNITION,
        Column("status", "", "`ok`, or `not estimable: ...`"),
    )
    note = (
        "Net of what speakers differ by because each said little. Intervals are over speakers, of "
        "these trainings. A positive difference of two arms says that the challenger's speakers "
        "lie closer together, or that it is kinder to the worst."
    )
    figures = (
        base.Drawing(
            "speakers_by_hours",
            draw,
            "Speakers of {test_set} at {tier}: WER of the median speaker (marker), and the one "
            "that a tenth exceeds (bar).",
            empty=f"no test set has {speakers.FEWEST_SPEAKERS} speakers who said enough",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set: each cell, then each contrast."""
        voices = {(one.lang, one.test_set): one for one in evidence.voices}
        for one in evidence.compared:
            if (of := voices.get((one.lang, one.test_set))) is None:
                continue
            spread = Spread(of, settings)
            common = {
                "lang": one.lang,
                "test_set": one.test_set,
                **{name: getattr(spread, name) for name in ("speakers", "measured", "unknown")},
            }
            if spread.status != "ok":
                yield common | {"status": spread.status}
                continue
            for row in _rows(one, spread, settings):
                yield common | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Test sets with few speakers, or unknown ones, have no spread."""
        table = tables["speakers"]
        if display.headline(table).sd_pp.notna().any():
            return ""
        return f"Not stated: {base.reasons(table[table.sd_pp.isna()]) or 'nothing was scored'}."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The headline's rows, with a choice of language, budget and arm."""
        table = display.headline(tables["speakers"])
        of = self.fields(display)
        fields = [
            of.text("lang", lambda row: display.language(row.lang)),
            *of.training_set(),
            of.hours(),
            of.arm_or_gap(),
            of.number("sd_pp", 1),
            of.number("median_pct", 1),
            of.number("worst_decile_pct", 1),
            of.interval("worst_decile", "pct", 1, signed=False),
            of.number("above_twice_pct", 0),
            of.interval("above_twice", "pct", 0, signed=False),
            of.number("challenger_better_pct", 0),
            of.interval("challenger_better", "pct", 0, signed=False),
            of.number("baseline_better_pct", 0),
            of.number("speakers", 0),
            *of.recognition(table),
            of.text("status", wide=True),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[column.label for column in (LANG, HOURS, ARM)],
        )


def _rows(one: Scored, spread: Spread, settings: Settings) -> Iterator[dict[str, Any]]:
    """Rows of a test set whose speakers have a spread."""
    confidence = settings.confidence
    found: dict[Cell, dict[str, Draws]] = {}
    for cell in sorted(one.wer, key=settings.order_of):
        found[cell] = spread.of(cell)
        about = cell._asdict() | {"recognition": recognition_status([(one, cell)])}
        bounds = {
            name: speakers.bounds(name, draws, confidence, spread.measured)
            for name, draws in found[cell].items()
        }
        yield about | _estimates(found[cell], bounds, spread, confidence)
    for contrast in settings.contrasts:
        for cell, other in sorted(one.pairs(contrast), key=lambda two: settings.order_of(two[0])):
            about = cell._asdict() | {
                "contrast": contrast.name,
                "arm": GAP,
                "recognition": recognition_status([(one, cell), (one, other)]),
            }
            gaps = {
                name: draws - found[other][name]
                for name, draws in found[cell].items()
                if name in found[other]
            }
            bounds = {name: draws.interval(confidence) for name, draws in gaps.items()}
            row = about | _estimates(gaps, bounds, spread, confidence)
            for side, share in spread.served_better(cell, other).items():
                interval = speakers.share_interval(share, confidence, spread.speakers)
                row |= with_interval(f"{side}_better", "pct", share.value, interval)
            yield row


def _estimates(
    draws: Mapping[str, Draws],
    bounds: Mapping[str, tuple[float, float]],
    spread: Spread,
    confidence: float,
) -> dict[str, Any]:
    """What is known of an arm, or of the difference of two."""
    if not draws[SD].varies:
        return {"status": "not estimable: all speakers err alike"}
    row: dict[str, Any] = {"status": "ok", "sd_pp": draws[SD].value}
    needed = speakers.fewest_for_worst(confidence)
    if MEDIAN not in draws:
        row["status"] = (
            f"not estimable: ranks of {spread.measured} speaker(s) with {speakers.FEWEST_WORDS} "
            f"words, which need {speakers.FEWEST_SPEAKERS}"
        )
    elif spread.measured < needed:
        row["status"] = (
            f"not estimable: the worst tenth of {spread.measured} speakers, which needs {needed}"
        )
    for name, each in draws.items():
        if name != SD and each.varies and (name != WORST or spread.measured >= needed):
            row |= with_interval(name, _UNITS[name], each.value, bounds[name])
    return row
