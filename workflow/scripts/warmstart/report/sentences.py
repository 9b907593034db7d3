"""The answer of a study in words and key figures, no stronger than the intervals."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from warmstart.evidence.cells import interval_cell, interval_text
from warmstart.evidence.display import Display, listed
from warmstart.evidence.keys import MEAN, OWN, POOLED
from warmstart.evidence.settings import Contrast
from warmstart.report.blocks import Card


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
        gaps = display.headline(tables["gap"], contrast)
        self._gaps = gaps[(gaps.hours > 0) & gaps.gap_pp.notna()]
        self._parts = display.parts(self._gaps)

    def sentences(self) -> list[str]:
        """The answer, for each kind of training set."""
        noun = self._display.noun(self._contrast)
        if not self._parts:
            both = f"both {'warm starts' if noun == 'start' else 'arms'}"
            return [
                f"No budget was decoded with {both} on the headline test set, so this study has no "
                "answer yet."
            ]
        said = [sentence for part in self._parts for sentence in self._of_part(part)]
        once = [part for part in self._parts if not (self._summary(part).seeds.iloc[0] > 1)]
        if once == self._parts:
            said.append(
                "Each run was trained once: noise between trainings is not in these intervals."
            )
        elif once:
            names = listed(
                "each language alone" if part == OWN else self._display.training_set(part)
                for part in once
            )
            said.append(
                f"Runs on {names} were trained once: noise between trainings is not in their "
                "intervals."
            )
        return said

    def cards(self) -> list[Card]:
        """Key figures: the gap at the first and the last budget, and its law."""
        return [card for part in self._parts for card in self._cards_of(part)]

    # ---- one kind of training set

    def _summary(self, part: str) -> pd.DataFrame:
        """Gaps of the mean, or of the one language; a row for each budget, in order."""
        gaps = self._display.of_part(self._gaps, part)
        gaps = gaps[gaps.lang == MEAN] if (gaps.lang == MEAN).any() else gaps
        return gaps.sort_values("hours")

    def _of_part(self, part: str) -> list[str]:
        gaps = self._summary(part)
        first, last = gaps.iloc[0], gaps.iloc[-1]
        over = (
            f"in the mean of {first.languages:g} languages"
            if first.lang == MEAN
            else f"in {self._display.language(first.lang)}"
        )
        start = f"With {first.hours:g} h of training data"
        if part != OWN:
            title = self._display.training_set(part)
            start = f"Trained on {title}, with {first.hours:g} h of training data"
        settings = self._settings
        where = f"({settings.headline_test_set}, {settings.reference_tier})"
        sentences = [f"{start}, {self._says(first)} {over} {where}."]
        if last.hours != first.hours:
            # The mean over languages takes, at each budget, the languages that reach it.
            others = first.lang == MEAN and last.languages != first.languages
            over = (
                f" in the mean of the {last.languages:g} languages that reach it" if others else ""
            )
            sentences.append(f"With {last.hours:g} h, {self._says(last)}{over}.")
            if others:
                sentences.append(
                    "The two means are not of the same languages; the law compares each language "
                    "with itself, with one exponent for all."
                )
        law = self._law(part)
        if law is not None and law.status == "ok":
            bounds = interval_text(
                law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
            )
            sentences.append(
                f"Each doubling of the data multiplies the gap by {law.factor_per_doubling:.2f} "
                f"({settings.level} % interval {bounds})."
            )
            sentences += self._better_than_the_law(law, part)
        elif law is not None:
            sentences.append(
                f"A law of the gap cannot be stated: {law.status.removeprefix('not estimable: ')}."
            )
        return sentences

    def _says(self, row: Any) -> str:
        size = f"{abs(row.gap_pp):.2f} pp"
        if math.isnan(row.gap_low_pp):
            return f"the gap is {row.gap_pp:+.2f} pp, without an interval (too few blocks)"
        noun = self._display.noun(self._contrast)
        bounds = interval_text(row.gap_low_pp, row.gap_high_pp)
        bounds = f"{self._settings.level} % interval of the gap {bounds}"
        if row.gap_low_pp > 0:
            better = self._contrast.challenger
        elif row.gap_high_pp < 0:
            better = self._contrast.baseline
        else:
            return (
                f"this study does not decide between the {noun}s (gap {row.gap_pp:+.2f} pp, "
                f"{bounds})"
            )
        return f"the {self._display.arm(better)} {noun} gives {size} less WER ({bounds})"

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
        if "power" not in weights or weights.idxmax() == "power":
            return []
        name = str(weights.idxmax()).replace("_", "-")
        return [
            f"But of the curves compared, the {name} one describes these gaps better than the "
            "power law that this rests on "
            f"(Akaike weights {weights.max():.2f} and {weights['power']:.2f})."
        ]

    def _cards_of(self, part: str) -> list[Card]:
        gaps = self._summary(part)
        after = "" if part == OWN else f", trained on {self._display.training_set(part)}"
        cards = []
        for row in gaps.iloc[[0, -1] if len(gaps) > 1 else [0]].itertuples():
            label = (
                f"mean of {row.languages:g} languages"
                if row.lang == MEAN
                else self._display.language(row.lang)
            )
            bounds = (
                "interval not estimable"
                if math.isnan(row.gap_low_pp)
                else interval_text(row.gap_low_pp, row.gap_high_pp)
            )
            cards.append(
                Card(f"Gap at {row.hours:g} h, {label}{after}", f"{row.gap_pp:+.2f} pp", bounds)
            )
        law = self._law(part)
        if law is not None and not math.isnan(law.factor_per_doubling):
            bounds = interval_cell(
                law.factor_low_per_doubling, law.factor_high_per_doubling, signed=False
            ).text
            cards.append(
                Card(
                    f"Gap per doubling of data{after}",
                    f"× {law.factor_per_doubling:.2f}",
                    bounds if law.status == "ok" else law.status,
                )
            )
        return cards


def lowest_wer(tables: Mapping[str, pd.DataFrame], display: Display) -> list[Card]:
    """The best decode of the headline, of any arm."""
    wer = display.headline(tables["wer"])
    wer = wer[(wer.lang != MEAN) & (wer.hours > 0) & wer.wer_pct.notna()]
    if wer.empty:
        return []
    best = wer.loc[wer.wer_pct.idxmin()]
    settings = display.settings
    detail = [display.language(best.lang), display.arm(best.arm), f"{best.hours:g} h"]
    if best.training_set != best.lang:
        detail.append(f"trained on {display.training_set(best.training_set)}")
    return [
        Card(
            f"Lowest WER, {best.test_set} at {settings.reference_tier}",
            f"{best.wer_pct:.1f} %",
            ", ".join(detail),
        )
    ]


def contrast_title(display: Display, contrast: Contrast) -> str:
    """A heading for what is said about one of several contrasts."""
    name = contrast.name.replace("_", " ")
    return (
        f"{name[:1].upper()}{name[1:]}: {display.arm(contrast.baseline)} against "
        f"{display.arm(contrast.challenger)}"
    )


def differences(display: Display, contrast: Contrast) -> str:
    """What the two arms of a contrast are declared to differ in, with the values of both."""
    sides = [display.arms.get(name) for name in (contrast.baseline, contrast.challenger)]
    parts = []
    for key in display.about(contrast):
        if key in contrast.may_differ:
            parts.append(key)
            continue
        values = []
        for arm in sides:
            if arm is None:
                continue
            value = getattr(arm, key) if key in ("init", "family", "adaptation") else None
            value = arm.recipe.get(key, "as the study has it") if value is None else value
            values.append(_written(value))
        parts.append(f"{key} ({' against '.join(values)})" if values else key)
    what = listed(parts) if parts else "nothing that is declared"
    return (
        f"{display.arm(contrast.baseline)} and {display.arm(contrast.challenger)} differ in {what}."
    )


def _written(value: Any) -> str:
    """A setting in a sentence."""
    if isinstance(value, Mapping):
        if not value:
            return "the study's own"
        options = ", ".join(f"{key} {each}" for key, each in value.items() if key != "kind")
        return str(value.get("kind", "")) + (f": {options}" if options else "")
    return str(value) if value != "" else "the study's own"
