"""The answer of a study: one sentence of advice for each contrast, the two rates that it rests on,
and a sentence for each question that a reader would ask next. No stronger than the intervals.

Every sentence is made of what stands in the tables.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from warmstart.evidence.analyses.fit import stands
from warmstart.evidence.analyses.guideline import EITHER, OPEN
from warmstart.evidence.cells import interval_text
from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import FULL, GAP, MEAN, OWN, POOLED
from warmstart.evidence.laws import CLAIM_RATIO
from warmstart.evidence.recognition import OK, UNDECIDED
from warmstart.evidence.settings import Contrast
from warmstart.report.blocks import Advice, Card, Question, Side

_KEYS = ["training_set", "lang", "hours"]


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
        decided = {tuple(row[:3]): row[3] for row in decisions[[*_KEYS, "decision"]].to_numpy()}
        keys = gaps[_KEYS].itertuples(index=False, name=None)
        self._gaps = gaps.assign(decision=[decided.get(key, OPEN) for key in keys])
        self._parts = display.parts(self._gaps)

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
        return [self._advice(part) for part in self._parts]

    def questions(self) -> list[Question]:
        """What a reader asks next, each with its answer."""
        if not self._parts:
            return []
        found = []
        several = len(self._parts) > 1
        for part in self._parts:
            after = ""
            if several:
                on = "each language alone" if part == OWN else self._display.training_set(part)
                after = f" (trained on {on})"
            found.append(Question(f"More data, or less?{after}", self._on_hours(part), "gap"))
            if said := self._on_languages(part):
                found.append(Question(f"In every language?{after}", said, "gap"))
        part = self._parts[0]
        return [
            *found,
            Question("Does latency change it?", [self._on_latency(part)], "latency"),
            Question("What does quantising cost?", self._on_quantising(part), "quantization"),
        ]

    def cards(self) -> list[Card]:
        """Key figures: the two rates at the first and the last budget, and the law."""
        return [card for part in self._parts for card in self._cards_of(part)]

    # ---- advice

    def _advice(self, part: str) -> Advice:
        gaps = self._summary(part)
        row = _told(gaps, self._contrast)
        said = self._advised(gaps, row)
        if part != OWN:
            title = self._display.training_set(part)
            said = f"If you train on {title}: {said[:1].lower()}{said[1:]}"
        small = f"{self._where(row)}. {self._difference(row)}"
        names = (self._display.arm(name) for name in self._contrast.arms)
        rates = (row.wer_baseline_pct, row.wer_challenger_pct)
        sides = [Side(name, f"{wer:.1f} %") for name, wer in zip(names, rates, strict=True)]
        return Advice(said, sides, small)

    def _advised(self, gaps: pd.DataFrame, row: Any) -> str:
        """The sentence of advice, from the decisions at all budgets."""
        winners = [name for name in dict.fromkeys(gaps.decision) if name in self._contrast.arms]
        if len(winners) == 1:
            take = (
                f"Start from the {self._display.arm(winners[0])} model"
                if self._noun == "start"
                else f"Take {self._display.arm(winners[0])}"
            )
            return (
                f"{take}: with {row.hours:g} h of training data it saves {self._saved(row)} "
                f"{self._errors}{self._over(row)}{self._but_not_in(row, winners[0])}."
            )
        if winners:
            what = "start from" if self._noun == "start" else "take"
            return f"What to {what} depends on the data: {self._by_hours(gaps)}{self._over(row)}."
        if set(gaps.decision) == {EITHER}:
            which = "Start from either model" if self._noun == "start" else "Take either arm"
            return (
                f"{which}: they are within {self._settings.threshold_pp:g} {self._errors} of "
                f"each other{self._over(row)}, at {_amounts(gaps.hours)} of training data."
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

    def _but_not_in(self, row: Any, winner: str) -> str:
        """Languages in which the other side is ahead, of those that a mean is over."""
        if row.lang != MEAN:
            return ""
        own = self._display.of_part(self._gaps, row.training_set)
        own = own[(own.lang != MEAN) & (own.hours == row.hours)]
        lost = own.lang[own.decision.isin(set(self._contrast.arms) - {winner})]
        names = [
            self._display.language(lang) for lang in self._display.languages if lang in set(lost)
        ]
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
        return f"{size}, {self._settings.level} % interval {bounds}."

    # ---- hours

    def _on_hours(self, part: str) -> list[str]:
        gaps = self._summary(part)
        if len(gaps) == 1:
            said = (
                f"The study has one amount of data, {gaps.hours.iloc[0]:g} h, so it does not say."
            )
            return [said, *self._on_seeds(gaps)]
        first, last = gaps.iloc[0], gaps.iloc[-1]
        said = [f"{self._by_hours(gaps, first=True)}."]
        others = first.lang == MEAN and last.languages != first.languages
        if last.decision in self._contrast.arms:
            of = f" over the {last.languages:g} languages that reach it" if others else ""
            who = self._display.arm(last.decision)
            said.append(
                f"With {last.hours:g} h {who} saves {self._saved(last)} {self._errors}{of}."
            )
        if others:
            said.append(
                f"The means at {first.hours:g} and {last.hours:g} h are not of the same languages."
            )
        return [" ".join(said), *self._on_law(part), *self._on_seeds(gaps)]

    def _by_hours(self, gaps: pd.DataFrame, *, first: bool = False) -> str:
        """Decisions, budget by budget, neighbours of one decision together."""
        parts = []
        groups = [
            (decision, [row.hours for row in rows])
            for decision, rows in itertools.groupby(gaps.itertuples(), key=lambda row: row.decision)
        ]
        every = len(groups) == 1 and len(gaps) > 1
        for decision, hours in groups:
            where = (
                f"at every amount of data, {_amounts(hours)}" if every else f"at {_amounts(hours)}"
            )
            if decision in self._contrast.arms:
                parts.append(f"{self._display.arm(decision)} {where}")
            elif decision == EITHER:
                parts.append(
                    f"either, within {self._settings.threshold_pp:g} {self._errors}, {where}"
                )
            elif _unable(decision):
                parts.append(f"not decided {where}, because models do not recognise")
            else:
                parts.append(f"not decided {where}")
        said = "; ".join(parts)
        return said[:1].upper() + said[1:] if first else said

    def _on_seeds(self, gaps: pd.DataFrame) -> list[str]:
        if gaps.seeds.iloc[0] > 1:
            return []
        return ["Each run was trained once: noise between trainings is not in these intervals."]

    def _on_law(self, part: str) -> list[str]:
        law = self._law(part)
        if law is None:
            return []
        if not stands(law.status):
            reason = law.status.removeprefix("not estimable: ")
            return [f"A law of the gap in the hours cannot be stated: {reason}."]
        if law.status != "ok":
            return []
        bounds = interval_text(
            law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
        )
        said = (
            f"Each doubling of the data multiplies the gap by {law.factor_per_doubling:.2f} "
            f"({self._settings.level} % interval {bounds})."
        )
        return [" ".join([said, *self._better_than_the_law(law, part)])]

    def _laws(self, part: str) -> pd.DataFrame:
        return self._display.of_part(
            self._display.headline(self._tables["fit"], self._contrast), part
        )

    def _law(self, part: str) -> Any:
        """The pooled power law, or that of the one language."""
        laws = self._laws(part)
        laws = laws[laws.family == "power"]
        laws = laws[laws.lang == POOLED] if (laws.lang == POOLED).any() else laws
        return laws.iloc[0] if len(laws) else None

    def _better_than_the_law(self, law: Any, part: str) -> list[str]:
        """A sentence where another family describes the gaps better: the law's factor is then that
        of the wrong curve."""
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
        """Decisions of each language, those of one decision together; nothing for one language."""
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

    def _on_latency(self, part: str) -> str:
        display, reference = self._display, self._settings.reference_tier
        gaps = display.headline(self._tables["gap"], self._contrast, all_tiers=True)
        gaps = gaps[(gaps.hours > 0) & gaps.gap_pp.notna()]
        tiers = [tier for tier in display.tiers if tier in set(gaps.tier)]
        if len(tiers) < 2:
            at = f", {display.tier(tiers[0])}," if tiers else ""
            return f"The study decoded at one latency{at} so it does not say."
        table = display.headline(self._tables["gap_by_tier"], self._contrast, all_tiers=True)
        table = self._of_summary(table, part)
        rows, after = _told_of_tiers(table)
        rows = rows.drop_duplicates("tier").set_index("tier")
        rows = rows.loc[[tier for tier in tiers if tier in rows.index]]
        if rows.empty:
            return f"Not estimable: no tier but {display.tier(reference)} has this gap."
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

    def _on_quantising(self, part: str) -> list[str]:
        table = self._tables["quantization"]
        table = table[
            (table.baseline_precision == FULL) & ~table.precision.isin(self._settings.exports)
        ]
        # At whatever tier it was decoded: the reference tier need not be among them.
        rows = self._display.headline(
            table.assign(decoded=table.precision, precision=FULL), all_tiers=True
        )
        rows = rows[rows.delta_pp.notna() & (rows.hours > 0)]
        every, rows = rows, self._of_summary(rows, part)
        if rows.empty:
            return ["No quantised encoder was decoded, so the study does not say."]
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

    def _summary(self, part: str) -> pd.DataFrame:
        """Gaps of the mean, or of the one language; a row for each budget, in order."""
        return self._of_summary(self._gaps, part).sort_values("hours")

    def _of_summary(self, table: pd.DataFrame, part: str) -> pd.DataFrame:
        """Rows of the mean, or else of the first language, of a kind of training set."""
        own = self._display.of_part(table, part)
        if (own.lang == MEAN).any():
            return own[own.lang == MEAN]
        langs = [lang for lang in self._display.languages if lang in set(own.lang)]
        return own[own.lang == langs[0]] if langs else own[:0]

    def _cards_of(self, part: str) -> list[Card]:
        gaps = self._summary(part)
        after = "" if part == OWN else f", trained on {self._display.training_set(part)}"
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
        law = self._law(part)
        if law is not None and law.status == "ok":
            bounds = interval_text(
                law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
            )
            cards.append(
                Card(
                    f"Gap per doubling of data{after}",
                    f"× {law.factor_per_doubling:.2f}",
                    f"{self._settings.level} % interval {bounds}",
                )
            )
        return cards


def listed_arms(display: Display, contrast: Contrast) -> str:
    """`English-only → Multilingual`."""
    return " → ".join(display.arm(name) for name in contrast.arms)


def _told(gaps: pd.DataFrame, contrast: Contrast) -> Any:
    """The budget that the advice is told of: the first that is decided, else the first."""
    decided = gaps[gaps.decision.isin(contrast.arms)]
    return (decided if len(decided) else gaps).iloc[0]


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


def _digits(difference: float) -> int:
    """Decimals with which a difference in percentage points is told in words."""
    if difference >= 3:
        return 0
    return 1 if difference >= 0.1 else 2


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
