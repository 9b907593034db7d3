"""Which model an utterance is sent to, of several languages', and what a wrong choice costs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from warmstart.evidence import intervals, verdicts
from warmstart.evidence.analyses import base
from warmstart.evidence.collected import Evidence, recognition_status
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
from warmstart.evidence.intervals import Draws
from warmstart.evidence.keys import MEAN, Cell
from warmstart.evidence.means import NAN, status_of, with_interval
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.route_rates import Counter, Rates, Way
from warmstart.evidence.routed import CALIBRATED, CONFIDENT, DETECTED, GIVEN
from warmstart.evidence.settings import Contrast, Settings
from warmstart.evidence.sheets import Sheet, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SECTION = base.Section("routing", "Routing")
WAYS = {
    GIVEN: "language given",
    DETECTED: "language detected",
    CONFIDENT: "most confident model",
    CALIBRATED: "most confident model, calibrated",
}
SAME, WORSE, BETTER, OPEN = "equivalent", "worse", "better", "not decided"
_ORDER = list(WAYS)
_ALL_HEARD = "every speaker was heard while the identifier was made"
_ONE_SPEAKER = "one speaker, so that voice and language are one"
_ONE_MODEL = "one model hears all languages"


def draw(material: base.Material, display: Display, contrast: Contrast | None) -> "Figure":
    """Accuracy against the seconds that were heard, a panel for each training set and test set, a
    line for each arm at its largest budget."""
    from warmstart.evidence import plotting

    table = material.tables["routing"]
    rows = table[(table.way == DETECTED) & (table.lang == MEAN) & table.accuracy_pct.notna()]
    panels = list(rows.groupby(["training_set", "test_set"], sort=False))
    figure, axes = plotting.panels(len(panels), height=2.4)
    if not panels:
        plotting.note(axes[0], "No language was identified.")
    for axis, ((training_set, test_set), own) in zip(axes, panels, strict=False):
        for style, arm in enumerate(display.arms):
            of_arm = own[own.arm == arm]
            series = of_arm[of_arm.hours == of_arm.hours.max()].sort_values("heard_s")
            if len(series):
                plotting.errorbars(
                    *(axis, series.heard_s, series, "accuracy_pct", style),
                    plotting.plain(display.arm(arm)),
                )
        axis.axhline(
            own.chance_pct.iloc[0],
            color=plotting.INK,
            linestyle=":",
            linewidth=0.9,
            label="guessing",
        )
        axis.set_xscale("log")
        ticks = sorted({float(f"{value:.2g}") for value in own.heard_s})
        axis.set_xticks(ticks, [f"{value:g}" for value in ticks])
        axis.minorticks_off()
        title = f"{display.training_set(str(training_set))}, {display.test_set(str(test_set))}"
        axis.set_title(plotting.plain(title))
        axis.set_ylabel("Languages right (%)")
    plotting.under(axes, "Heard of an utterance (s, mean, log scale)")
    plotting.shared_legend(figure, axes)
    return figure


class Analysis(base.Analysis):
    """Accuracy, WER and its difference to that with the language given, of every way to choose."""

    section = SECTION
    title = "Which model should hear an utterance?"
    caption = (
        "Models or heads of several languages: how often the right one is chosen, by an identifier "
        "of languages after so many seconds or by the models' confidence, the WER of what the "
        "chosen ones wrote, and what that costs against the language being given."
    )
    details = (
        "`detected` is a logistic regression on the mean of the encoder's states over the first "
        "seconds, the rest of the audio not being there; one is learnt for each number of seconds, "
        "from the run's own cuts (at most `routing.most_utterances` a language), its penalty on "
        "the validation cuts. Heads share the encoder of their run; of models of one language each "
        "(`routing.ensembles`) the init's encoder, as it is, is heard. Utterances whose speaker "
        "was heard in learning are left out of all ways, so that they stay paired; where a corpus "
        "does not name its speakers that cannot be known, and `speakers_unknown` counts them. With "
        "one speaker a language there is no accuracy, because his voice is the language. "
        "Where there is no frame to hear, nothing is said, and accuracy and WER are what guessing "
        "comes to. `most_confident` takes the model whose hypothesis has the highest confidence, "
        "as it is (the header of a cross-decode names the measure); `most_confident_calibrated` "
        "takes what a logistic regression on all models' confidences says, learnt from the other "
        "blocks of the same test set in five folds, so that it has seen labelled speech of the "
        "test's kind (Gitman et al. 2023, arXiv 2306.15824). Errors are counted against the "
        "reference in its own language's normalisation, whatever model wrote. Intervals resample "
        "blocks, the same for all ways. Verdicts follow the rule of gap_by_tier.csv, with "
        "`margin_pp` = `statistics.threshold_pp`, and are adjusted by Holm over all rows that have "
        "a cost."
    )
    columns = (
        *(TRAINING_SET, LANG, LANGUAGES_AS, LANGUAGES, TEST_SET, ARM, HOURS, PRECISION, TIER),
        Column(
            "way",
            "",
            "`given`, `detected`, `most_confident` or `most_confident_calibrated`",
            "Model chosen by",
        ),
        Column("seconds", "", "after which the language was detected; `all`: the whole utterance"),
        Column("heard_s", "s", "mean length of what was heard of an utterance"),
        Column("utterances", "", "that are counted; blocks are the unit of resampling"),
        Column("blocks", "", "that are counted; blocks are the unit of resampling"),
        Column("speakers", "", "of the utterances that are counted; empty where nobody knows"),
        Column("left_out", "", "utterances whose speaker was heard by the identifier"),
        Column(
            "speakers_unknown",
            "",
            "of the utterances that are counted, those of whose speaker nobody knows whether the "
            "identifier heard him",
        ),
        Column("seeds", "", "trainings; with 1 all is of these trainings"),
        Column(
            "undecided",
            "",
            "utterances for which several languages were as likely, of one training: each counts "
            "by its share",
        ),
        Column("chance_pct", "%", "accuracy of guessing", "Guessing %"),
        *estimate("accuracy", "pct", "%", "utterances that went to the right model", "Right %"),
        *estimate("wer", "pct", "%", "word error rate of what the chosen models wrote", "WER %"),
        *estimate("cost", "pp", "pp", "`wer` − `wer` with the language given", "Cost pp"),
        *tested("no cost", "all rows with a cost"),
        Column(
            "verdict",
            "",
            "`equivalent` (`equivalence_p_holm` below 1 − `statistics.confidence`), else `worse` "
            "or `better` (so is `p_holm`), else `not decided`; `not decided: systems do not "
            "recognise`; empty with the language given",
        ),
        Column("status", "", "of the accuracy (of the WER, where the language is given)"),
        Column("cost_status", "", "of the cost; empty with the language given"),
        RECOGNITION,
    )
    note = (
        "Speakers that the identifier heard are left out. Cost: WER minus WER with the language "
        "given. One identifier is learnt for each number of seconds. The calibrated choice has "
        "learnt from other speakers of the same test set, the others have not."
    )
    figures = (
        base.Drawing(
            "routing",
            draw,
            "Languages told right after so many seconds, mean over languages, of every arm at its "
            "largest budget, by an identifier that heard none of the speakers. Bars: {intervals}. "
            "Dotted: guessing.",
            empty="no language was identified",
        ),
    )

    def rows(self, evidence: Evidence, settings: Settings) -> Iterator[dict[str, Any]]:
        """Every cell, test set and way: languages, then their mean."""
        if evidence.routed is None:
            return
        about = {
            (one["training_set"], one["arm"], float(one["hours"]), one["tier"]): one
            for one in evidence.routed.about
        }
        found = Counter(settings).all(evidence.routed.rows)
        places = dict.fromkeys((cell, test_set) for cell, _, test_set in found)
        rows: list[dict[str, Any]] = []
        costs: list[Draws | None] = []
        for cell, test_set in sorted(places, key=lambda key: (settings.order_of(key[0]), key[1])):
            said = about[cell.training_set, cell.arm, cell.hours, cell.tier]
            members = {
                lang: rates
                for (of, lang, name), rates in found.items()
                if (of, name) == (cell, test_set)
            }
            for row, cost in _rows(cell, test_set, members, said, evidence, settings):
                rows.append(row)
                costs.append(cost)
        judged = verdicts.judge(costs, settings.threshold_pp, 1 - settings.confidence)
        for row, one in zip(rows, judged, strict=True):
            yield row | _judged(row, one, settings)

    def absent(self, tables: base.Tables, display: Display, contrast: Contrast | None) -> str:
        """A study without the block does not ask."""
        if tables["routing"].empty:
            return "The study sends no utterance to one of several models (`routing`)."
        return ""

    def sheet(
        self, tables: base.Tables, display: Display, contrast: Contrast | None
    ) -> Sheet | None:
        """All ways, with a choice of language and way."""
        table = tables["routing"]
        of = self.fields(display)
        verdict_tags = {SAME: "yes", BETTER: "yes", WORSE: "no"}
        fields = [
            of.language(),
            of.text("training_set", lambda row: display.training_set(row.training_set)),
            of.text("test_set"),
            of.arm(),
            of.hours(),
            of.tier(),
            of.text("way", lambda row: WAYS[row.way]),
            of.text("seconds", lambda row: row.seconds if isinstance(row.seconds, str) else ""),
            of.number("accuracy_pct", 1),
            of.interval("accuracy", "pct", 1, signed=False),
            of.number("chance_pct", 0),
            of.number("wer_pct", 1),
            of.interval("wer", "pct", 1, signed=False),
            of.number("cost_pp", 2, signed=True),
            of.interval("cost", "pp"),
            of.text("verdict", _words, tag=lambda row: verdict_tags.get(row.verdict, "plain")),
            of.number("utterances", 0),
            of.number("speakers", 0),
            of.number("left_out", 0),
            of.number("speakers_unknown", 0),
            of.text("status", wide=True),
            *of.recognition(table),
        ]
        return sheet(
            self.sheet_name(display, contrast),
            fields,
            table.itertuples(),
            sortable=True,
            filters=[column.label for column in self.columns if column.name in (LANG.name, "way")],
        )


def speakers(about: Mapping[str, Any], lang: str, test_set: str) -> int | None:
    """How many speakers of a test set are counted; None where nobody knows. With one, what tells
    the language may be the voice."""
    return about.get("speakers", {}).get(f"{lang}/{test_set}")


def _total(counts: Iterable[int | None]) -> float:
    found = list(counts)
    return NAN if None in found else float(sum(one or 0 for one in found))


def _words(row: Any) -> str:
    return row.verdict if isinstance(row.verdict, str) else ""


def _rows(
    cell: Cell,
    test_set: str,
    members: Mapping[str, Rates],
    about: Mapping[str, Any],
    evidence: Evidence,
    settings: Settings,
) -> Iterator[tuple[dict[str, Any], Draws | None]]:
    """Rows of one cell and test set, without verdicts, and the costs to be judged."""
    seconds = list(about["seconds"])
    ways = {way for rates in members.values() for way in rates.heard_s}
    if not ways:
        ways = {Way(GIVEN, "")}
    recognises = {lang: _recognises(cell, lang, test_set, about, evidence) for lang in members}
    for way in sorted(ways, key=lambda one: (_ORDER.index(one.way), _place(one, seconds))):
        common = {
            **cell._asdict(),
            "test_set": test_set,
            **way._asdict(),
            "chance_pct": 100.0 / len(about["languages"]) if way.way != GIVEN else NAN,
            "margin_pp": settings.threshold_pp,
        }
        refused = about["seconds"].get(way.seconds, OK)
        groups: list[tuple[tuple[str, ...], str, str]] = [
            ((lang,), lang, "one") for lang in members
        ]
        if len(members) > 1:
            groups.append((tuple(members), MEAN, "fixed"))
        for langs, name, languages_as in groups:
            chosen = {lang: members[lang] for lang in langs}
            single = [lang for lang in langs if speakers(about, lang, test_set) == 1]
            estimates, cost = _estimates(way, chosen, refused, single, settings)
            recognition = recognition_status(pair for lang in langs for pair in recognises[lang])
            yield (
                {
                    **common,
                    "lang": name,
                    "languages_as": languages_as,
                    "languages": len(langs),
                    **_numbers(way, list(chosen.values())),
                    "speakers": _total(speakers(about, lang, test_set) for lang in langs),
                    **estimates,
                    "recognition": recognition,
                },
                cost if recognition == OK else None,
            )


def _place(way: Way, seconds: Sequence[str]) -> int:
    return seconds.index(way.seconds) if way.seconds in seconds else -1


def _recognises(
    cell: Cell, lang: str, test_set: str, about: Mapping[str, Any], evidence: Evidence
) -> list[tuple[Any, Cell]]:
    """The model that is for a language, as it was scored on a test set."""
    model = cell._replace(training_set=about["models"].get(lang, cell.training_set))
    return [
        (one, model)
        for one in evidence.scored
        if (one.lang, one.test_set) == (lang, test_set) and model in one.wer
    ]


def _numbers(way: Way, members: Sequence[Rates]) -> dict[str, Any]:
    """Counts, summed over languages."""
    total = sum(one.utterances for one in members)
    heard = sum(one.heard_s.get(way, 0.0) * one.utterances for one in members)
    return {
        "heard_s": heard / total if total and way.way != GIVEN else NAN,
        "utterances": total,
        "blocks": sum(one.blocks for one in members),
        "left_out": sum(one.left_out for one in members),
        "speakers_unknown": sum(one.unknown for one in members),
        "seeds": min(one.seeds for one in members),
        "undecided": sum(one.silent.get(way, 0) for one in members),
    }


def _estimates(
    way: Way,
    members: Mapping[str, Rates],
    refused: str,
    single: Sequence[str],
    settings: Settings,
) -> tuple[dict[str, Any], Draws | None]:
    """Accuracy, WER and cost of one language or of the mean of several.

    Args:
        refused: `ok`, or why the identifier says nothing after so many seconds.
        single: languages with one speaker.
    """
    wrong = {lang: one.wrong.get(way) for lang, one in members.items()}
    wer = {lang: one.wer.get(way) for lang, one in members.items()}
    costs = {lang: one.cost(way) for lang, one in members.items()}
    empty = [lang for lang, one in members.items() if not one.utterances]
    row: dict[str, Any] = {}
    if way.way != GIVEN:
        low, high = (NAN, NAN)
        draws = _mean(wrong) if not single else None
        if draws is not None:
            low, high = intervals.log_interval(draws, settings.confidence, 100.0)
            row |= with_interval(
                "accuracy",
                "pct",
                100.0 - draws.value,
                (max(0.0, 100.0 - high), 100.0 - low),
            )
        known = draws is not None and not math.isnan(low)
        row["status"] = OK if known else _why(wrong, empty, refused, single)
    rates = _mean(wer)
    if rates is not None:
        bounds = intervals.log_interval(rates, settings.confidence, 100.0)
        row |= with_interval("wer", "pct", rates.value, bounds)
    if way.way == GIVEN:
        row["status"] = _why(wer, empty, OK, no_words=True)
        return row, None
    cost = _mean(costs)
    if cost is None:
        why = _ALL_HEARD if empty else _ONE_MODEL
        return row | {"cost_status": f"not estimable: {why}"}, None
    status = status_of({lang: each for lang, each in costs.items() if each is not None})
    if len(costs) == 1:
        status = status_of({"": cost})
    row |= with_interval("cost", "pp", cost.value, cost.interval(settings.confidence))
    return row | {"cost_status": status}, cost if status == OK else None


def _mean(draws: Mapping[str, Draws | None]) -> Draws | None:
    """Of all languages, or None where one is missing."""
    found = [each for each in draws.values() if each is not None]
    if len(found) < len(draws):
        return None
    return found[0] if len(found) == 1 else intervals.mean_of(found)


def _why(
    draws: Mapping[str, Draws | None],
    empty: Sequence[str],
    refused: str,
    single: Sequence[str] = (),
    *,
    no_words: bool = False,
) -> str:
    """`ok`, or why a rate has no interval."""
    several = len(draws) > 1
    if empty:
        listed = f"{', '.join(empty)}: " if several else ""
        return f"not estimable: {listed}{_ALL_HEARD}"
    if refused != OK:
        return refused
    if single:
        listed = f"{', '.join(single)}: " if several else ""
        return f"not estimable: {listed}{_ONE_SPEAKER}"
    missing = [lang for lang, each in draws.items() if each is None]
    if missing:
        return f"not estimable: not decoded{' in ' + ', '.join(missing) if several else ''}"
    known = {lang if several else "": each for lang, each in draws.items() if each is not None}
    if no_words and any(each.value == 0 for each in known.values()):
        return OK
    return status_of(known)


def _judged(row: Mapping[str, Any], one: verdicts.Judged, settings: Settings) -> dict[str, Any]:
    """Columns of a verdict."""
    if row["way"] == GIVEN or "cost_pp" not in row:
        return {}
    words = {
        verdicts.WITHIN: SAME,
        verdicts.BEYOND: WORSE if row["cost_pp"] > 0 else BETTER,
        verdicts.THERE: WORSE if row["cost_pp"] > 0 else BETTER,
        verdicts.OPEN: OPEN,
    }
    return {
        "p_value": one.single.there,
        "p_holm": one.adjusted.there,
        "equivalence_p_value": one.single.within,
        "equivalence_p_holm": one.adjusted.within,
        "verdict": words[one.verdict] if row["recognition"] == OK else UNDECIDED,
    }
