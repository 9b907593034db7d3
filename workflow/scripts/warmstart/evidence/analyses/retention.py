"""What an adaptation costs the languages that its donor knew: transfer backward and forward, and
intransigence.

Definitions of CL-MASR (Della Libera, Mousavi, Zaiem, Subakan & Ravanelli 2023, arXiv:2310.16931;
`analyze_logs.py` of its code), for a donor that learns one language, or one training set, and with
R[m, l] for the WER in percent of model m in language l:

    backward transfer   BWT(l) = R[donor as it is, l] - R[model, l]      l: a language of the donor
    intransigence       IM(n)  = R[model, n] - R[joint model, n]         n: a language it learns
    forward transfer    FWT(n) = R[tuned on n alone, n] - R[model, n]

BWT (Lopez-Paz & Ranzato 2017, arXiv:1706.08840) is negative where something was forgotten; with
several languages of a donor their mean stands beside them, in which CL-MASR too counts what a donor
knew as one task. IM (Chaudhry et al. 2018, arXiv:1801.10112) is positive where a model learns less
than one that learns all languages together. FWT is positive where what keeps the old languages
helps the new one: the reference is the same start, all of whose weights learn the new language
without replay. All differences are paired: both sides decoded the same test set.

Donors whose languages nobody knows are asked all of `retention.languages`. Mean over languages and
reference by name are ours.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from warmstart.evidence import intervals
from warmstart.evidence.analyses import base
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
from warmstart.evidence.display import Display
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import FULL, MEAN, Cell, name_of, part_of
from warmstart.evidence.means import NAN, Estimate, over_languages, with_interval
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BACKWARD, INTRANSIGENCE, FORWARD = "backward_transfer", "intransigence", "forward_transfer"
_NAMES = {
    BACKWARD: "Backward transfer",
    INTRANSIGENCE: "Intransigence",
    FORWARD: "Forward transfer",
}
_SIGNS = {BACKWARD: -1.0, INTRANSIGENCE: 1.0, FORWARD: -1.0}
"""Of the model's own WER; that of the reference has the other one."""


class Adapted(NamedTuple):
    """A model; `training_set` is its part (`keys.part_of`)."""

    training_set: str
    arm: str
    hours: float
    tier: str

    def cell(self, lang: str) -> Cell:
        """Its cell, in a language."""
        return Cell(name_of(self.training_set, lang), self.arm, self.hours, FULL, self.tier)


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Backward transfer against the share of replay, a panel for each training set and a line for
    each arm, of the largest budget; of several languages their mean."""
    from warmstart.evidence import plotting

    table = _headline(display, material.tables["retention"])
    rows = table[(table.measure == BACKWARD) & table.effect_pp.notna()]
    panels, shares = _panels(rows), sorted(rows.replay_pct.unique())
    figure, axes = plotting.panels(len(panels))
    if not panels:
        plotting.note(axes[0], "No donor was decoded before and after.")
    for axis, (plain, lang) in zip(axes, panels, strict=False):
        own = rows[(rows.plain_set == plain) & (rows.lang == lang)]
        axis.axhline(0, color=plotting.INK, linewidth=0.8)
        for style, arm in enumerate(display.arms):
            series = own[own.arm == arm]
            series = series[series.hours == series.hours.max()].sort_values("replay_pct")
            if len(series):
                name = plotting.plain(display.arm(arm))
                plotting.errorbars(axis, series.replay_pct, series, "effect_pp", style, name)
        kept = "Mean of languages" if lang == MEAN else display.language(lang)
        axis.set_title(plotting.plain(f"{kept}\nafter {display.training_set(plain)}"))
        axis.set_xticks(shares, [f"{share:g}" for share in shares])
        axis.set_xlim(shares[0] - 3, shares[-1] + 3)
    figure.supylabel("WER before − after (pp)", fontsize=9)
    plotting.under(axes, "Replayed share of the audio (%)")
    plotting.shared_legend(figure, axes)
    return figure


def _headline(display: Display, table: "pd.DataFrame") -> "pd.DataFrame":
    """Rows on the test set that a language is read from; a mean is of languages that have it in
    common, whichever that is."""
    wanted = {lang: display.settings.headline_in(lang) for lang in table.lang.unique()}
    read = {wanted[lang] for lang in wanted if lang != MEAN}
    on = table.test_set == table.lang.map(wanted)
    on |= (table.lang == MEAN) & table.test_set.isin(read)
    at = table.tier == display.settings.reference_tier
    return table[on & at & (table.languages_as != "sampled")]


def _panels(rows: "pd.DataFrame") -> list[tuple[str, str]]:
    """(training set without replay, language), the mean alone where there is one."""
    found = []
    for plain in dict.fromkeys(rows.plain_set.dropna()):
        langs = list(dict.fromkeys(rows[rows.plain_set == plain].lang))
        found += [(plain, lang) for lang in ([MEAN] if MEAN in langs else langs)]
    return found


class Analysis(base.Analysis):
    """Models beside their donor, a joint model, and plain fine-tuning."""

    section = base.Section("retention", "Retention")
    title = "What is kept of the donor's languages?"
    caption = (
        "Backward transfer, intransigence and forward transfer of every adapted model, with "
        "intervals."
    )
    details = (
        "`backward_transfer`: WER of the donor as it is minus WER of the model, in a language that "
        "the donor knows; negative: forgotten. `intransigence`: WER of the model minus that of the "
        "joint one (`retention.joint`), in a language that it learns; positive: it learns less. "
        "`forward_transfer`: WER of plain fine-tuning (the same start, all weights, no replay) "
        "minus that of the model; positive: it learns more. Definitions of CL-MASR "
        "(arXiv:2310.16931). `recognition` names models that do not recognise: of backward "
        "transfer that may be what was to be measured."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET, ARM, HOURS, TIER),
        Column("plain_set", "", "training set of the same languages without replay", "Learns"),
        Column("replay_pct", "%", "replayed share of all audio that is heard", "Replay %"),
        Column("measure", "", "`backward_transfer`, `intransigence` or `forward_transfer`"),
        Column("reference", "", "what it is compared with: training set / arm / hours"),
        Column("reference_pct", "%", "its WER", "Against WER %"),
        Column("wer_pct", "%", "WER of the model", "WER %"),
        *estimate("effect", "pp", "pp", "the measure", "pp"),
        Column("p_value", "", "two-sided, of “nothing”"),
        Column("status", "", "`ok`, or `not estimable: ...`"),
        RECOGNITION,
    )
    note = (
        "Backward transfer is negative where something was forgotten, intransigence positive where "
        "less was learnt, forward transfer positive where more was learnt (CL-MASR)."
    )
    figures = (
        base.Drawing(
            "retention",
            draw,
            "Backward transfer at {tier} against the replayed share of the audio, of the largest "
            "budget; below zero: forgotten. Bars: {intervals}.",
            empty="no donor was decoded before and after",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every test set: measures in the order of the docstring."""
        if not settings.retention.languages:
            return
        by_test_set: dict[str, list[Scored]] = {}
        for one in evidence.scored:
            by_test_set.setdefault(one.test_set, []).append(one)
        for test_set, members in by_test_set.items():
            for measure in _NAMES:
                yield from _rows(measure, test_set, members, settings)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """Nobody asked, or no donor was decoded."""
        if len(tables["retention"]):
            return ""
        return "The study does not ask for it (`retention:`), so it does not say."

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All measures on the test sets that languages are read from."""
        table = _headline(display, tables["retention"])
        of = self.fields(display)
        fields = [
            of.text("measure", lambda row: _NAMES[row.measure]),
            of.language(),
            of.number("effect_pp", 2, signed=True),
            of.interval("effect", "pp"),
            of.arm(),
            of.text("plain_set", lambda row: display.training_set(row.plain_set)),
            of.number("replay_pct", 0),
            of.hours(),
            of.number("reference_pct", 2),
            of.number("wer_pct", 2),
            of.text("test_set"),
            *of.recognition(table),
            of.text("status", wide=True),
        ]
        return sheet(self.name, fields, table.itertuples(), sortable=True)


def _rows(
    measure: str, test_set: str, members: list[Scored], settings: Settings
) -> Iterator[dict[str, Any]]:
    """Rows of one measure on one test set: languages, then their means."""
    effects: dict[str, dict[Adapted, Draws]] = {}
    references: dict[tuple[str, Adapted], Cell] = {}
    for one in members:
        for cell in one.wer:
            reference = _reference(measure, one, cell, settings)
            if reference is not None:
                place = Adapted(
                    part_of(cell.training_set, one.lang), cell.arm, cell.hours, cell.tier
                )
                references[one.lang, place] = reference
                effect = (one.wer[cell] - one.wer[reference]).scaled(_SIGNS[measure])
                effects.setdefault(one.lang, {})[place] = effect
    scored = {one.lang: one for one in members}
    for row in over_languages(test_set, effects, settings.confidence, settings.order_of):
        pairs = [
            (scored[lang], row.place.cell(lang), references[lang, row.place]) for lang in row.langs
        ]
        yield _row(measure, row, pairs, settings)


def _row(
    measure: str, row: Estimate, pairs: list[tuple[Scored, Cell, Cell]], settings: Settings
) -> dict[str, Any]:
    """A row; a mean names what all of its languages were compared with, where that is one."""
    retention = settings.retention
    found = {f"{other.training_set}/{other.arm}/{other.hours:g}h" for _, _, other in pairs}
    own = dict.fromkeys(cell.training_set for _, cell, _ in pairs)
    systems = [(one, each) for one, cell, other in pairs for each in (cell, other)]
    replay = {retention.replay.get(name, 0.0) for name in own}
    return {
        **row.axes(),
        "arm": row.place.arm,
        "hours": row.place.hours,
        "tier": row.place.tier,
        "plain_set": _common(retention.plain.get(name) for name in own),
        "replay_pct": 100 * replay.pop() if len(replay) == 1 else NAN,
        "measure": measure,
        "reference": _common(found),
        "reference_pct": _mean([one.wer[other] for one, _, other in pairs]),
        "wer_pct": _mean([one.wer[cell] for one, cell, _ in pairs]),
        **with_interval("effect", "pp", row.value, (row.low, row.high)),
        "p_value": row.draws.p_value() if row.draws else NAN,
        "status": row.status,
        "recognition": recognition_status(systems),
    }


def _common(names: Any) -> str | None:
    """The one name that all are; None where they differ."""
    found = set(names)
    return found.pop() if len(found) == 1 else None


def _mean(rates: list[Draws]) -> float:
    return intervals.mean_of(rates).value


def _reference(measure: str, one: Scored, cell: Cell, settings: Settings) -> Cell | None:
    """What a cell is compared with; None where it is not asked, or was not decoded."""
    if cell.precision != FULL or cell.hours <= 0:
        return None
    asked = settings.retention
    if measure == BACKWARD:
        heard = settings.heard.get(cell.arm)
        known = one.lang in asked.languages and (heard is None or one.lang in heard)
        other = Cell(one.lang, asked.donors.get(cell.arm) or "", 0.0, FULL, cell.tier)
        own = settings.is_for(cell.training_set, one.lang)
        return other if known and not own and other in one.wer else None
    if not settings.is_for(cell.training_set, one.lang):
        return None
    other = (
        cell._replace(training_set=asked.joint or "")
        if measure == INTRANSIGENCE
        else cell._replace(
            training_set=asked.plain.get(cell.training_set) or "",
            arm=asked.full.get(cell.arm) or "",
        )
    )
    return other if other != cell and other in one.wer else None
