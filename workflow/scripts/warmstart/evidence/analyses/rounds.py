"""Whether training in rounds, with labels that a model gave, comes near to texts of people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
    HOURS,
    LANG,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import Cell
from warmstart.evidence.means import status_of, with_interval
from warmstart.evidence.round_rates import (
    ALL_TEXTS,
    BUDGET,
    PREVIOUS,
    RANK,
    Trained,
    chosen,
    resampled,
    rounds_of,
)
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINES = {BUDGET: ":", ALL_TEXTS: "--"}


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """WER of each round, a panel for each language and budget, a line for each arm; level lines are
    runs that were trained at once."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["rounds"])
    panels = [
        (panel, hours, rows[rows.hours == hours])
        for panel in display.panels(table, mean=False)
        for rows in [display.panel_rows(table, panel)]
        for hours in sorted(rows.hours.unique())
    ]
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No run was trained in rounds.")
    for axis, (panel, hours, own) in zip(axes, panels, strict=False):
        for style, arm in enumerate(display.arms):
            of_arm = own[own.arm == arm]
            series = of_arm.drop_duplicates("round").sort_values("round")
            if series.empty:
                continue
            name = plotting.plain(display.arm(arm))
            plotting.errorbars(axis, series["round"], series, "wer_pct", style, name)
            for against, line in _LINES.items():
                for level in of_arm[of_arm.against == against].against_wer_pct:
                    axis.axhline(level, color=plotting.colour(style), linestyle=line, linewidth=1)
        axis.set_xticks(sorted(own["round"].unique()))
        axis.set_title(plotting.plain(f"{panel.title}, {hours:g} h"))
        axis.set_ylabel("WER (%)")
    plotting.under(axes, "Round")
    plotting.shared_legend(figure, axes)
    return figure


def draw_curve(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """WER against hours with texts, a panel for each language: trained at once on these alone, and
    in rounds on these and the rest without texts."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["rounds"])
    panels = display.panels(table, mean=False)
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No run was trained in rounds.")
    for axis, panel in zip(axes, panels, strict=False):
        own = display.panel_rows(table, panel)
        shown = [float(hours) for hours in own.hours]
        for style, arm in enumerate(display.arms):
            of_arm = own[own.arm == arm]
            last = of_arm[of_arm["round"] == of_arm["round"].max()].drop_duplicates("hours")
            if last.empty:
                continue
            name = plotting.plain(display.arm(arm))
            series = last.sort_values("hours")
            plotting.errorbars(axis, series.hours, series, "wer_pct", style, f"{name}, in rounds")
            texts = of_arm[of_arm.against.isin([BUDGET, ALL_TEXTS])]
            points = {
                float(row.total_hours if row.against == ALL_TEXTS else row.hours): float(
                    row.against_wer_pct
                )
                for row in texts.itertuples()
            }
            shown += points
            if points:
                axis.plot(
                    sorted(points),
                    [points[hours] for hours in sorted(points)],
                    color=plotting.colour(style),
                    linestyle="--",
                    # One point alone would be no line.
                    marker=plotting.MARKERS[style % 9],
                    markerfacecolor="none",
                    label=f"{name}, texts alone",
                )
        axis.set_title(plotting.plain(panel.title))
        axis.set_ylabel("WER (%)")
        plotting.hours_axis(axis, np.array(shown))
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Every round against the one before, and the last one against what was trained at once."""

    section = base.Section("rounds", "Rounds")
    title = "Can a model teach itself?"
    caption = (
        "WER of the model of each round, against the round before and against runs that were "
        "trained at once on the same texts and on all texts; how much of the speech that models "
        "labelled was kept, and the WER of these labels."
    )
    details = (
        "One row for each round and what it is compared with; the first round is compared with "
        f"nothing. The last round is compared with `{PREVIOUS}`, and at the same steps, where "
        f"training.steps is fixed, with `{BUDGET}` (the same hours with texts and nothing else: "
        f"what rounds gain), `{ALL_TEXTS}` (`total_hours` of texts: what they lack) and "
        f"`{RANK}` (an arm whose updates have the rank of all rounds together), as far as the "
        "study has these runs: those of a training set of the same languages without rounds. "
        "Earlier rounds are decoded at full precision and one tier, the reference tier or the "
        "arm's last one. All rates of a test set share replicates, so that differences are paired; "
        "where seeds tell the noise of training, that of rounds counts too, so that an interval "
        "may differ a little from that of the same rate in wer.csv. The true texts of labelled "
        "speech are known here, and are used for nothing else: `label_wer` is counted after the "
        "choice. Its intervals resample blocks of the cuts and are of these very trainings."
    )
    columns = (
        *(TRAINING_SET, LANG, TEST_SET, ARM, HOURS),
        Column("total_hours", "h", "speech that is heard, with texts or without", "Heard h"),
        TIER,
        Column("round", "", "from 1; the last one's model is the run's"),
        Column("data", "", "what it was trained on (`training_sets.*.rounds.each`)"),
        *estimate("wer", "pct", "%", "word error rate of its model", "WER %"),
        Column("asked_hours", "h", "that the model before chose from, mean over seeds", "Asked h"),
        Column("kept_share_pct", "%", "of that audio, what the round has of it", "Kept %"),
        *estimate(
            "label_wer", "pct", "%", "word error rate of the labels that were kept", "Labels WER %"
        ),
        *estimate("all_labels_wer", "pct", "%", "the same of all labels", "All labels WER %"),
        Column(
            "against",
            "",
            f"`{PREVIOUS}`, `{BUDGET}`, `{ALL_TEXTS}` or `{RANK}`; empty of a round that is "
            "compared with nothing",
            "Compared with",
        ),
        Column("against_arm", "", "its arm", "Its arm"),
        Column("against_wer_pct", "%", "its word error rate", "Its WER %"),
        *estimate("gain", "pp", "pp", "`against_wer_pct` − `wer_pct`, paired", "Gain pp"),
        Column("status", "", "of the gain: `ok` or `not estimable: ...`; empty without one"),
        RECOGNITION,
    )
    note = (
        "Gain: WER of what the round is compared with minus its own, paired; above zero the round "
        "is better. Labels are scored against texts that the models never saw."
    )
    figures = (
        base.Drawing(
            "rounds",
            draw,
            "WER of the model of each round on {test_set} at {tier}. Bars: {intervals}. Dotted: "
            "trained at once on the same texts; dashed: on texts of all that rounds heard.",
            empty="no run was trained in rounds",
        ),
        base.Drawing(
            "semi_supervised",
            draw_curve,
            "WER against hours with texts on {test_set} at {tier}: in rounds, the rest of the "
            "speech without texts (bars: {intervals}), and with texts alone (dashed; its last "
            "point has texts of all that rounds heard).",
            empty="no run was trained in rounds",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set, run and round."""
        if evidence.rounds is None:
            return
        faults = {(one.lang, one.test_set): one.faults for one in evidence.scored}
        for one in resampled(evidence.counts, evidence.rounds, settings):
            known = faults.get((one.lang, one.test_set), {})
            for trained in rounds_of(one, settings):
                about = _about(one, trained, settings) | _labels(
                    evidence, trained, one.lang, settings
                )
                for against, other in trained.against.items() or [("", None)]:
                    yield about | _compared(one, trained, against, other, known, settings)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """A study without rounds does not ask."""
        if tables["rounds"].empty:
            return "No run of the study is trained in rounds (`training_sets.*.rounds`)."
        return ""

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All rounds, with a choice of test set and comparison."""
        table = tables["rounds"]
        of = self.fields(display)
        fields = [
            of.language(),
            of.text("training_set", lambda row: display.training_set(row.training_set)),
            of.text("test_set"),
            of.arm(),
            of.hours(),
            of.number("total_hours", 2),
            of.number("round", 0),
            of.text("data"),
            of.number("wer_pct", 1),
            of.interval("wer", "pct", 1, signed=False),
            of.number("kept_share_pct", 0),
            of.number("label_wer_pct", 1),
            of.interval("label_wer", "pct", 1, signed=False),
            of.text("against", lambda row: row.against if isinstance(row.against, str) else ""),
            of.number("against_wer_pct", 1),
            of.number("gain_pp", 2, signed=True),
            of.interval("gain", "pp"),
            of.text(
                "status", lambda row: row.status if isinstance(row.status, str) else "", wide=True
            ),
            *of.recognition(table),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[
                column.label for column in self.columns if column.name in (TEST_SET.name, "against")
            ],
        )


def _about(one: Scored, trained: Trained, settings: Settings) -> dict[str, Any]:
    """What a round is, and the rate of its model."""
    asked, wer = settings.rounds[trained.cell.training_set], one.wer[trained.own]
    axes = trained.cell._asdict()
    del axes["precision"]
    return {
        **axes,
        "lang": one.lang,
        "test_set": one.test_set,
        "total_hours": asked.total_hours if asked.total_hours else trained.cell.hours,
        "round": trained.number,
        "data": asked.data[trained.number - 1],
        **with_interval(
            "wer", "pct", wer.value, intervals.log_interval(wer, settings.confidence, 100.0)
        ),
    }


def _labels(evidence: Evidence, trained: Trained, lang: str, settings: Settings) -> dict[str, Any]:
    """What a model chose for a round."""
    assert evidence.rounds is not None
    found = chosen(evidence.rounds.labels, trained, lang, settings)
    if found is None:
        return {}
    return {
        "asked_hours": found.heard_hours,
        "kept_share_pct": found.kept_share_pct,
        **{
            key: value
            for name, draws in (("label_wer", found.kept), ("all_labels_wer", found.heard))
            for key, value in with_interval(
                name,
                "pct",
                draws.value,
                intervals.log_interval(draws, settings.confidence, 100.0),
            ).items()
        },
    }


def _compared(
    one: Scored,
    trained: Trained,
    against: str,
    other: Cell | None,
    faults: dict[Cell, str],
    settings: Settings,
) -> dict[str, Any]:
    """A round against something."""
    cells = [trained.own, *([other] if other is not None else [])]
    # What the study's own tables say of a model counts here too.
    both = Scored(one.lang, one.test_set, {}, one.wer, one.cer, {**one.faults, **faults})
    row = {"against": against, "recognition": recognition_status((both, cell) for cell in cells)}
    if other is None:
        return row
    gain = one.wer[other] - one.wer[trained.own]
    return {
        **row,
        "against_arm": other.arm,
        "against_wer_pct": one.wer[other].value,
        **with_interval("gain", "pp", gain.value, gain.interval(settings.confidence)),
        "status": status_of({"": gain}),
    }
