"""Error rates of every cell, and their means over languages."""

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, number_cell
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    LANGUAGES,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_ERROR,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import MEAN, Cell
from warmstart.evidence.means import ratio_pct, status_of, training_error, with_interval
from warmstart.evidence.recognition import OK, SAYS_NOT
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """WER against hours, a line for each arm, a panel for each language."""
    from warmstart.evidence import plotting

    at = display.headline(material.tables["wer"])
    trained, untrained = at[at.hours > 0], at[at.hours == 0]
    panels = display.panels(trained, mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "Nothing was decoded at the reference tier.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(trained, panel)
        as_they_are = display.panel_rows(untrained, panel)
        for style, arm in enumerate(display.arms):
            name = plotting.plain(display.arm(arm))
            series = own[own.arm == arm].sort_values("hours")
            if len(series):
                plotting.errorbars(axis, series.hours, series, "wer_pct", style, name)
            for row in as_they_are[as_they_are.arm == arm].itertuples():
                axis.axhline(
                    row.wer_pct,
                    color=plotting.COLOURS[style % 9],
                    linestyle=plotting.LINES[style % 9],
                    linewidth=0.8,
                    label=f"{name}, not fine-tuned",
                )
        axis.set_title(plotting.plain(panel.title))
        axis.set_ylim(bottom=0)
        plotting.hours_axis(axis, own.hours, label=False)
    figure.supylabel("WER (%)", fontsize=9)
    plotting.under(axes, "Training data (h)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Rates are ratios of sums over the corpus; with several seeds, their mean."""

    section = base.ERROR_RATES
    title = "Word error rates"
    caption = (
        "Word and character error rates of every decode, with intervals. Ratios of sums over the "
        "corpus, with several seeds their mean; blocks (speakers, sentences or utterances) are "
        "resampled."
    )
    details = (
        "Rows with `lang = mean` are means of the languages' rates, of models that are for them. "
        "Rows whose `lang` is none that the model is for show what it forgot, and enter no mean "
        "and no gap."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column("seeds", "", "trained models"),
        Column("utterances", "", "counted once for each seed"),
        Column(
            "wordless",
            "",
            "of the utterances: the reference has no word once it is normalised, so that whatever "
            "a model writes is an insertion",
        ),
        Column("blocks", "", "units of resampling"),
        Column(
            "readers",
            "",
            "speakers that are resampled too, beside blocks in which several read; 0: intervals "
            "are for these readers, unless a block is a speaker",
        ),
        Column("words", "", "words of the references, summed over seeds"),
        Column("substitutions", "", "summed over seeds", "S"),
        Column("deletions", "", "summed over seeds", "D"),
        Column("insertions", "", "summed over seeds", "I"),
        *estimate("wer", "pct", "%", "word error rate", "WER %"),
        *estimate("cer", "pct", "%", "character error rate", "CER %"),
        TRAINING_ERROR,
        Column("status", "", "of the interval of the WER: `ok`, or `not estimable: ...`"),
        Column(
            "wer_leaderboard_pct",
            "%",
            "word error rate by the rules of the Open ASR Leaderboard (leaderboard.csv); empty "
            "where they are not for the language",
            "Leaderboard WER %",
        ),
        Column("leaderboard_less_wer_pp", "pp", "the same, less `wer_pct`"),
        Column("number_wer_pct", "%", "share of number words substituted or deleted", "Numbers %"),
        Column("rare_wer_pct", "%", "share of rare words substituted or deleted", "Rare words %"),
        Column("empty_pct", "%", "share of utterances whose hypothesis is empty", "Empty %"),
        Column("looping_pct", "%", "share of utterances whose hypothesis loops", "Looping %"),
        RECOGNITION,
    )
    note = (
        "Rates are ratios of sums over the corpus. S, D, I: words substituted, deleted, inserted. "
        "What intervals resample, the table of test sets says; training noise is in them where the "
        "study has several seeds of some cell."
    )
    figures = (
        base.Drawing(
            "wer_by_hours",
            draw,
            "WER on {test_set} at {tier} against hours of training data, with {intervals}.",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterable[dict[str, Any]]:
        """Rates of every cell, then their means over the languages that have the cell."""
        rows = []
        for one in evidence.scored:
            cells = sorted(one.totals, key=settings.order_of)
            own = rates_of(one, settings.confidence, settings.order_of)
            rows += [
                row | _beside(evidence, [(one, cell)], row["wer_pct"])
                for cell, row in zip(cells, own, strict=True)
            ]
        of_test_set = sorted(evidence.compared, key=lambda one: one.test_set)
        for test_set, members in itertools.groupby(of_test_set, key=lambda one: one.test_set):
            rows += _means(test_set, list(members), settings, evidence)
        return rows

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """What is known to be wrong with references that rates are against."""
        return " ".join(
            f"{display.test_set(name)}: {caution}"
            for name in dict.fromkeys(tables["wer"].test_set)
            if (caution := display.caution(name))
        )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All rows, with choices by every axis; the rate stands in front, where a phone shows
        it."""

        def errors(row: Any) -> Shown:
            kinds = (row.substitutions, row.deletions, row.insertions)
            return number_cell(kinds[0], 0, text=" / ".join(number_cell(k, 0).text for k in kinds))

        of = self.fields(display)
        fields = [
            of.language(),
            of.number("wer_pct", 2),
            of.interval("wer", "pct", signed=False),
            *of.training_set(),
            of.arm(),
            of.hours(),
            of.text("precision"),
            of.tier(),
            of.text("test_set"),
            of.number("wer_leaderboard_pct", 2),
            of.number("cer_pct", 2),
            *(of.number(f"{name}_pct", 1) for name in ("number_wer", "rare_wer")),
            *(of.number(f"{name}_pct", 1) for name in ("empty", "looping")),
            *of.recognition(tables["wer"]),
            of.cell("substitutions", errors, head="S / D / I"),
            of.number("words", 0),
        ]
        axes = [TRAINING_SET, LANG, ARM, HOURS, PRECISION, TIER, TEST_SET]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            tables["wer"].itertuples(),
            sortable=True,
            filters=[column.label for column in axes],
            # A choice would hide the languages that are read from another test set.
            chosen={}
            if display.read_elsewhere
            else {TEST_SET.label: display.test_set(display.settings.headline_test_set)},
        )


def rates_of(
    one: Scored, confidence: float, order: Callable[[Cell], Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of one test set, a cell each, sorted by `order` (None: as cells sort)."""
    rows = []
    for cell in sorted(one.totals, key=order):
        totals = one.totals[cell]
        rows.append(
            {
                **cell._asdict(),
                **_rates(one.wer[cell], one.cer[cell], confidence),
                "lang": one.lang,
                "languages": 1,
                "test_set": one.test_set,
                **{name: totals[name] for name in ("seeds", "utterances", "blocks")},
                "readers": one.readers,
                "wordless": totals["utterances"] - totals["spoken"],
                "words": totals["ref_words"],
                **{name: totals[name] for name in ("substitutions", "deletions", "insertions")},
                "number_wer_pct": ratio_pct(totals["number_errors"], totals["number_words"]),
                "rare_wer_pct": ratio_pct(totals["rare_errors"], totals["rare_words"]),
                "empty_pct": ratio_pct(totals["empty"], totals["utterances"]),
                "looping_pct": ratio_pct(totals["looping"], totals["utterances"]),
                "recognition": f"{SAYS_NOT}: {one.faults[cell]}" if cell in one.faults else OK,
            }
        )
    return rows


def _rates(wer: intervals.Draws, cer: intervals.Draws, confidence: float) -> dict[str, Any]:
    return {
        **with_interval("wer", "pct", wer.value, intervals.log_interval(wer, confidence, 100.0)),
        **with_interval("cer", "pct", cer.value, intervals.log_interval(cer, confidence, 100.0)),
        "training_error_pp": training_error(wer),
        "status": OK if wer.value == 0 and wer.block_df >= 1 else status_of({"": wer}),
    }


def _beside(
    evidence: Evidence, systems: list[tuple[Scored, Cell]], wer_pct: float
) -> dict[str, float]:
    """The mean rate of cells by the leaderboard's rules, where all have one."""
    found = [evidence.leaderboard.get((one.lang, one.test_set, cell)) for one, cell in systems]
    rates = [one.wer_pct for one in found if one is not None]
    if len(rates) < len(systems):
        return {}
    mean = sum(rates) / len(rates)
    return {"wer_leaderboard_pct": mean, "leaderboard_less_wer_pp": mean - wer_pct}


def _means(
    test_set: str, members: list[Scored], settings: Settings, evidence: Evidence
) -> list[dict[str, Any]]:
    """Means over languages, of every cell that two of them have or more."""
    # The cell as several languages have it: a training set that is the language counts as `own`.
    common = {
        (one.lang, cell): cell._replace(training_set=cell.place(one.lang).training_set)
        for one in members
        for cell in one.wer
    }
    rows = []
    for shared in sorted(set(common.values()), key=settings.order_of):
        have: list[tuple[Scored, Cell]] = [
            (one, cell) for one in members for cell in one.wer if common[one.lang, cell] == shared
        ]
        if len(have) < 2:
            continue
        wer, cer = (
            intervals.mean_of([getattr(one, name)[cell] for one, cell in have])
            for name in ("wer", "cer")
        )
        rows.append(
            {
                **shared._asdict(),
                "lang": MEAN,
                "languages": len(have),
                "test_set": test_set,
                **_rates(wer, cer, settings.confidence),
                "status": status_of({one.lang: one.wer[cell] for one, cell in have}),
                **_beside(evidence, have, wer.value),
                "recognition": recognition_status(have),
            }
        )
    return rows
