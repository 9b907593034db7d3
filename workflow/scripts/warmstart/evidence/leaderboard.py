"""Errors as the Open ASR Leaderboard counts them, beside ours, and which of its rules the
difference comes from.

Since July 2026 its WER is kaldialign's `batch_error_rate` with `merge_compounds=True`: a compound
costs nothing whether it is written together or apart, on either side. In every language but English
it first joins stretches that have the same letters and other gaps, on both sides
(huggingface/open_asr_leaderboard at d1e99b2, `normalizer/eval_utils.py`).
"""

import difflib
import functools
import unicodedata
from collections.abc import Mapping
from typing import NamedTuple

import kaldialign
from rapidfuzz.distance import Levenshtein

from warmstart.data import leaderboard_text, text
from warmstart.evidence.score_columns import LEADERBOARD_RULES

RULES = tuple(LEADERBOARD_RULES)
OK = "ok"
LEFT_OUT = "left out: the reference is empty"
NOT_ESTIMABLE = "not estimable: "


class Counts(NamedTuple):
    """Reference words and word errors of an utterance."""

    words: int
    errors: int

    def plus(self, other: "Counts") -> "Counts":
        return Counts(self.words + other.words, self.errors + other.errors)

    def less(self, other: "Counts") -> "Counts":
        return Counts(self.words - other.words, self.errors - other.errors)


NONE = Counts(0, 0)


def refusal(settings: text.TextSettings) -> str:
    """Why the leaderboard's rules count no words of a language, after `not estimable: `; empty:
    they do.

    Args:
        settings: the block `text:` of the language.
    """
    if text.counts_characters(settings) or text.written_without_spaces(settings):
        return (
            "the leaderboard counts what stands between spaces, and the language puts none "
            "between words"
        )
    alphabet = unicodedata.normalize("NFKC", settings.get("alphabet") or "")
    if any(unicodedata.category(char).startswith("M") for char in alphabet):
        return (
            "the leaderboard makes every combining mark a space, and words of the language are "
            "written with them"
        )
    return ""


def merged(reference: str, hypothesis: str, *, joins: bool) -> Counts:
    """Words and errors of two normalised texts with compounds merged.

    Args:
        reference, hypothesis: by the leaderboard's rules for text.
        joins: whether stretches of the same letters are joined first, as it does in every language
            but English. The reference then has fewer words.
    """
    if reference == hypothesis:
        return Counts(len(reference.split()), 0)
    sides = reference.split(), hypothesis.split()
    if joins:
        sides = _joined(*sides)
    found = kaldialign.edit_distance(*sides, merge_compounds=True)
    return Counts(int(found["ref_len"]), int(found["total"]))


def _joined(reference: list[str], hypothesis: list[str]) -> tuple[list[str], list[str]]:
    """Both sides, with each stretch in which they differ by spaces alone written together.

    Stretches are those of Python's `difflib.SequenceMatcher`, as there.
    """
    sides: tuple[list[str], list[str]] = [], []
    for _, *ends in difflib.SequenceMatcher(None, reference, hypothesis).get_opcodes():
        stretches = reference[ends[0] : ends[1]], hypothesis[ends[2] : ends[3]]
        letters = ["".join(words) for words in stretches]
        same = stretches[0] != stretches[1] and letters[0] == letters[1]
        for side, words, joined in zip(sides, stretches, letters, strict=True):
            side += [joined] if same else words
    return sides


class Counter:
    """Counts of utterances of one language.

    Args:
        lang: of the test sets.
        settings: the block `text:` of the language.

    Attributes:
        refused: why nothing is counted, or empty.
    """

    def __init__(self, lang: str, settings: text.TextSettings):
        self.lang = lang
        self.refused = refusal(settings)
        self._normalize = text.normaliser(settings)
        # Other tiers, precisions and seeds write many utterances alike.
        self._counted = functools.lru_cache(maxsize=1 << 18)(self._count)
        self._steps = functools.lru_cache(maxsize=1 << 17)(self._make_steps)

    def row(
        self, raw: tuple[str, str], ours: tuple[str, str], errors: int
    ) -> dict[str, int | str | None]:
        """The columns of one utterance in a score file.

        Args:
            raw: reference and hypothesis.
            ours: both, by our own rules for text.
            errors: word errors of these.
        """
        if self.refused:
            status, counts = f"{NOT_ESTIMABLE}{self.refused}", (None,) * len(COLUMNS)
        else:
            status, counts = self._counted(raw, ours, errors)
        return {
            "leaderboard_status": status,
            **dict(zip(COLUMNS, counts, strict=True)),
            "leaderboard_version": leaderboard_text.VERSION,
        }

    def _count(
        self, raw: tuple[str, str], ours: tuple[str, str], errors: int
    ) -> tuple[str, tuple[int, ...]]:
        """Status, and what `COLUMNS` names."""
        now = Counts(len(ours[0].split()), errors)
        changes = dict.fromkeys(RULES, NONE)
        if leaderboard_text.leaves_out(raw[0], self.lang):
            changes["other"] = Counts(-now.words, -now.errors)
            return LEFT_OUT, _flat(NONE, changes)
        reference, hypothesis = ours
        steps = [self._steps(*texts) for texts in zip(raw, ours, strict=True)]
        last = "numbers" if any(map(leaderboard_text.has_digits, raw)) else "other"
        rules = [*(rule for rule, _ in steps[0][:-1]), last]
        for rule, (_, left), (_, right) in zip(rules, *steps, strict=True):
            if (left, right) != (reference, hypothesis):
                reference, hypothesis = left, right
                after = _plain(left, right)
                changes[rule] = changes[rule].plus(after.less(now))
                now = after
        theirs = merged(reference, hypothesis, joins=not leaderboard_text.is_english(self.lang))
        changes["compounds"] = theirs.less(now)
        return OK, _flat(theirs, changes)

    def _make_steps(self, raw: str, ours: str) -> tuple[tuple[str, str], ...]:
        """What becomes of a text on the way from our rules to theirs: rule, text behind it. Where
        digits are, the last step is that of `numbers`."""
        bare = leaderboard_text.without_brackets(raw)
        if bare != raw:
            ours = self._normalize(bare)
        if leaderboard_text.is_english(self.lang):
            english = leaderboard_text.english
            return (
                ("other", ours),
                ("apostrophes", english(ours, digits=False, spellings=False)),
                ("numbers", english(ours, spellings=False)),
                ("spellings", english(ours)),
                ("other", english(raw)),
            )
        return (
            ("other", ours),
            ("apostrophes", leaderboard_text.cleaned(ours)),
            ("other", leaderboard_text.normalize(raw, self.lang)),
        )


COLUMNS = (
    *("leaderboard_words", "leaderboard_errors"),
    *(f"leaderboard_{rule}_{what}" for rule in RULES for what in ("words", "errors")),
)
"""Columns of counts in a score file."""


def _plain(reference: str, hypothesis: str) -> Counts:
    words = reference.split()
    return Counts(len(words), Levenshtein.distance(words, hypothesis.split()))


def _flat(theirs: Counts, changes: Mapping[str, Counts]) -> tuple[int, ...]:
    return (*theirs, *(count for rule in RULES for count in changes[rule]))
