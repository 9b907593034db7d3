"""The answer of a study: one sentence of advice for each contrast, the two rates that it rests on,
and a sentence for each question that a reader would ask next. No stronger than the intervals.

Every sentence is made of what stands in the tables.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from warmstart.evidence import trainings
from warmstart.evidence.analyses.fit import stands
from warmstart.evidence.analyses.guideline import AHEAD, EITHER, OPEN
from warmstart.evidence.cells import interval_text, within_reach
from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import FULL, GAP, MEAN, OWN, POOLED
from warmstart.evidence.laws import CLAIM_RATIO
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast
from warmstart.report.blocks import Advice, Card, Question, Side

_KEYS = ["training_set", "lang", "hours"]


_UNBOUNDED = "these data do not bound it"
_NO_LAW = "there is no law"
"""What is said of hours to the threshold where there are none."""


class Subject(NamedTuple):
    """What sentences are about: the mean over languages, or one language where no two of them share
    an amount of data."""

    part: str
    lang: str


class Answer:
    """What the tables say about one contrast, on the headline test set and reference tier.

    Args:
        tables: name -> table.
        display: names and choices of the study.
        contrast: the one that it is about.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], display: Display, contrast: Contrast):
        self._tables, self._display, self._contrast = tables, display, contrast
        self._settings = display.settings
        every = set(display.languages) <= set(display.unspaced)
        unit = "characters" if display.languages and every else "words"
        self._errors = f"errors in 100 {unit}"
        self._noun = display.noun(contrast)
        gaps = display.headline(tables["gap"], contrast)
        gaps = gaps[(gaps.hours > 0) & gaps.gap_pp.notna()]
        decisions = tables["guideline"]
        decisions = decisions[decisions.contrast == contrast.name]
        decided = {
            tuple(row[:3]): row[3:] for row in decisions[[*_KEYS, "decision", "ahead"]].values
        }
        found = [
            decided.get(key, (OPEN, "")) for key in gaps[_KEYS].itertuples(index=False, name=None)
        ]
        self._gaps = gaps.assign(
            decision=[decision for decision, _ in found],
            # The arm in front, where its lead is sure and the size of it is not.
            ahead=[ahead if decision == AHEAD else "" for decision, ahead in found],
        )
        self._parts = display.parts(self._gaps)
        self._subjects = [
            Subject(part, lang) for part in self._parts for lang in self._langs_of(part)
        ]

    def _langs_of(self, part: str) -> list[str]:
        """What is told of a kind of training set: the mean, else each language."""
        have = set(self._display.of_part(self._gaps, part).lang)
        if MEAN in have:
            return [MEAN]
        return [lang for lang in self._display.languages if lang in have]

    def advice(self) -> list[Advice]:
        """What to do, for each kind of training set, with the rates behind it."""
        if not self._parts:
            both = f"both {'warm starts' if self._noun == 'start' else 'arms'}"
            return [
                Advice(
                    f"No budget was decoded with {both} on the headline test set, so this study "
                    "has no answer yet."
                )
            ]
        return [self._advice(subject) for subject in self._subjects]

    def questions(self) -> list[Question]:
        """What a reader asks next, each with its answer."""
        if not self._parts:
            return []
        found = []
        for part in self._parts:
            for subject in self._subjects_of(part):
                asked = f"More data, or less?{self._after(subject)}"
                found.append(Question(asked, self._on_hours(subject), "gap"))
            after = self._after(Subject(part, MEAN))
            if said := self._on_threshold(part):
                asked = f"From how much data does the choice stop to matter?{after}"
                found.append(Question(asked, said, "gap"))
            if said := self._on_languages(part):
                found.append(Question(f"In every language?{after}", said, "gap"))
        first = self._subjects[0]
        return [
            *found,
            Question("Does latency change it?", self._on_latency(first), "latency"),
            Question("What does quantising cost?", self._on_quantising(first), "quantization"),
        ]

    def _subjects_of(self, part: str) -> list[Subject]:
        return [subject for subject in self._subjects if subject.part == part]

    def _after(self, subject: Subject) -> str:
        """What a question is asked of, in brackets, where there are several."""
        said = []
        if subject.lang != MEAN and self._several_languages():
            said.append(self._display.language(subject.lang))
        if len(self._parts) > 1:
            on = (
                "each language alone"
                if subject.part == OWN
                else self._display.training_set(subject.part)
            )
            said.append(f"trained on {on}")
        return f" ({', '.join(said)})" if said else ""

    def cards(self) -> list[Card]:
        """Key figures: the two rates at the first and the last budget, and the law."""
        return [card for subject in self._subjects for card in self._cards_of(subject)]

    # ---- advice

    def _advice(self, subject: Subject) -> Advice:
        gaps = self._summary(subject)
        row = _told(gaps, self._contrast)
        said = self._advised(gaps, row)
        if subject.part != OWN:
            title = self._display.training_set(subject.part)
            said = f"If you train on {title}: {said[:1].lower()}{said[1:]}"
        small = f"{self._where(row)}. {self._difference(row)}"
        names = (self._display.arm(name) for name in self._contrast.arms)
        rates = (row.wer_baseline_pct, row.wer_challenger_pct)
        sides = [Side(name, f"{wer:.1f} %") for name, wer in zip(names, rates, strict=True)]
        return Advice(said, sides, small)

    def _advised(self, gaps: pd.DataFrame, row: Any) -> str:
        """The sentence of advice, from the decisions at all budgets."""
        leads = [self._leader(one) for one in gaps.itertuples()]
        leaders = list(dict.fromkeys(filter(None, leads)))
        if len(leaders) == 1:
            return self._advised_one(row, leaders[0])
        if leaders:
            what = "start from" if self._noun == "start" else "take"
            members = {
                self._members(one)
                for one, lead in zip(gaps.itertuples(), leads, strict=True)
                if lead
            }
            if len(members) > 1:
                # Two means of other languages: nobody has seen a change with data.
                return (
                    f"What to {what} has to be read language by language, because the means that "
                    f"decide it are not of the same languages: {self._by_hours(gaps)}."
                )
            return f"What to {what} depends on the data: {self._by_hours(gaps)}{self._over(row)}."
        if set(gaps.decision) == {EITHER}:
            which = "Start from either model" if self._noun == "start" else "Take either arm"
            over = self._over(row)
            if len(set(map(self._members, gaps.itertuples()))) > 1:
                over = ", on average over the languages that have each amount"
            return (
                f"{which}: they are within {self._settings.threshold_pp:g} {self._errors} of "
                f"each other{over}, at {_amounts(gaps.hours)} of training data."
            )
        what = "which model to start from" if self._noun == "start" else "which arm to take"
        if all(map(_unable, gaps.decision)):
            return (
                f"These models do not recognise speech, so this study does not say {what}: with "
                f"{row.hours:g} h of training data {self._compared(row)}{self._over(row)}."
            )
        return (
            f"This study does not decide {what}: with {row.hours:g} h of training data "
            f"{self._compared(row)}{self._over(row)}, {self._why_open(row)}."
        )

    def _advised_one(self, row: Any, leader: str) -> str:
        """The sentence of advice where one side leads wherever one does."""
        name = self._display.arm(leader)
        take = f"Start from the {name} model" if self._noun == "start" else f"Take {name}"
        said = f"{self._saved(row)} {self._errors}{self._over(row)}{self._but_not_in(row, leader)}"
        if row.decision == AHEAD:
            return (
                f"{take}, if nothing else decides: with {row.hours:g} h of training data it is "
                f"ahead by {said}. It may be less than {self._settings.threshold_pp:g}."
            )
        return f"{take}: with {row.hours:g} h of training data it saves {said}."

    def _leader(self, row: Any) -> str:
        """The arm that a row puts in front; empty: none."""
        return row.decision if row.decision in self._contrast.arms else row.ahead

    def _members(self, row: Any) -> tuple[str, ...]:
        """Languages that a gap is of."""
        if row.lang != MEAN:
            return (row.lang,)
        own = self._display.of_part(self._gaps, row.training_set)
        at = set(own.lang[own.hours == row.hours])
        return tuple(lang for lang in self._display.languages if lang in at)

    def _but_not_in(self, row: Any, leader: str) -> str:
        """Languages in which the other side is ahead, of those that a mean is over."""
        if row.lang != MEAN:
            return ""
        own = self._display.of_part(self._gaps, row.training_set)
        own = own[(own.lang != MEAN) & (own.hours == row.hours)]
        lost = {one.lang for one in own.itertuples() if self._leader(one) not in ("", leader)}
        names = [self._display.language(lang) for lang in self._display.languages if lang in lost]
        return f", but not in {listed(names)}" if names else ""

    def _compared(self, row: Any) -> str:
        """Both rates, as errors in 100 words."""
        rates = (row.wer_baseline_pct, row.wer_challenger_pct)
        digits = _digits(abs(rates[0] - rates[1]))
        one, other = (
            f"{self._display.arm(name)} makes {wer:.{digits}f}"
            for name, wer in zip(self._contrast.arms, rates, strict=True)
        )
        return f"{one} {self._errors} and {other}"

    def _why_open(self, row: Any) -> str:
        if _unable(row.decision):
            return "which is no recognition to compare"
        if math.isnan(row.gap_low_pp):
            reason = str(row.status).removeprefix("not estimable: ")
            return f"and how sure that is cannot be estimated ({reason})"
        if row.decision == EITHER:
            return (
                f"less than {self._settings.threshold_pp:g} apart; at other amounts of data chance "
                "alone could explain it"
            )
        return "and chance alone could explain the difference"

    def _saved(self, row: Any) -> str:
        """`4 of 21`: errors of the worse side that the better one does not make, in 100 words."""
        worse = max(row.wer_baseline_pct, row.wer_challenger_pct)
        digits = _digits(abs(row.gap_pp))
        return f"{abs(row.gap_pp):.{digits}f} of {worse:.{digits}f}"

    def _over(self, row: Any) -> str:
        if row.lang == MEAN:
            return f", on average over {row.languages:g} languages"
        return f" in {self._display.language(row.lang)}" if self._several_languages() else ""

    def _several_languages(self) -> bool:
        return len(self._display.languages) > 1

    def _where(self, row: Any) -> str:
        where = (
            f"mean of {row.languages:g} languages"
            if row.lang == MEAN
            else self._display.language(row.lang)
        )
        test_set, tier = self._display.test_set(row.test_set), _at(self._display, row.tier)
        return f"Words wrong with {row.hours:g} h, {where}, {test_set}, {tier}"

    def _difference(self, row: Any) -> str:
        size = f"Difference {row.gap_pp:+.2f} points"
        if math.isnan(row.gap_low_pp):
            return f"{size}, without an interval."
        bounds = interval_text(row.gap_low_pp, row.gap_high_pp)
        name = trainings.interval_name(self._settings.level, [row.training_error_pp])
        return f"{size}, {name} {bounds}."

    # ---- hours

    def _on_hours(self, subject: Subject) -> list[str]:
        gaps = self._summary(subject)
        law = self._on_law(subject) if len(gaps) > 1 else []
        said = " ".join(self._with_hours(gaps))
        return [said, *self._above_the_mean(subject, gaps), *law, *self._on_seeds(gaps)]

    def _with_hours(self, gaps: pd.DataFrame) -> list[str]:
        """Decisions at all amounts of data, and which languages they are of."""
        first, last = gaps.iloc[0], gaps.iloc[-1]
        if len(gaps) == 1:
            who = "The study has"
            if first.lang == MEAN:
                who = "Its languages share"
            elif self._several_languages():
                who = f"{self._display.language(first.lang)} has"
            return [f"{who} one amount of data, {first.hours:g} h, so it does not say."]
        said = [f"{self._by_hours(gaps, first=True)}."]
        groups = [
            (members, [row.hours for row in rows])
            for members, rows in itertools.groupby(gaps.itertuples(), key=self._members)
        ]
        if last.decision in self._contrast.arms:
            of = f", on average over {self._named(groups[-1][0])}" if len(groups) > 1 else ""
            who = self._display.arm(last.decision)
            said.append(
                f"With {last.hours:g} h {who} saves {self._saved(last)} {self._errors}{of}."
            )
        if len(groups) > 1:
            each = "; ".join(
                f"{self._named(members)} at {_amounts(hours)}" for members, hours in groups
            )
            said.append(
                f"These are means of other languages ({each}), so a change between them may be one "
                "of languages and not of data."
            )
        return said

    def _named(self, langs: Iterable[str]) -> str:
        return listed(map(self._display.language, langs))

    def _above_the_mean(self, subject: Subject, gaps: pd.DataFrame) -> list[str]:
        """What single languages say at amounts of data above those of the mean."""
        if subject.lang != MEAN:
            return []
        most = gaps.hours.max()
        own = self._display.of_part(self._gaps, subject.part)
        own = own[(own.lang != MEAN) & (own.hours > most)].sort_values("hours")
        said = []
        for lang in self._display.languages:
            rows = own[own.lang == lang]
            if len(rows):
                size = self._difference(rows.iloc[-1])
                said.append(
                    f"{self._display.language(lang)}: {self._by_hours(rows)} "
                    f"(with {rows.hours.max():g} h: {size[:1].lower()}{size[1:].rstrip('.')})"
                )
        if not said:
            return []
        return [f"Above {most:g} h there is no mean over languages. {'. '.join(said)}."]

    def _by_hours(self, gaps: pd.DataFrame, *, first: bool = False) -> str:
        """Decisions, budget by budget, neighbours of one decision together."""
        parts = []
        groups = [
            (*decided, [row.hours for row in rows])
            for decided, rows in itertools.groupby(
                gaps.itertuples(), key=lambda row: (row.decision, row.ahead)
            )
        ]
        every = len(groups) == 1 and len(gaps) > 1
        threshold = f"{self._settings.threshold_pp:g} {self._errors}"
        for decision, ahead, hours in groups:
            where = (
                f"at every amount of data, {_amounts(hours)}" if every else f"at {_amounts(hours)}"
            )
            if decision in self._contrast.arms:
                parts.append(f"{self._display.arm(decision)} {where}")
            elif ahead:
                name = self._display.arm(ahead)
                parts.append(f"{name} ahead {where}, perhaps by less than {threshold}")
            elif decision == EITHER:
                parts.append(f"either, within {threshold}, {where}")
            elif _unable(decision):
                parts.append(f"not decided {where}, because models do not recognise")
            else:
                parts.append(f"not decided {where}")
        said = "; ".join(parts)
        return _capital(said) if first else said

    def _on_seeds(self, gaps: pd.DataFrame) -> list[str]:
        # Seeds of some runs tell the noise of all.
        if gaps.training_error_pp.notna().all():
            return []
        return ["Each run was trained once: noise between trainings is not in these intervals."]

    # ---- laws

    def _on_law(self, subject: Subject) -> list[str]:
        law = self._law(subject)
        if law is None:
            return []
        of = self._in(subject.lang)
        if not stands(law.status):
            reason = law.status.removeprefix("not estimable: ")
            return [f"A law of the gap in the hours cannot be stated{of}: {reason}."]
        if law.status != "ok":
            return []
        said = (
            f"Each doubling of the data multiplies the gap{of} by {law.factor_per_doubling:.2f} "
            f"({self._factor_interval(subject, law)})."
        )
        return [" ".join([said, *self._better_than_the_law(law, subject.part)])]

    def _in(self, lang: str) -> str:
        """` in German`, where there are several languages and a sentence is about one."""
        several = self._several_languages() and lang not in (MEAN, POOLED)
        return f" in {self._display.language(lang)}" if several else ""

    def _interval_name(self, subject: Subject) -> str:
        """What an interval of a law is called: that of the gaps it is fitted to."""
        own = self._display.of_part(self._gaps, subject.part)
        own = own if subject.lang in (MEAN, POOLED) else own[own.lang == subject.lang]
        return trainings.interval_name(self._settings.level, own.training_error_pp)

    def _factor_interval(self, subject: Subject, law: Any) -> str:
        bounds = interval_text(
            law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
        )
        return f"{self._interval_name(subject)} {bounds}"

    def _on_threshold(self, part: str) -> list[str]:
        """Hours from which gaps stay under the threshold: all languages together, then each."""
        laws = self._laws(part)
        laws = laws[laws.family == "power"]
        wanted = [POOLED, *self._display.languages]
        found = [law for lang in wanted for law in laws[laws.lang == lang].itertuples()]
        said: dict[str, list[str]] = {}
        for law in found:
            who = (
                "all languages together" if law.lang == POOLED else self._display.language(law.lang)
            )
            said.setdefault(self._under_threshold(law, part), []).append(who)
        if not set(said) - {_UNBOUNDED, _NO_LAW}:
            return []
        own = self._display.of_part(self._gaps, part)
        intervals = trainings.interval_name(
            self._settings.level, own.training_error_pp, plural=True
        )
        return [
            f"By the law of each, the gap stays under {self._settings.threshold_pp:g} points as "
            f"follows (in brackets: {intervals}).",
            *(f"{_capital(listed(names))}: {text}." for text, names in said.items()),
        ]

    def _under_threshold(self, law: Any, part: str) -> str:
        """`from 1,200 h on (900 h to 1,700 h)`, or why nothing of the kind is said."""
        if not stands(law.status) or math.isnan(law.threshold_hours):
            return _NO_LAW
        own = self._display.of_part(self._gaps, part)
        own = own if law.lang == POOLED else own[own.lang == law.lang]
        least, most = own.hours.min(), own.hours.max()
        hours, low, high = (
            within_reach(float(each))
            for each in (law.threshold_hours, law.threshold_low_hours, law.threshold_high_hours)
        )
        if law.status != "ok" or math.isnan(low) or (low < least and math.isinf(high)):
            return _UNBOUNDED
        bounds = " to ".join(_reached(each, least) for each in (low, high))
        if hours < least:
            # A size without its sign is meant: a law of an older table may have read it otherwise.
            small = abs(law.gap_at_reference_pp) <= self._settings.threshold_pp
            return f"at every amount that was trained ({bounds})" if small else _NO_LAW
        if math.isinf(hours):
            return f"never ({bounds})"
        beyond = f", beyond the {most:g} h that were trained" if hours > most else ""
        return f"from {_hours(hours)} h on{beyond} ({bounds})"

    def _laws(self, part: str) -> pd.DataFrame:
        return self._display.of_part(
            self._display.headline(self._tables["fit"], self._contrast), part
        )

    def _law(self, subject: Subject) -> Any:
        """The pooled power law, or that of the one language."""
        laws = self._laws(subject.part)
        lang = POOLED if subject.lang == MEAN else subject.lang
        laws = laws[(laws.family == "power") & (laws.lang == lang)]
        return laws.iloc[0] if len(laws) else None

    def _better_than_the_law(self, law: Any, part: str) -> list[str]:
        """A sentence where another family describes the gaps clearly better: the law's factor is
        then that of the wrong curve."""
        laws = self._laws(part)
        weights = laws[laws.lang == law.lang].set_index("family").weight.dropna()
        # With as many parameters as gaps the law fits anything and cannot be compared.
        if "power" not in weights or weights.max() <= CLAIM_RATIO * weights["power"]:
            return []
        name = str(weights.idxmax()).replace("_", "-")
        return [
            f"But of the curves compared, the {name} one describes these gaps better than the "
            "power law that this rests on "
            f"(Akaike weights {weights.max():.2f} and {weights['power']:.2f})."
        ]

    # ---- languages

    def _on_languages(self, part: str) -> list[str]:
        """Decisions of each language, those of one decision together; nothing for one language, or
        where all is told of each."""
        if self._langs_of(part) != [MEAN]:
            return []
        gaps = self._display.of_part(self._gaps, part)
        gaps = gaps[gaps.lang != MEAN].sort_values("hours")
        langs = [lang for lang in self._display.languages if lang in set(gaps.lang)]
        if len(langs) < 2:
            return []
        groups: dict[str, list[str]] = {}
        for lang in langs:
            own = gaps[gaps.lang == lang]
            groups.setdefault(self._by_hours(own), []).append(self._display.language(lang))
        decided = set(gaps.decision)
        if len(decided) == 1 and decided <= set(self._contrast.arms):
            name = self._display.arm(next(iter(decided)))
            return [
                f"Yes: {name} in {listed(self._display.language(lang) for lang in langs)}, at "
                "every amount of data.",
                *([self._display.elsewhere()] if self._display.elsewhere() else []),
            ]
        found = [f"{listed(names)}: {said}." for said, names in groups.items()]
        return [*found, *([self._display.elsewhere()] if self._display.elsewhere() else [])]

    # ---- latency

    def _on_latency(self, subject: Subject) -> list[str]:
        display, reference = self._display, self._settings.reference_tier
        gaps = display.headline(self._tables["gap"], self._contrast, all_tiers=True)
        gaps = gaps[(gaps.hours > 0) & gaps.gap_pp.notna()]
        tiers = [tier for tier in display.tiers if tier in set(gaps.tier)]
        if len(tiers) < 2:
            at = f", {display.tier(tiers[0])}," if tiers else ""
            return [f"The study decoded at one latency{at} so it does not say."]
        table = display.headline(self._tables["gap_by_tier"], self._contrast, all_tiers=True)
        found = self._about(table, subject)
        if not found:
            return [f"Not estimable: no tier but {display.tier(reference)} has this gap."]
        return [before + self._at_tiers(own, tiers) for before, own in found]

    def _at_tiers(self, table: pd.DataFrame, tiers: list[str]) -> str:
        """Verdicts on the tiers, of the mean or of one language."""
        display, reference = self._display, self._settings.reference_tier
        rows, after = _told_of_tiers(table)
        rows = rows.drop_duplicates("tier").set_index("tier")
        rows = rows.loc[[tier for tier in tiers if tier in rows.index]]
        said, at_reference = [], _at(display, reference)
        for verdict, group in rows.groupby("verdict", sort=False):
            names = listed(_at(display, str(tier)) for tier in group.index)
            if verdict == "equivalent":
                margin = f"±{self._settings.tier_margin_pp:g} points"
                said.append(f"{names} the gap is as {at_reference}, within {margin}")
            elif verdict == "different":
                said += [
                    f"{_at(display, str(tier))} the gap is {abs(row.difference_pp):.1f} points "
                    f"{'larger' if row.difference_pp > 0 else 'smaller'} than {at_reference}"
                    for tier, row in group.iterrows()
                ]
            else:
                said.append(f"not decided {names}")
        verdicts = set(rows.verdict)
        if UNDECIDED in verdicts:
            return "Not decided, because models do not recognise."
        head = "Not decided" if verdicts == {"not decided"} else "In part"
        if verdicts == {"equivalent"}:
            head = "No"
        elif "different" in verdicts:
            head = "Yes"
        if head == "Not decided":
            names = listed(_at(display, str(tier)) for tier in rows.index)
            return f"Not decided: {names} the gap may be as {at_reference} or another{after}."
        return f"{head}: {'; '.join(said)}{after}."

    # ---- quantising

    def _on_quantising(self, subject: Subject) -> list[str]:
        table = self._tables["quantization"]
        table = table[
            (table.baseline_precision == FULL) & ~table.precision.isin(self._settings.exports)
        ]
        # At whatever tier it was decoded: the reference tier need not be among them.
        rows = self._display.headline(
            table.assign(decoded=table.precision, precision=FULL), all_tiers=True
        )
        rows = rows[rows.delta_pp.notna() & (rows.hours > 0)]
        found = self._about(rows, subject)
        if not found:
            return ["No quantised encoder was decoded, so the study does not say."]
        return [
            line for before, own in found for line in self._of_one(before, self._costs(own, rows))
        ]

    def _of_one(self, before: str, lines: list[str]) -> list[str]:
        """Sentences about one language in a line that begins with its name."""
        return [f"{before}{' '.join(lines)}"] if before else lines

    def _costs(self, rows: pd.DataFrame, every: pd.DataFrame) -> list[str]:
        """What each precision costs, of the mean or of one language; `every`: rows of all."""
        said = []
        tiers = [self._settings.reference_tier, *self._display.tiers]
        for precision, own in rows.groupby("decoded", sort=False):
            own = own[own.hours == own.hours.max()]
            tier = min(own.tier, key=tiers.index)
            own = own[own.tier == tier]
            costs = [
                self._cost(self._display.arm(arm), own[own.arm == arm].iloc[0])
                for arm in self._contrast.arms
                if (own.arm == arm).any()
            ]
            at = f"{own.hours.iloc[0]:g} h, {self._display.tier(str(tier))}"
            name = self._display.precision(str(precision))
            if (own.recognition != OK).any():
                said.append(
                    f"What {name} weights cost ({at}) is not stated, because models do not "
                    "recognise."
                )
                continue
            said.append(f"With {name} weights ({at}) {'; '.join(costs)}.")
            # A mean over languages has no size.
            size = every[every.decoded == precision].times_smaller_than_pytorch_fp32.median()
            if not math.isnan(size):
                said.append(f"The encoder is {size:.1f} times smaller.")
            gap = own[(own.arm == GAP) & (own.contrast == self._contrast.name)]
            if len(gap):
                said.append(self._gap_changes(gap.iloc[0]))
        return said

    def _cost(self, name: str, row: Any) -> str:
        if math.isnan(row.delta_low_pp):
            return f"{name} makes {row.delta_pp:+.2f} {self._errors}, without an interval"
        bounds = interval_text(row.delta_low_pp, row.delta_high_pp)
        if row.delta_low_pp <= 0 <= row.delta_high_pp:
            return f"{name} has no cost that the study can see ({row.delta_pp:+.2f} {bounds})"
        more = "more" if row.delta_pp > 0 else "fewer"
        size = f"{abs(row.delta_pp):.{_digits(abs(row.delta_pp))}f}"
        return f"{name} makes {size} {more} {self._errors} ({bounds})"

    def _gap_changes(self, row: Any) -> str:
        if math.isnan(row.delta_low_pp):
            return "What it does to the gap has no interval."
        bounds = interval_text(row.delta_low_pp, row.delta_high_pp)
        size = f"{row.delta_pp:+.2f} points, {bounds}"
        if row.delta_low_pp <= 0 <= row.delta_high_pp:
            return f"It does not visibly change the gap ({size})."
        return f"It changes the gap ({size})."

    # ---- rows

    def _summary(self, subject: Subject) -> pd.DataFrame:
        """Gaps of the mean, or of one language; a row for each budget, in order."""
        own = self._display.of_part(self._gaps, subject.part)
        return own[own.lang == subject.lang].sort_values("hours")

    def _about(self, table: pd.DataFrame, subject: Subject) -> list[tuple[str, pd.DataFrame]]:
        """Rows of the mean, or else of each language, with what names the language in front of a
        sentence."""
        own = self._display.of_part(table, subject.part)
        if subject.lang == MEAN and (own.lang == MEAN).any():
            return [("", own[own.lang == MEAN])]
        langs = [lang for lang in self._display.languages if lang in set(own.lang)]
        several = self._several_languages()
        return [
            (f"{self._display.language(lang)}: " if several else "", own[own.lang == lang])
            for lang in langs
        ]

    def _cards_of(self, subject: Subject) -> list[Card]:
        gaps = self._summary(subject)
        after = (
            ""
            if subject.part == OWN
            else f", trained on {self._display.training_set(subject.part)}"
        )
        cards = []
        told = _told(gaps, self._contrast)
        # That of the advice stands there already, and of no recognition there is nothing to show.
        for row in gaps.iloc[sorted({0, len(gaps) - 1})].itertuples():
            if row.hours == told.hours or _unable(row.decision):
                continue
            label = (
                f"mean of {row.languages:g} languages"
                if row.lang == MEAN
                else self._display.language(row.lang)
            )
            cards.append(
                Card(
                    f"WER at {row.hours:g} h, {label}{after}",
                    f"{row.wer_baseline_pct:.1f} → {row.wer_challenger_pct:.1f} %",
                    f"{listed_arms(self._display, self._contrast)}. {self._difference(row)}",
                )
            )
        law = self._law(subject)
        if law is not None and law.status == "ok":
            cards.append(
                Card(
                    f"Gap per doubling of data{self._in(subject.lang)}{after}",
                    f"× {law.factor_per_doubling:.2f}",
                    self._factor_interval(subject, law),
                )
            )
        return cards


def listed_arms(display: Display, contrast: Contrast) -> str:
    """`English-only → Multilingual`."""
    return " → ".join(display.arm(name) for name in contrast.arms)


def _told(gaps: pd.DataFrame, contrast: Contrast) -> Any:
    """The budget that the advice is told of: the first that is decided, else the first with a sure
    lead, else the first."""
    decided, ahead = gaps[gaps.decision.isin(contrast.arms)], gaps[gaps.ahead != ""]
    return next(rows for rows in (decided, ahead, gaps) if len(rows)).iloc[0]


def _at(display: Display, tier: str) -> str:
    """`at 160 ms`, `offline`."""
    return tier if tier == "offline" else f"at {display.tier(tier)}"


def _unable(decision: str) -> bool:
    """Whether there is no decision because systems do not recognise."""
    return decision == UNDECIDED


def _told_of_tiers(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows of `gap_by_tier` that a question is answered from, and what the answer ends in: the mean
    over budgets, or, where models do not recognise at all of them, the largest at which they do."""
    hours = table.hours.astype(str)
    every = table[hours == "all"]
    if len(every) and not (every.verdict == UNDECIDED).any():
        return every, ""
    single = table[hours != "all"]
    single = single.assign(hours=single.hours.astype(float)).sort_values("hours", ascending=False)
    told = single[single.verdict != UNDECIDED]
    if told.empty:
        return single, ""
    largest = told.hours.iloc[0]
    return told[
        told.hours == largest
    ], f", with {largest:g} h" if single.hours.nunique() > 1 else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _digits(difference: float) -> int:
    """Decimals with which a difference in percentage points is told in words."""
    if difference >= 3:
        return 0
    return 1 if difference >= 0.1 else 2


def _reached(hours: float, least: float) -> str:
    """A bound of the hours of a law; below the least that was trained it says no number."""
    if math.isinf(hours):
        return "never"
    return f"below {least:g} h" if hours < least else f"{_hours(hours)} h"


def _hours(hours: float) -> str:
    """Hours of a law, with as many digits as it may be believed in."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _amounts(hours: Iterable[float]) -> str:
    """`100, 250 and 500 h`."""
    return f"{listed(f'{each:g}' for each in hours)} h"


def lowest_wer(tables: Mapping[str, pd.DataFrame], display: Display) -> list[Card]:
    """The best decode of the headline, of any arm."""
    wer = display.headline(tables["wer"])
    wer = wer[(wer.lang != MEAN) & (wer.hours > 0) & wer.wer_pct.notna()]
    if wer.empty:
        return []
    best = wer.loc[wer.wer_pct.idxmin()]
    detail = [display.language(best.lang), display.arm(best.arm), f"{best.hours:g} h"]
    if best.training_set != best.lang:
        detail.append(f"trained on {display.training_set(best.training_set)}")
    return [
        Card(
            f"Lowest WER, {display.test_set(best.test_set)} at {display.tier(best.tier)}",
            f"{best.wer_pct:.1f} %",
            ", ".join(detail),
        )
    ]
