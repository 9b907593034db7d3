"""What are clean texts worth: error rates over hours and the share of dirty labels, and which dirty
hours equal fewer clean ones.

All comparisons are paired: decodes of one test set share its blocks in every replicate. Two
questions are asked of curves through the measured points, both ours. The WER over the hours of
clean texts (a line between the logarithms of the hours) says which clean hours have the WER of a
dirty set. The WER over the share of dirty labels (a line between shares) says up to which share
many hours do what fewer clean ones do. Curves are isotonic (`crossings`), in every replicate.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from warmstart.evidence import crossings, intervals
from warmstart.evidence.analyses import base
from warmstart.evidence.cells import Shown, interval_text, number_cell, text_cell, written
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
    HOURS,
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
from warmstart.evidence.dirty_series import Series, counts, series_of
from warmstart.evidence.display import Display
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import MEAN, Cell, part_of
from warmstart.evidence.means import NAN, over_languages, with_interval
from warmstart.evidence.recognition import OK
from warmstart.evidence.settings import Contrast, Dirty, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COST, CLEAN_HOURS, DIRTY_SHARE = "cost", "clean_hours", "dirty_share"


class Dose(NamedTuple):
    """Dirty labels as they are met in several languages. `training_set` is the part of the clean
    set (`keys.part_of`)."""

    training_set: str
    kind: str
    word_error_rate: float
    corrupt: float
    arm: str
    hours: float
    tier: str


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """WER against hours, a line for each share of dirty labels, a panel for each language, arm and
    kind."""
    from warmstart.evidence import plotting

    table = display.headline(material.tables["label_noise"])
    rows = table[(table.asked == COST) & (table.lang != MEAN)]
    kinds = list(dict.fromkeys(rows.kind.dropna()))
    panels = [
        (lang, arm, kind)
        for lang in display.languages
        for arm in display.arms
        for kind in kinds
        if len(rows[(rows.lang == lang) & (rows.arm == arm) & (rows.kind == kind)])
    ]
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No model was trained on dirty labels.")
    shares = sorted(rows.corrupt_pct.unique())
    for axis, (lang, arm, kind) in zip(axes, panels, strict=False):
        own = rows[(rows.lang == lang) & (rows.arm == arm)]
        own = own[(own.kind == kind) | own.kind.isna()]
        for style, share in enumerate(shares):
            series = own[own.corrupt_pct == share].sort_values("hours")
            if len(series):
                name = f"{share:g} % dirty" if share else "clean"
                plotting.errorbars(axis, series.hours, series, "wer_pct", style, name)
        title = f"{display.languages[lang]}, {display.arm(arm)}, {kind}"
        axis.set_title(plotting.plain(title))
        plotting.hours_axis(axis, own.hours, label=False)
    figure.supylabel("WER (%)", fontsize=9)
    plotting.under(axes, "Training data (h, log scale)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Dirty training sets beside the clean one that hears the same."""

    section = base.Section("label_noise", "Dirty labels")
    title = "What are clean texts worth?"
    caption = (
        "Error rates over hours and the share of dirty labels, what the dirt costs, and how many "
        "clean hours do the same."
    )
    details = (
        "`asked` says what a row answers. `cost`: the WER of a training set, and its difference to "
        "the clean one at the same hours, paired; rows of the clean set have no difference. "
        "`clean_hours`: the clean hours that have the WER of this dirty set. `dirty_share`: up to "
        "which share of dirty labels `hours` do what `compared_hours` of clean texts do. Between "
        "measured points curves are straight lines, over the logarithm of the hours and over the "
        "share, and isotonic. What lies outside of what was measured has no estimate: `beyond` "
        "says on which side, and the end of what was measured bounds it there. Models that do "
        "not recognise are no points of a curve; their share is a bound of `dirty_share`. Means "
        "over languages have the cost alone."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET, ARM, HOURS, TIER),
        Column("asked", "", "`cost`, `clean_hours` or `dirty_share`"),
        Column(
            "kind",
            "",
            "`swap`, or `words at` the word error rate that was asked; empty of clean texts",
            "Dirt",
        ),
        Column("corrupt_pct", "%", "texts that were made wrong, as asked", "Dirty texts %"),
        Column("label_wer_pct", "%", "word error rate of all labels", "WER of labels %"),
        *estimate("wer", "pct", "%", "WER of the model", "WER %"),
        *estimate("cost", "pp", "pp", "WER − WER with clean texts at the same hours", "Cost pp"),
        Column("p_value", "", "two-sided, of “no cost”"),
        *estimate("equal", "hours", "h", "clean hours with the same WER", "Clean hours"),
        Column("compared_hours", "h", "clean hours of a row `dirty_share`", "As clean hours"),
        *estimate(
            "equal_share", "pct", "%", "share of dirty texts with their WER", "Up to share %"
        ),
        Column("beyond", "", "`above` or `below` what was measured; else empty"),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    note = (
        "Texts were made wrong on purpose; audio, test and validation sets are as they are. Steps "
        "are those of the clean set at the same hours."
    )
    figures = (
        base.Drawing(
            "label_noise",
            draw,
            "WER on {test_set} at {tier} over hours, a line for each share of dirty labels. Bars: "
            "{intervals}.",
            empty="no model was trained on dirty labels",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Costs of every test set, then what equals what, language by language."""
        if not settings.dirty:
            return
        for test_set, members in evidence.by_test_set().items():
            yield from _costs(test_set, members, evidence, settings)
            for one in members:
                found = series_of(one, settings)
                for key in sorted(found, key=lambda key: (*key[:2], settings.tier_place(key[2]))):
                    for row in _equals(one, key, found[key], evidence, settings):
                        yield {"lang": one.lang, "languages_as": "one", "languages": 1} | row

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Without dirty labels the question was not asked."""
        if len(tables["label_noise"]):
            return ""
        return "No model was trained on dirty labels, so the study does not say."

    def text(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Up to which share the most hours do what fewer clean ones do."""
        table = display.headline(tables["label_noise"])
        table = table[table.asked == DIRTY_SHARE]
        told = table.status.eq(OK) | table.beyond.notna()
        parts = []
        for (lang, arm, kind), own in table[told].groupby(["lang", "arm", "kind"], sort=False):
            most = own[own.hours == own.hours.max()].sort_values("compared_hours", ascending=False)
            shares = "; ".join(
                f"{row.compared_hours:g} h of clean ones {_share_text(row)}"
                for row in most.itertuples()
            )
            hours = f"{own.hours.max():g} h with dirty texts ({kind})"
            parts.append(f"{display.language(lang)}, {display.arm(arm)}: {hours} do what {shares}.")
        return " ".join(parts)

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """A row for each model on the headline test set, with its clean hours."""
        table = display.headline(tables["label_noise"])
        costs = table[table.asked == COST]
        equal = {_key(row): row for row in table[table.asked == CLEAN_HOURS].itertuples()}

        def hours(row: Any) -> Shown:
            found = equal.get(_key(row))
            return _equal_cell(found) if found is not None else number_cell(NAN, 0)

        def why(row: Any) -> Shown:
            found = equal.get(_key(row))
            return text_cell(found.status if found is not None else row.status, wide=True)

        of = self.fields(display)
        fields = [
            of.language(),
            of.arm(),
            of.hours(),
            of.text("kind", lambda row: row.kind if isinstance(row.kind, str) else "clean"),
            of.number("corrupt_pct", 0),
            of.number("wer_pct", 2),
            of.interval("wer", "pct", signed=False),
            of.number("cost_pp", 2, signed=True),
            of.interval("cost", "pp"),
            of.cell("equal_hours", hours),
            of.number("label_wer_pct", 1),
            *of.recognition(costs),
            of.cell("status", why),
        ]
        return sheet(self.name, fields, costs.itertuples(), sortable=True)


def _key(row: Any) -> tuple[Any, ...]:
    return row.training_set, row.lang, row.arm, row.hours, row.tier


def _equal_cell(row: Any) -> Shown:
    """Clean hours with their interval, or the side on which they lie."""
    low, high = row.equal_low_hours, row.equal_high_hours
    if isinstance(row.beyond, str):
        below = row.beyond == "below"
        at = high if below else low
        return number_cell(at, 0, text=f"{'under' if below else 'over'} {_hours(at)}")
    shown = f"{_hours(row.equal_hours)} [{_hours(low)}, {_hours(high)}]"
    return number_cell(row.equal_hours, 2, text=shown)


def _hours(hours: float) -> str:
    """Hours with two digits that count."""
    if not math.isfinite(hours):
        return "∞"
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"


def _share_text(row: Any) -> str:
    """Up to which share, with its interval."""
    low, high = row.equal_share_low_pct, row.equal_share_high_pct
    if row.beyond == "above":
        known = math.isfinite(high)
        between = f"do up to a share between {written(low, 0)} and {written(high, 0)} %"
        return between if known else "do at every share that was tried"
    if row.beyond == "below":
        return "do at no share"
    bounds = interval_text(low, high, 0, signed=False)
    return f"do up to a share of {written(row.equal_share_pct, 0)} % {bounds}"


# ---- what dirt costs


def _costs(
    test_set: str, members: list[Scored], evidence: Evidence, settings: Settings
) -> Iterator[dict[str, Any]]:
    """The clean sets that dirty ones are compared with, then these, then means over languages."""
    clean = {dirty.clean for dirty in settings.dirty.values()}
    common = {"test_set": test_set, "asked": COST}
    for one in members:
        for cell in sorted(one.wer, key=settings.order_of):
            if cell.training_set in clean and counts(cell):
                yield common | _rate(one, cell, evidence, settings) | {"corrupt_pct": 0.0}
    costs: dict[str, dict[Dose, Draws]] = {}
    cells: dict[tuple[str, Dose], Cell] = {}
    for one in members:
        for cell in one.wer:
            dirty = settings.dirty.get(cell.training_set)
            if dirty is None or not counts(cell):
                continue
            if dirty.clean is None or (own := _clean(cell, dirty)) not in one.wer:
                said = "not estimable: no clean set of the same hours"
                yield common | _rate(one, cell, evidence, settings) | {"status": said}
                continue
            dose = _dose(one.lang, cell, dirty)
            cells[one.lang, dose] = cell
            costs.setdefault(one.lang, {})[dose] = one.wer[cell] - one.wer[own]
    scored = {one.lang: one for one in members}
    for row in over_languages(test_set, costs, settings.confidence, settings.order_of):
        own = [(scored[lang], cells[lang, row.place]) for lang in row.langs]
        both = [(one, each) for one, cell in own for each in (cell, _clean_of(cell, settings))]
        made = _rate(*own[0], evidence, settings) if row.lang != MEAN else _of_mean(row.place)
        yield {
            **common,
            **made,
            **row.axes(),
            "training_set": made.get("training_set", row.training_set),
            **with_interval("cost", "pp", row.value, (row.low, row.high)),
            "p_value": row.draws.p_value() if row.draws else NAN,
            "status": row.status,
            "recognition": recognition_status(both),
        }


def _clean(cell: Cell, dirty: Dirty) -> Cell:
    return cell._replace(training_set=dirty.clean or "")


def _clean_of(cell: Cell, settings: Settings) -> Cell:
    return _clean(cell, settings.dirty[cell.training_set])


def _dose(lang: str, cell: Cell, dirty: Dirty) -> Dose:
    part = part_of(dirty.clean or cell.training_set, lang)
    rate = dirty.word_error_rate or 0.0
    return Dose(part, dirty.kind, rate, dirty.corrupt, cell.arm, cell.hours, cell.tier)


def _rate(one: Scored, cell: Cell, evidence: Evidence, settings: Settings) -> dict[str, Any]:
    """The WER of a cell, and what its labels were."""
    wer = one.wer[cell]
    return {
        "training_set": cell.training_set,
        "lang": one.lang,
        "languages_as": "one",
        "languages": 1,
        "arm": cell.arm,
        "hours": cell.hours,
        "tier": cell.tier,
        **with_interval(
            "wer", "pct", wer.value, intervals.log_interval(wer, settings.confidence, 100.0)
        ),
        **_labels(one.lang, cell, evidence, settings),
        "status": OK,
        "recognition": recognition_status([(one, cell)]),
    }


def _labels(lang: str, cell: Cell, evidence: Evidence, settings: Settings) -> dict[str, Any]:
    if (dirty := settings.dirty.get(cell.training_set)) is None:
        return {"label_wer_pct": 0.0}
    done = evidence.labels.get((cell.training_set, lang, cell.hours))
    return {
        "kind": dirty.described,
        "corrupt_pct": 100 * dirty.corrupt,
        "label_wer_pct": 100 * done["label_wer"] if done else NAN,
    }


def _of_mean(dose: Dose) -> dict[str, Any]:
    dirty = Dirty(None, dose.corrupt, dose.kind, dose.word_error_rate or None)
    said = {"kind": dirty.described, "corrupt_pct": 100 * dose.corrupt}
    return {"arm": dose.arm, "hours": dose.hours, "tier": dose.tier, **said}


# ---- what equals what


def _equals(
    one: Scored,
    key: tuple[str, str, str, str],
    series: Series,
    evidence: Evidence,
    settings: Settings,
) -> Iterator[dict[str, Any]]:
    """Clean hours of every dirty cell, and shares at which hours equal fewer clean ones."""
    clean_set, arm, tier, kind = key
    common = {"test_set": one.test_set, "arm": arm, "tier": tier, "kind": kind}
    clean = {hours: one.wer[cell] for hours, cell in series.clean.items() if not _fails(one, cell)}
    for (hours, share), cell in sorted(series.dirty.items()):
        found = crossings.clean_hours(
            clean, None if _fails(one, cell) else one.wer[cell], settings.confidence
        )
        yield {
            **common,
            "training_set": cell.training_set,
            "hours": hours,
            "asked": CLEAN_HOURS,
            **_labels(one.lang, cell, evidence, settings),
            **found.columns("equal", "hours"),
            "recognition": recognition_status([(one, cell)]),
            "corrupt_pct": 100 * share,
        }
    for hours in sorted({hours for hours, _ in series.dirty}):
        cells = {share: cell for (own, share), cell in series.dirty.items() if own == hours}
        if hours in series.clean:
            cells[0.0] = series.clean[hours]
        lost = min((share for share, cell in cells.items() if _fails(one, cell)), default=None)
        dirty = {share: one.wer[cell] for share, cell in cells.items() if not _fails(one, cell)}
        for fewer in (fewer for fewer in sorted(clean) if fewer < hours):
            found = crossings.dirty_share(dirty, clean[fewer], settings.confidence, lost)
            yield {
                **common,
                "training_set": clean_set,
                "hours": hours,
                "asked": DIRTY_SHARE,
                "compared_hours": fewer,
                **found.columns("equal_share", "pct"),
                "recognition": recognition_status((one, cell) for cell in cells.values()),
            }


def _fails(one: Scored, cell: Cell) -> bool:
    return bool(one.faults.get(cell))
