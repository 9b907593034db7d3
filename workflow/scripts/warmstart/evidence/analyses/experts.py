"""Whether models that are made of language experts err less than fine-tuned ones."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from warmstart.evidence import intervals, verdicts
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, Scored, recognition_status
from warmstart.evidence.columns import (
    ARM,
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
    tested,
)
from warmstart.evidence.display import Display
from warmstart.evidence.keys import FULL, MEAN, Cell
from warmstart.evidence.means import NAN, status_of, with_interval
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTION = base.Section("experts", "Experts")
UNTOUCHED, ORACLE = "untouched", "oracle"
SAME, WORSE, BETTER, OPEN = "equivalent", "worse", "better", "not decided"
_NO_ERRORS = "not estimable: no errors"


class Pair(NamedTuple):
    """A model that is made of experts, and what it is compared with: an arm, `UNTOUCHED` or
    `ORACLE`."""

    training_set: str
    arm: str
    against: str
    hours: float
    precision: str
    tier: str


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """The relative change against standard fine-tuning at the largest budget, a panel for each tier
    and test set, an arm a line, a language a marker."""
    from warmstart.evidence import plotting

    table = material.tables["experts"]
    rows = table[
        table.standard.fillna(False).astype(bool)
        & table.relative_pct.notna()
        & (table.precision == FULL)
    ]
    panels = list(rows.groupby(["training_set", "tier", "test_set"], sort=False))
    figure, axes = plotting.panels(len(panels), height=2.6)
    if not panels:
        plotting.note(axes[0], "Nothing was compared with standard fine-tuning.")
    for axis, ((training_set, tier, test_set), own) in zip(axes, panels, strict=False):
        largest = own[own.hours == own.hours.max()]
        arms = [arm for arm in display.arms if arm in set(largest.arm)]
        langs = list(dict.fromkeys(largest.lang))
        for style, lang in enumerate(langs):
            series = largest[largest.lang == lang].set_index("arm").reindex(arms).reset_index()
            places = [place + (style - (len(langs) - 1) / 2) * 0.12 for place in range(len(arms))]
            plotting.errorbars(
                *(axis, places, series, "relative_pct", style),
                plotting.plain(display.language(lang)),
                line=False,
                heavy=lang == MEAN,
            )
        axis.axhline(0, color=plotting.INK, linewidth=0.8)
        # Names of more arms would stand on each other.
        turned = {"rotation": 30, "horizontalalignment": "right"} if len(arms) > 3 else {}
        names = [plotting.plain(display.arm(arm)) for arm in arms]
        axis.set_xticks(range(len(arms)), names, **turned)
        title = ", ".join(
            (display.training_set(training_set), display.test_set(test_set), display.tier(tier))
        )
        axis.set_title(plotting.plain(title))
        axis.set_ylabel(f"WER against {plotting.plain(display.arm(largest.against.iloc[0]))} (%)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Every model that is made of experts against each model beside it."""

    section = SECTION
    title = "Are experts better than one fine-tuning?"
    caption = (
        "Models made of language experts, fused or as teachers: the change of WER against every "
        "other arm of their training set, the donor as it is, and the experts themselves, paired."
    )
    details = (
        "`against` is an arm on the same training set, `untouched` (the donor as it is, where the "
        "study decodes it) or `oracle` (each language's expert on its own language). The relative "
        "change is WER / WER(against) − 1; its interval is Student's on the logarithm of the ratio "
        "(delta method), from the same resampled blocks on both sides. In a mean over languages it "
        "is that of the geometric mean of the ratios. Verdicts are of `change_pp`, by the rule of "
        "gap_by_tier.csv with `margin_pp` = `statistics.threshold_pp`, adjusted by Holm over the "
        "table. `standard` marks the arm in which all weights learn, or the first other one where "
        "there is none."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET, ARM),
        Column("against", "", "an arm, `untouched` or `oracle`", "Against"),
        Column("standard", "", "whether that is standard fine-tuning"),
        *(HOURS, PRECISION, TIER),
        Column("wer_pct", "%", "word error rate of `arm`, mean over languages", "WER %"),
        Column("wer_against_pct", "%", "that of `against`", "Its WER %"),
        *estimate("change", "pp", "pp", "`wer_pct` − `wer_against_pct`", "Change pp"),
        *estimate("relative", "pct", "%", "the change, relative to `wer_against_pct`", "Change %"),
        *tested("no change", "the table"),
        Column(
            "verdict",
            "",
            "`equivalent` (`equivalence_p_holm` below 1 − `statistics.confidence`), else `better` "
            "or `worse` (so is `p_holm`), else `not decided`; `not decided: systems do not "
            "recognise`",
        ),
        Column("status", "", "of the change, `ok` or `not estimable: ...`"),
        Column("relative_status", "", "the same of the relative change"),
        RECOGNITION,
    )
    note = (
        "Negative is better. Oracle: the expert of the right language. Differences are paired by "
        "utterances or speakers and by seeds."
    )
    figures = (
        base.Drawing(
            "experts",
            draw,
            "Relative change of WER against standard fine-tuning, of every arm that is made of "
            "experts, at the largest budget. Bars: {intervals}.",
            empty="no model is made of experts, or nothing stands beside them",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every pair in every language, then the mean over languages."""
        rows, changes = [], []
        for test_set, members in evidence.by_test_set().items():
            found: dict[Pair, dict[str, tuple[Scored, Cell, Cell]]] = {}
            for one in members:
                for pair, cell, other in _pairs(one, settings):
                    found.setdefault(pair, {})[one.lang] = one, cell, other
            for pair in sorted(found, key=settings.order_of):
                for row, change in _rows(pair, found[pair], test_set, settings):
                    rows.append(row)
                    changes.append(change)
        judged = verdicts.judge(changes, settings.threshold_pp, 1 - settings.confidence)
        for row, one in zip(rows, judged, strict=True):
            yield row | _judged(row, one)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """A study without such arms does not ask."""
        if tables["experts"].empty:
            return "No arm of the study is made of language experts."
        return ""

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All pairs, with a choice of language and of what is compared with."""
        table = display.ordered(tables["experts"])
        of = self.fields(display)
        tags = {SAME: "plain", BETTER: "yes", WORSE: "no"}
        fields = [
            of.language(),
            of.text("training_set", lambda row: display.training_set(row.training_set)),
            of.arm(),
            of.text("against", lambda row: _against(display, row.against)),
            of.hours(),
            of.tier(),
            of.text("test_set"),
            of.number("wer_pct", 1),
            of.number("wer_against_pct", 1),
            of.number("relative_pct", 1, signed=True),
            of.interval("relative", "pct", 1),
            of.number("change_pp", 2, signed=True),
            of.interval("change", "pp"),
            of.text(
                "verdict", lambda row: row.verdict, tag=lambda row: tags.get(row.verdict, "plain")
            ),
            of.text("status", wide=True),
            *of.recognition(table),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[column.label for column in self.columns if column.name in ("lang", "against")],
        )


def _against(display: Display, name: str) -> str:
    words = {UNTOUCHED: "the donor as it is", ORACLE: "the experts themselves"}
    return words.get(name) or display.arm(name)


def _pairs(one: Scored, settings: Settings) -> Iterator[tuple[Pair, Cell, Cell]]:
    """What is compared on a test set: the pair, the cell that is made of experts, and the other."""
    made = settings.experts
    for cell in one.wer:
        if cell.arm not in made.arms:
            continue
        others = {arm: cell._replace(arm=arm) for arm in made.arms[cell.arm]}
        if (donor := made.untouched.get(cell.arm)) is not None:
            others[UNTOUCHED] = Cell(one.lang, donor, 0.0, cell.precision, cell.tier)
        expert = made.oracle.get((cell.training_set, cell.arm, cell.hours, one.lang))
        if expert is not None:
            training_set, arm, hours = expert
            others[ORACLE] = cell._replace(training_set=training_set, arm=arm, hours=hours)
        for name, other in others.items():
            if other in one.wer:
                yield Pair(cell.training_set, cell.arm, name, *cell[2:]), cell, other


def _rows(
    pair: Pair,
    members: Mapping[str, tuple[Scored, Cell, Cell]],
    test_set: str,
    settings: Settings,
) -> Iterator[tuple[dict[str, Any], intervals.Draws | None]]:
    """Rows of a pair without verdicts, and the changes to be judged."""
    rates = {lang: (one.wer[cell], one.wer[other]) for lang, (one, cell, other) in members.items()}
    groups: list[tuple[tuple[str, ...], str, str]] = [((lang,), lang, "one") for lang in members]
    if len(members) > 1:
        groups.append((tuple(members), MEAN, "fixed"))
    standard = settings.experts.standard.get(pair.arm)
    for langs, name, languages_as in groups:
        change, status = _mean([own - other for own, other in map(rates.__getitem__, langs)], langs)
        ratio, relative_status = _ratio([rates[lang] for lang in langs], langs)
        low, high = change.interval(settings.confidence)
        systems = [(members[lang][0], cell) for lang in langs for cell in members[lang][1:]]
        recognition = recognition_status(systems)
        row = {
            **pair._asdict(),
            "standard": pair.against == standard,
            "lang": name,
            "languages_as": languages_as,
            "languages": len(langs),
            "test_set": test_set,
            "wer_pct": _average(rates[lang][0] for lang in langs),
            "wer_against_pct": _average(rates[lang][1] for lang in langs),
            **with_interval("change", "pp", change.value, (low, high)),
            **with_interval("relative", "pct", *_relative(ratio, settings.confidence)),
            "margin_pp": settings.threshold_pp,
            "status": status,
            "relative_status": relative_status,
            "recognition": recognition,
        }
        yield row, change if status == OK and recognition == OK else None


def _average(draws: Iterable[intervals.Draws]) -> float:
    values = [each.value for each in draws]
    return sum(values) / len(values)


def _mean(draws: Sequence[intervals.Draws], langs: Sequence[str]) -> tuple[intervals.Draws, str]:
    """The mean over languages, and whether it is known."""
    if len(draws) == 1:
        return draws[0], status_of({"": draws[0]})
    return intervals.mean_of(draws), status_of(dict(zip(langs, draws, strict=True)))


def _ratio(
    rates: Sequence[tuple[intervals.Draws, intervals.Draws]], langs: Sequence[str]
) -> tuple[intervals.Draws | None, str]:
    """Logarithm of the ratio of two rates, its deviations to first order; the mean over
    languages."""
    if any(each.value == 0 for pair in rates for each in pair):
        return None, _NO_ERRORS
    logs = [
        dataclasses.replace(
            intervals.combine([own, other], [1 / own.value, -1 / other.value]),
            value=math.log(own.value / other.value),
        )
        for own, other in rates
    ]
    return _mean(logs, langs)


def _relative(
    ratio: intervals.Draws | None, confidence: float
) -> tuple[float, tuple[float, float]]:
    """A change in percent and its bounds, of the logarithm of a ratio."""
    if ratio is None:
        return NAN, (NAN, NAN)
    low, high = ratio.interval(confidence)
    return _percent(ratio.value), (_percent(low), _percent(high))


def _percent(log: float) -> float:
    return 100 * math.expm1(min(log, 700.0))


def _judged(row: Mapping[str, Any], one: verdicts.Judged) -> dict[str, Any]:
    """Columns of a verdict."""
    moved = WORSE if row["change_pp"] > 0 else BETTER
    words = {
        verdicts.WITHIN: SAME,
        verdicts.BEYOND: moved,
        verdicts.THERE: moved,
        verdicts.OPEN: OPEN,
    }
    return {
        "p_value": one.single.there,
        "p_holm": one.adjusted.there,
        "equivalence_p_value": one.single.within,
        "equivalence_p_holm": one.adjusted.within,
        "verdict": words[one.verdict] if row["recognition"] == OK else UNDECIDED,
    }
