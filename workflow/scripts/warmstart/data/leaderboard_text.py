"""The text rules of the Open ASR Leaderboard, kept apart from ours (`warmstart.data.text`).

They are those of huggingface/open_asr_leaderboard at commit d1e99b2 (21 August 2026), `normalizer/`
(Apache-2.0): `EnglishTextNormalizer` for English, `MultilingualNormalizer` with the language's code
for every other. What the leaderboard took from OpenAI's Whisper comes from the package
whisper-normalizer here (MIT); what it changed is stated below, rule by rule.

One rule of theirs is missing: a table of 152 spellings of names that count as one (Stephen, Steven)
in English. docs/leaderboard.md says what else differs.
"""

import functools
import itertools
import re
import string
from collections.abc import Iterator

import num2words
from whisper_normalizer.basic import BasicTextNormalizer, remove_symbols_and_diacritics
from whisper_normalizer.english import EnglishNumberNormalizer, EnglishTextNormalizer

from warmstart.data import numbers

VERSION = 1
"""Raised whenever `normalize` can give another result for the same input; scores carry it."""

_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]+?\)")
_NO_WORD = re.compile(r"[^\w\s]")
_GROUP = re.compile(r"(\d)\s+(\d{3})\b")
_NUMBER = re.compile(r"\d+")
_DIGIT = re.compile(r"\d")
_IGNORED = "ignore time segment in scoring"  # GigaSpeech's reference of what is not to be scored

# ---- English: what the leaderboard's rules have otherwise than Whisper's

_FILLERS = re.compile(
    r"\b(?:hmm|mm|mhm|mmm|uh|um|ah|aha|ahh|ahm|eh|ehehe|em|hm|huh|hum|mhum|uhm|umm|uhuh)\b"
)
_SPACED_APOSTROPHE = re.compile(r"\s+'")
_DIGIT_GROUP = re.compile(r"(\d),(\d)")
_FULL_STOP = re.compile(r"\.([^0-9]|$)")
_SIGNS = ".%$¢€£"  # stay until numbers are read
_LONE_SIGN = re.compile(r"[.$¢€£]([^0-9])")
_LONE_PERCENT = re.compile(r"([^0-9])%")
_KEPT_AS_WRITTEN = (r"\bkinda\b", r"\bsorta\b", r"\bdunno\b", r"\bcause\b")
_POSSESSIVE = r"'s\b"  # Whisper's "is"; only behind the words below it is one
_IS = re.compile(r"\b(it|he|she|what|that|who|here|there|how|when|where|why|this)'s\b")
_SPELLINGS = {
    **{"ok": "okay", "kay": "okay", "etcetera": "etc", "flyer": "flier"},
    **{"archaeological": "archeological", "mm": "hmm"},
    **{"cancellation": "cancelation", "cancellations": "cancelations"},
    **{"travelogue": "travelog", "travelogues": "travelogs"},
    # Slips of the package's table, which the leaderboard's does not have.
    "archaeology": "archeology",
    **{"pummelled": "pummeled", "pummelling": "pummeling", "snowploughs": "snowplows"},
}
_REVERSED = ("archeological", "cancelation", "cancelations", "travelog", "travelogs")
_CLOSED = tuple(
    (second, re.compile(rf"\b{first}\s+{second}\b"), into)
    for first, second, into in (
        *((first, "fi", f"{first}fi") for first in ("wi", "hi", "lo", "sci")),
        *(("e", second, f"e{second}") for second in ("mail", "book", "commerce")),
        *(("x", "ray", "xray"), ("t", "shirt", "tshirt"), ("how", "ever", "however")),
        *(("a", "m", "am"), ("p", "m", "pm"), ("o", "k", "okay")),
        *(("all?", "right", "alright"), ("et", "cetera", "etc")),
    )
)
"""Two words that are one: what must stand in a text, pattern, the one."""


def is_english(lang: str) -> bool:
    """Whether the leaderboard scores a language with its English rules."""
    return _code(lang) == "en"


def _code(lang: str) -> str:
    """The leaderboard's code of a language, without a country."""
    return re.split("[-_]", lang, maxsplit=1)[0].lower()


def normalize(text: str, lang: str) -> str:
    """A transcript by the leaderboard's rules.

    Args:
        text: raw reference or hypothesis.
        lang: code of the language.

    Returns:
        Words separated by single spaces; the empty string when nothing is left.
    """
    if is_english(lang):
        return english(text)
    return spoken_numbers(cleaned(text), _code(lang))


def leaves_out(reference: str, lang: str) -> bool:
    """Whether the leaderboard scores an utterance not at all: in English because the normalised
    reference is empty, in other languages because the raw one is."""
    shown = english(reference) if is_english(lang) else reference.strip()
    return shown in ("", _IGNORED)


def without_brackets(text: str) -> str:
    """What stands in brackets left out: noises, and words that a reader may have said."""
    return _BRACKETS.sub("", text)


def has_digits(text: str) -> bool:
    """Whether a rule for numbers may have read the text."""
    return _DIGIT.search(text) is not None


# ---- every language but English


@functools.cache
def _basic() -> BasicTextNormalizer:
    return BasicTextNormalizer(remove_diacritics=False)


def cleaned(text: str) -> str:
    """Lower case, what stands in brackets left out, every mark, symbol and punctuation a space.

    Diacritics stay where NFKC has a letter with them; a combining mark of its own is a space.
    """
    return " ".join(_NO_WORD.sub("", _basic()(text)).split())


def spoken_numbers(text: str, code: str) -> str:
    """Digits in num2words' words; three digits behind a space are one number with those before it,
    once (10 000, but of 1 234 567 the last three stand alone).

    What num2words cannot say stays in digits, and so does what is above the limit of the language
    in `workflow/data/numbers.tsv`, because num2words may not come back from there.
    """
    if not _DIGIT.search(text):
        return text
    return _NUMBER.sub(lambda match: _said(match[0], code), _GROUP.sub(r"\1\2", text))


@functools.lru_cache(maxsize=1 << 16)
def _said(digits: str, code: str) -> str:
    limit = numbers.language(code).limit
    if not numbers.is_known(code) or len(digits) > len(str(limit)) or int(digits) > limit:
        return digits
    try:
        return num2words.num2words(int(digits), lang=code)
    except Exception:  # TypeError, KeyError, IndexError, ...: converters raise what they happen to
        return digits


# ---- English


def english(text: str, *, digits: bool = True, spellings: bool = True) -> str:
    """English by the leaderboard's rules, all of them or some.

    Args:
        text: raw, or normalised by ours.
        digits: whether number words become digits, with signs of currencies.
        spellings: whether fillers go, and British spellings, initialisms and some compounds become
            one.
    """
    text = without_brackets(text.lower())
    if spellings:
        text = _FILLERS.sub("", text)
    text = _SPACED_APOSTROPHE.sub("'", text)
    text = _rules().written_out(text)
    text = _DIGIT_GROUP.sub(r"\1\2", text)
    text = _FULL_STOP.sub(r" \1", text)
    text = _rules().without_symbols(text)
    if spellings:
        for needed, pattern, closed in _CLOSED:
            if needed in text:
                text = pattern.sub(closed, text)
    if digits:
        text = _rules().in_digits(text)
    if spellings:
        text = _rules().in_one_spelling(text)
    text = _LONE_SIGN.sub(r" \1", text)
    text = _LONE_PERCENT.sub(r"\1 ", text)
    return " ".join(text.split())


@functools.cache
def _rules() -> "_English":
    return _English()


class _English:
    """The package's rules, changed to the leaderboard's."""

    def __init__(self):
        whisper = EnglishTextNormalizer()
        # What must stand in a text for a pattern to be tried: fifty of them are most of the work.
        self._replacements = [
            (pattern.replace(r"\b", ""), re.compile(pattern), into)
            if pattern != _POSSESSIVE
            else ("'s", _IS, r"\1 is")
            for pattern, into in whisper.replacers.items()
            if pattern not in _KEPT_AS_WRITTEN
        ]
        self._plain = {
            code: " " for code in map(ord, string.punctuation) if chr(code) not in _SIGNS
        }
        self._numbers: EnglishNumberNormalizer = whisper.standardize_numbers
        self._spellings = {
            word: into
            for word, into in whisper.standardize_spellings.mapping.items()
            if word not in _REVERSED
        } | _SPELLINGS
        # "and" is a word of theirs that alone changes nothing, unless "and a half" is read.
        self._number_words = self._numbers.words - {"and"}

    def written_out(self, text: str) -> str:
        """Contractions and titles in full."""
        for needed, pattern, into in self._replacements:
            if needed in text:
                text = pattern.sub(into, text)
        return text

    def without_symbols(self, text: str) -> str:
        """Marks go, and symbols and punctuation are spaces, but for the signs of numbers."""
        if text.isascii():
            return text.translate(self._plain)
        return remove_symbols_and_diacritics(text, keep=_SIGNS)

    def in_digits(self, text: str) -> str:
        """Number words as digits."""
        with_numbers = _DIGIT.search(text) or not self._number_words.isdisjoint(text.split())
        if not with_numbers and "half" not in text:
            return text
        try:
            return self._numbers(text)
        except (AssertionError, TypeError, ValueError):
            # Thousands of digits, as a model that loops writes them: theirs fails there.
            return text

    def in_one_spelling(self, text: str) -> str:
        """American spellings, and initialisms as one word."""
        words = [self._spellings.get(word, word) for word in text.split()]
        return " ".join(_initialisms(words))


def _initialisms(words: list[str]) -> Iterator[str]:
    """Single letters and digits in a row as one word: `b b c` is `bbc`. With `a` or `i` among them,
    which are words too, from three on."""
    for single, group in itertools.groupby(words, lambda word: len(word) == 1 and word.isalnum()):
        run = list(group)
        if single and len(run) >= (2 if {"a", "i"}.isdisjoint(run) else 3):
            yield "".join(run)
        else:
            yield from run
