"""The gap of every contrast at every budget, tier and precision, by language and in the mean."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from warmstart.evidence.analyses import base
from warmstart.evidence.analyses.fit import stands
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    CONTRAST,
    HOURS,
    LANG,
    LANGUAGES,
    LANGUAGES_AS,
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
from warmstart.evidence.keys import MEAN, POOLED, Place
from warmstart.evidence.means import (
    NAN,
    Estimate,
    over_languages,
    ratio_pct,
    training_error,
    with_interval,
)
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROUNDING_PP = 1e-9


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The gap against hours: all languages on one axis, and their mean, with intervals and the
    fitted laws."""
    from warmstart.evidence import plotting

    contrast = contrast or display.contrasts[0]
    rows = display.headline(material.tables["gap"], contrast)
    rows = rows[rows.gap_pp.notna() & (rows.hours > 0)]
    laws = display.headline(material.tables["fit"], contrast)
    laws = laws[laws.family == "power"]
    panels = display.panels(rows)
    figure, axis = plotting.single()
    if not panels:
        plotting.note(axis, f"No budget was decoded with both {display.noun(contrast)}s.")
        return figure
    axis.axhline(0, color=plotting.INK, linewidth=0.8)
    for style, panel in enumerate(panels):
        own = display.panel_rows(rows, panel).sort_values("hours")
        mean = panel.lang == MEAN
        look = plotting.MEAN_STYLE if mean else style
        law = display.of_part(laws, panel.part)
        law = law[law.lang == (POOLED if mean else panel.lang)]
        drawn = len(law) and _drawable(law.iloc[0]) and len(own) > 1
        label = panel.title
        if drawn and law.iloc[0].status != "ok":
            label += " (law not bounded)"
        plotting.errorbars(
            axis,
            # Side by side, so that the bars of one budget can be told apart.
            own.hours * 1.025 ** (style - (len(panels) - 1) / 2),
            own,
            "gap_pp",
            look,
            plotting.plain(label),
            line=not drawn,
            heavy=mean,
        )
        if drawn:
            one = law.iloc[0]
            grid = np.geomspace(own.hours.min(), own.hours.max(), 100)
            axis.plot(
                grid,
                one.gap_at_reference_pp * (grid / one.reference_hours) ** -one.exponent_b,
                color=plotting.colour(look),
                linestyle="--" if one.status == "ok" else ":",
                linewidth=2.0 if mean else 1.1,
            )
        if own.languages.nunique() > 1:
            # The mean of fewer languages is no later point of the same curve.
            for row in own.itertuples():
                axis.annotate(
                    f"n={row.languages}",
                    (row.hours, row.gap_pp),
                    (5, 5),
                    textcoords="offset points",
                    fontsize=7.5,
                )
    axis.set_ylabel(plotting.difference(display, contrast))
    plotting.hours_axis(axis, rows.hours)
    plotting.shared_legend(figure, [axis])
    return figure


def _drawable(law: Any) -> bool:
    """Whether there is a law to draw."""
    return bool(np.isfinite(law.exponent_b)) and stands(law.status)


class Analysis(base.Analysis):
    """Gap = WER(baseline) - WER(challenger); above zero the challenger is better."""

    section = base.GAP
    title = "The gap against hours"
    caption = (
        "Gap = WER(baseline) − WER(challenger), the arms of a contrast; above zero the challenger "
        "is better. With intervals, paired by blocks and seeds; rows `fixed` and `sampled` are "
        "means over the languages."
    )
    columns = (
        *(CONTRAST, TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET),
        *(HOURS, PRECISION, TIER),
        Column("baseline", "", "the two arms"),
        Column("challenger", "", "the two arms"),
        Column("wer_baseline_pct", "%", "their rates"),
        Column("wer_challenger_pct", "%", "their rates"),
        *estimate("gap", "pp", "pp", "the gap, paired by blocks and seeds", "Gap pp"),
        Column("relative_gap_pct", "%", "gap / WER(baseline)"),
        Column("p_value", "", "two-sided, of “no gap”"),
        Column(
            "probability_challenger_better",
            "",
            "share of replicates with a gap above zero, half of those at zero (Bisani & Ney 2004)",
        ),
        Column("seeds", "", "trainings of each arm; the fewer of both"),
        TRAINING_ERROR,
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    by_contrast = True
    figures = (
        base.Drawing(
            "gap_by_hours",
            draw,
            "Gap = WER({baseline_name}) − WER({challenger_name}) in percentage points against "
            "hours of training data, on {test_set} at {tier}; above zero the {challenger_name} "
            "{noun} is better. Bars: {intervals}. Dashed: the fitted power law (dotted "
            "where the data do not bound it); of the mean, the pooled law at the "
            "languages' mean size. Solid lines join points where no law fits. n: "
            "languages in a mean, where not all reach a budget.",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """The gap of each contrast."""
        for contrast in settings.contrasts:
            for test_set, members in evidence.by_test_set().items():
                rates = {one.lang: one for one in members}
                for one in estimates(test_set, members, contrast, settings):
                    yield _row(one, rates, contrast)

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """What the gap is, in words."""
        contrast = contrast or display.contrasts[0]
        baseline, challenger = display.arm(contrast.baseline), display.arm(contrast.challenger)
        return (
            f"Gap = WER({baseline}) − WER({challenger}) in percentage points. Positive: the "
            f"{challenger} {display.noun(contrast)} is better."
        )

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """The figure says it, and the guideline has the numbers."""
        return None


def estimates(
    test_set: str, members: Iterable[Scored], contrast: Contrast, settings: Settings
) -> list[Estimate]:
    """Gaps on one test set; their places are `keys.Place`."""
    gaps = {one.lang: one.gaps(contrast) for one in members}
    return over_languages(test_set, gaps, settings.confidence, settings.order_of)


def _row(one: Estimate, rates: dict[str, Scored], contrast: Contrast) -> dict[str, Any]:
    place: Place = one.place
    sides = {
        arm: [(rates[lang], place.cell(lang, arm)) for lang in one.langs]
        for arm in (contrast.baseline, contrast.challenger)
    }
    wer = {
        arm: float(np.mean([scored.wer[cell].value for scored, cell in each]))
        for arm, each in sides.items()
    }
    draws = one.draws
    return {
        "contrast": contrast.name,
        **one.axes(),
        "hours": place.hours,
        "precision": place.precision,
        "tier": place.tier,
        "baseline": contrast.baseline,
        "challenger": contrast.challenger,
        "wer_baseline_pct": wer[contrast.baseline],
        "wer_challenger_pct": wer[contrast.challenger],
        **with_interval("gap", "pp", one.value, (one.low, one.high)),
        "relative_gap_pct": ratio_pct(one.value, wer[contrast.baseline]),
        "p_value": draws.p_value() if draws else NAN,
        "probability_challenger_better": _above_zero(draws.all) if draws and draws.varies else NAN,
        "seeds": seeds_of(one, rates, contrast) if draws else None,
        "training_error_pp": training_error(draws) if draws else NAN,
        "status": one.status,
        "recognition": recognition_of(one, rates, contrast),
    }


def _above_zero(replicates: np.ndarray) -> float:
    """Share of replicates above zero; one at zero is half above it."""
    at_zero = np.abs(replicates) < _ROUNDING_PP
    return float(((replicates > 0) & ~at_zero).mean() + at_zero.mean() / 2)


def seeds_of(one: Estimate, rates: Mapping[str, Scored], contrast: Contrast) -> int:
    """Trainings of each system of a gap; of that with the fewest."""
    return min(
        rates[lang].totals[one.place.cell(lang, arm)]["seeds"]
        for arm in contrast.arms
        for lang in one.langs
    )


def recognition_of(one: Estimate, rates: Mapping[str, Scored], contrast: Contrast) -> str:
    """Whether both systems of a gap recognise, in each of its languages (`recognition_status`)."""
    return recognition_status(
        (rates[lang], one.place.cell(lang, arm)) for arm in contrast.arms for lang in one.langs
    )
