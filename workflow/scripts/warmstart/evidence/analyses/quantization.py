"""What a precision costs each arm, and what it does to each gap."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    HOURS,
    LANG,
    LANGUAGES,
    LANGUAGES_AS,
    PRECISION,
    RECOGNITION,
    TEST_SET,
    TIER,
    TRAINING_SET,
    Column,
    estimate,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, GAP, MEAN, OWN, Cell, name_of, part_of
from warmstart.evidence.means import NAN, over_languages, with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZES = {
    "pytorch_fp32": ("the encoder as trained", "× vs PyTorch fp32"),
    "onnx_fp32": ("the same graph, unquantised", "× vs ONNX fp32"),
    "fp16": ("that graph at 2 bytes a weight", "× vs fp16"),
}


class Cost(NamedTuple):
    """What a precision does: to an arm, or (arm `gap`) to the gap of a contrast, the number of
    which in the study is `contrast`."""

    training_set: str
    arm: str
    hours: float
    precision: str
    tier: str
    contrast: int = -1

    def cell(self, lang: str) -> Cell:
        """The cell of an arm, in a language."""
        return Cell(name_of(self.training_set, lang), *self[1:5])


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """What quantising costs each arm and each gap, against PyTorch, a panel for each test set."""
    from warmstart.evidence import plotting

    table = material.tables["quantization"]
    rows = table[
        table.delta_pp.notna()
        & (table.languages_as != "sampled")
        & (table.baseline_precision == FULL)
    ]
    rows = display.ordered(rows)
    test_sets = [name for name in display.test_sets if name in set(rows.test_set)]
    # The same lines in every panel, and as high as they need.
    groups = list(dict.fromkeys(_group(display, row) for row in rows.itertuples()))
    kinds_drawn = len(rows[["arm", "contrast"]].drop_duplicates())
    height = max(2.0, 0.9 + len(groups) * max(0.32, 0.12 * kinds_drawn))
    figure, axes = plotting.panels(len(test_sets), height=height, sharex=True)
    if not test_sets:
        plotting.note(axes[0], "No quantised encoder was decoded.")
    kinds = [(arm, "") for arm in display.arms]
    kinds += [(GAP, each.name) for each in display.contrasts]
    for axis, test_set in zip(axes, test_sets, strict=False):
        own = rows[rows.test_set == test_set]
        of_kind = {
            (arm, name): own[(own.arm == arm) & (own.contrast.fillna("") == name)]
            for arm, name in kinds
        }
        of_kind = {kind: series for kind, series in of_kind.items() if len(series)}
        axis.axvline(0, color=plotting.INK, linewidth=0.8)
        for style, ((arm, name), series) in enumerate(of_kind.items()):
            places = [groups.index(_group(display, row)) for row in series.itertuples()]
            spread = np.vstack(
                [
                    (series.delta_pp - series.delta_low_pp).clip(lower=0),
                    (series.delta_high_pp - series.delta_pp).clip(lower=0),
                ]
            )
            axis.errorbar(
                series.delta_pp,
                np.array(places) + (style - (len(of_kind) - 1) / 2) * 0.2,
                xerr=np.nan_to_num(spread),
                label=plotting.plain(_label(display, arm, name)).lower()
                if arm == GAP
                else plotting.plain(display.arm(arm)),
                color=plotting.COLOURS[style % 9],
                marker=plotting.MARKERS[style % 9],
                markersize=5,
                linestyle="none",
                capsize=2.5,
                elinewidth=1,
            )
        axis.set_yticks(
            range(len(groups)),
            [
                plotting.plain(f"{name}, {hours:g} h\n{precision}, {tier}")
                for name, hours, precision, tier in groups
            ],
            fontsize=7.5,
        )
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.set_title(plotting.plain(display.test_set(test_set)))
    plotting.under(axes, "WER change (pp)")
    plotting.shared_legend(figure, axes)
    return figure


def _group(display: Display, row: Any) -> tuple[str, float, str, str]:
    """What stands in one line of the figure."""
    part = part_of(row.training_set, row.lang)
    name = display.language(row.lang)
    if part != OWN:
        name = f"{name}, trained on {display.training_set(part)}"
    return name, row.hours, display.precision(row.precision), display.tier(row.tier)


def _label(display: Display, arm: str, contrast: str) -> str:
    """Name of what a row is about."""
    if arm != GAP:
        return display.arm(arm)
    return "Change of the gap" + (f", {contrast}" if display.several_contrasts else "")


class Analysis(base.Analysis):
    """Against PyTorch at full precision, and, where the study decodes the unquantised export,
    against that: the rest is then the rounding of the weights alone."""

    section = base.QUANTISATION
    title = "Does quantisation change the answer?"
    caption = (
        "What a quantised encoder costs each arm, and what it does to a gap (`gap`: difference of "
        "differences), with intervals and sizes."
    )
    columns = (
        Column("contrast", "", "of the row of a `gap`; empty in those of arms"),
        *(TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET),
        Column(
            "arm",
            "",
            "an arm, or `gap`: what quantising does to the gap (difference of differences)",
        ),
        *(HOURS, PRECISION, TIER),
        Column(
            "baseline_precision",
            "",
            "precision compared with: `full` (PyTorch), and the unquantised ONNX export where the "
            "study decodes one (`scheme: fp32`)",
            "Against",
        ),
        Column("wer_baseline_pct", "%", "its WER in the same tier"),
        *estimate("delta", "pp", "pp", "WER(precision) − WER(baseline_precision)", "ΔWER pp"),
        Column("p_value", "", "two-sided, of “no change”"),
        Column("bytes_encoder", "bytes", "the quantised encoder's file", "Encoder MB"),
        *(Column(f"bytes_{name}", "bytes", meaning) for name, (meaning, _) in _SIZES.items()),
        *(
            Column(f"times_smaller_than_{name}", "", f"`bytes_{name}` / `bytes_encoder`", head)
            for name, (_, head) in _SIZES.items()
        ),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    note = (
        "ΔWER is against the same model at full precision (PyTorch) in the same tier. Every size "
        "ratio names its denominator's precision; sizes are of the encoder alone."
    )
    figures = (
        base.Drawing(
            "quantization",
            draw,
            "Change of WER when the encoder is quantised, against the same model at full precision "
            "in the same tier, and the change of the gap (difference of differences), with "
            "{intervals}.",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """All precisions against PyTorch, then against each bare export."""
        for baseline in (FULL, *settings.exports):
            for test_set, members in evidence.by_test_set().items():
                scored = {one.lang: one for one in members}
                rates = {one.lang: one.wer for one in members}
                costs = {one.lang: _costs(one, baseline, settings) for one in members}
                estimates = over_languages(test_set, costs, settings.confidence, settings.order_of)
                for one in estimates:
                    cost: Cost = one.place
                    cell = None if one.lang == MEAN else cost.cell(one.lang)
                    compared = (
                        rates[one.lang].get(cell._replace(precision=baseline)) if cell else None
                    )
                    yield {
                        "contrast": settings.contrasts[cost.contrast].name
                        if cost.arm == GAP
                        else None,
                        **one.axes(),
                        "arm": cost.arm,
                        "hours": cost.hours,
                        "precision": cost.precision,
                        "tier": cost.tier,
                        "baseline_precision": baseline,
                        "wer_baseline_pct": compared.value if compared else NAN,
                        **with_interval("delta", "pp", one.value, (one.low, one.high)),
                        "p_value": one.draws.p_value() if one.draws else NAN,
                        **_sizes(evidence.encoders.get(cell, {}) if cell else {}),
                        "status": one.status,
                        "recognition": recognition_status(
                            (scored[lang], cell)
                            for lang in one.langs
                            for cell in _cells(cost, lang, baseline, settings)
                        ),
                    }

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Without a quantised encoder there is nothing to compare."""
        if tables["quantization"].delta_pp.notna().any():
            return ""
        return "The study decoded no quantised encoder, so it does not say."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """Arms and gaps together."""
        table = tables["quantization"]
        table = display.ordered(table[table.languages_as != "sampled"])
        of = self.fields(display)

        def against(row: Any) -> str:
            return "PyTorch" if row.baseline_precision == FULL else row.baseline_precision

        fields = [
            of.language(),
            of.number("delta_pp", 2, signed=True),
            of.text("arm", lambda row: _label(display, row.arm, row.contrast)),
            of.interval("delta", "pp"),
            *of.training_set(),
            of.hours(),
            of.text("precision"),
            of.text("baseline_precision", against),
            of.tier(),
            of.text("test_set"),
            of.number("bytes_encoder", 2, scale=lambda size: size / 1e6),
            *(of.number(f"times_smaller_than_{name}", 2) for name in _SIZES),
            *of.recognition(table),
        ]
        return sheet(self.name, fields, table.itertuples(), sortable=True)


def _costs(one: Scored, baseline: str, settings: Settings) -> dict[Cost, intervals.Draws]:
    """What every other precision costs, in a language; the PyTorch model is no rounding of its
    export."""
    own: dict[Cost, intervals.Draws] = {}
    for cell, rate in one.wer.items():
        compared = cell._replace(precision=baseline)
        if cell.precision not in (FULL, baseline) and compared in one.wer:
            part = part_of(cell.training_set, one.lang)
            own[Cost(part, *cell[1:])] = rate - one.wer[compared]
    gaps = {}
    for number, contrast in enumerate(settings.contrasts):
        for cost, draws in own.items():
            other = cost._replace(arm=contrast.challenger)
            if cost.arm == contrast.baseline and other in own:
                gaps[cost._replace(arm=GAP, contrast=number)] = draws - own[other]
    return own | gaps


def _cells(cost: Cost, lang: str, baseline: str, settings: Settings) -> list[Cell]:
    """What enters a cost: the arm at both precisions, or both arms of the contrast."""
    arms = settings.contrasts[cost.contrast].arms if cost.arm == GAP else (cost.arm,)
    cells = [cost._replace(arm=arm).cell(lang) for arm in arms]
    return [*cells, *(cell._replace(precision=baseline) for cell in cells)]


def _sizes(report: dict[str, Any]) -> dict[str, float]:
    """Bytes of the encoder and ratios to it, each with its denominator in its name; NaN where no
    report was given."""
    size = report.get("bytes", {})
    own = size.get("encoder", NAN)
    bases = {name: size.get(name, NAN) for name in _SIZES}
    return {
        "bytes_encoder": own,
        **{f"bytes_{name}": value for name, value in bases.items()},
        **{f"times_smaller_than_{name}": value / own for name, value in bases.items()},
    }
