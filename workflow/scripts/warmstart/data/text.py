"""One normaliser for training text, references and hypotheses, steered by the language block of the
configuration.

Practice followed: the multilingual track of the Open ASR Leaderboard
(huggingface/open_asr_leaderboard, `normalizer/`): NFKC, lower case, symbols and punctuation to
spaces, digits to words, diacritics kept. Where this module differs, and why:

- words in round brackets stay: readers of FLEURS and Common Voice speak them; only `<...>` and
  `[...]`, which mark noise, go;
- apostrophes and hyphens inside a word follow the language block: a tokenizer for French or Italian
  should see `l'uomo`;
- combining marks stay: they are vowels in some scripts.

The settings of a language (block `text:`) are:

- `case`: `lower` or `keep`;
- `keep`: punctuation that stays when it stands between two letters, e.g. `"'"`;
- `hyphen`: what a hyphen between two word characters becomes: `space`, `keep` or `join`;
- `numbers`: num2words language for digits, or null to leave digits;
- `replace`: characters that become others before case is taken away: `{I: ı, İ: i}` for Turkish,
  whose capitals Unicode's general rule gets wrong, `{ş: ș, ţ: ț}` for Romanian written in two ways;
  an empty one deletes, as vowel signs that only some corpora write;
- `decimal`: decimal mark of the language, `,` unless given; the other of `.` and `,` groups
  thousands;
- `alphabet`, `examples`: not used by `normalize`; examples are checked by `check_examples`.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Literal, Required, TypedDict

from warmstart.run.errors import UserError

VERSION = 2
"""Raised whenever `normalize` can give another result for the same input; scores carry it."""

_ANNOTATION = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_APOSTROPHES = dict.fromkeys(map(ord, "’ʼ‘ʹ´`＇′‛"), "'")
_HYPHENS = dict.fromkeys(
    map(ord, "‐‑⁃"), "-"
)  # dashes (– —) separate phrases and are left to the punctuation rule
_INVISIBLE = dict.fromkeys(
    map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff")
)  # would split a word if they became spaces
# A million training texts go through `normalize`: str.translate costs 60 ns a character, a search
# that finds nothing 5.
_TO_FOLD = re.compile("[" + "".join(map(chr, [*_APOSTROPHES, *_HYPHENS, *_INVISIBLE])) + "]")
_TO_CLEAN = re.compile(r"[^\w ]|_")  # \w is what isalnum() accepts, and the underscore
_DIGIT = re.compile(r"\d")
_MAX_SPOKEN_DIGITS = (
    15  # longer strings are identifiers: read digit by digit, and num2words knows no words for them
)


class TextSettings(TypedDict, total=False):
    """Block `text` of a language; the schema says what each key means."""

    alphabet: Required[str]
    keep: str
    hyphen: Literal["space", "keep", "join"]
    case: Literal["lower", "keep"]
    numbers: str | None
    decimal: Literal[",", "."]
    replace: dict[str, str]
    examples: list[tuple[str, str]]


@functools.lru_cache(maxsize=64)
def _compiled(settings_json: str) -> "_Rules":
    return _Rules(json.loads(settings_json))


class _Rules:
    """The regular expressions that follow from one language's settings."""

    def __init__(self, settings: TextSettings):
        self.lower = settings.get("case", "lower") == "lower"
        self.keep = settings.get("keep") or ""
        self.replace = str.maketrans(settings.get("replace") or {})
        self.hyphen = settings.get("hyphen", "space")
        self.numbers = settings.get("numbers")
        decimal = settings.get("decimal", ",")
        group = re.escape("." if decimal == "," else ",")
        # 10 000, 10.000 and 10'000; every group has three digits, and neither side touches another
        # digit.
        self.thousands = re.compile(
            rf"(?<![\d.,])\d{{1,3}}(?:(?:[ '][0-9]{{3}})+|(?:{group}[0-9]{{3}})+)(?![\d])"
        )
        self.number = re.compile(rf"\d+(?:{re.escape(decimal)}\d+)?(?![\d])")
        self.decimal = decimal


@functools.lru_cache(maxsize=1 << 16)
def _spoken(number: str, lang: str) -> str:
    from num2words import num2words

    def digits(text: str) -> str:
        return " ".join(num2words(int(digit), lang=lang) for digit in text if digit.isdigit())

    whole, _, fraction = number.partition(".")
    if (
        len(whole) > _MAX_SPOKEN_DIGITS
        or len(fraction) > _MAX_SPOKEN_DIGITS
        or (len(whole) > 2 and whole.startswith("0"))
    ):
        return digits(number)
    try:
        # A float, not a Decimal: num2words 0.5.14 drops the fraction of a Decimal in Italian.
        return num2words(float(number) if fraction else int(whole), lang=lang)
    except (NotImplementedError, OverflowError, ValueError, IndexError):
        return digits(number)


def normalize(text: str, settings: TextSettings) -> str:
    """Normalise one transcript.

    Args:
        text: raw reference, hypothesis or training text.
        settings: the block `text:` of the language.

    Returns:
        Words separated by single spaces; the empty string when nothing is left.
    """
    return _normalize(text, _compiled(json.dumps(settings, sort_keys=True)))


def normaliser(settings: TextSettings) -> Callable[[str], str]:
    """`normalize` with the settings read once: over a million texts, reading them each time is a
    quarter of the work."""
    return functools.partial(_normalize, rules=_compiled(json.dumps(settings, sort_keys=True)))


def _normalize(text: str, rules: _Rules) -> str:
    text = _ANNOTATION.sub(" ", text)
    if _TO_FOLD.search(text):
        text = text.translate(_APOSTROPHES).translate(_HYPHENS)
    text = unicodedata.normalize("NFKC", text)
    if _TO_FOLD.search(text):
        # NFKC makes an apostrophe and a letter of the Afrikaans ŉ.
        text = text.translate(_INVISIBLE).translate(_HYPHENS).translate(_APOSTROPHES)
    if rules.numbers and _DIGIT.search(text):
        text = _numbers_to_words(text, rules)
    if rules.replace:
        text = text.translate(rules.replace)
    if rules.lower:
        # lower() can leave a combining dot behind ("İ"), which NFKC then composes where it can.
        text = unicodedata.normalize("NFKC", text.lower())
    return " ".join(_clean(text, rules).split())


def _numbers_to_words(text: str, rules: _Rules) -> str:
    text = re.sub(r"(?<=\d)[\u00a0\u2007\u2009\u202f](?=\d)", " ", text)
    text = rules.thousands.sub(lambda match: re.sub(r"\D", "", match[0]), text)

    def words(match: re.Match) -> str:
        ascii_digits = "".join(str(int(char)) if char.isdigit() else char for char in match[0])
        return f" {_spoken(ascii_digits.replace(rules.decimal, '.'), rules.numbers)} "

    return rules.number.sub(words, text)


def _clean(text: str, rules: _Rules) -> str:
    """Turn every character that is no letter, mark or number into a space, except kept ones between
    word characters."""
    last = len(text) - 1

    def cleaned(match: re.Match) -> str:
        char, place = match[0], match.start()
        if _in_word(char):
            return char
        inside = 0 < place < last and _in_word(text[place - 1]) and _in_word(text[place + 1])
        if inside and char == "-" and rules.hyphen != "space":
            return "-" if rules.hyphen == "keep" else ""
        return char if inside and char in rules.keep and char != "-" else " "

    return _TO_CLEAN.sub(cleaned, text)


def _in_word(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def check_examples(lang: str, settings: TextSettings) -> None:
    """Check the example pairs that stand beside a language's block.

    Raises:
        UserError: an example does not come out as written, or a second pass changes it.
    """
    for raw, wanted in settings.get("examples") or []:
        got = normalize(raw, settings)
        if got != wanted:
            raise UserError(
                f"languages.{lang}.text.examples: {raw!r} becomes {got!r}, the example says "
                f"{wanted!r}; "
                f"correct the example, or case, keep, hyphen, numbers of the block"
            )
        if normalize(got, settings) != got:
            raise UserError(
                f"languages.{lang}.text: {got!r} changes again when normalised twice; correct keep "
                "or hyphen"
            )


@functools.lru_cache(maxsize=64)
def _number_words(settings_json: str) -> frozenset[str]:
    from num2words import num2words

    settings = json.loads(settings_json)
    lang = settings.get("numbers")
    if not lang:
        return frozenset()
    single, parts = set(), set()
    for value in (
        0,
        *range(2, 1000),
        *range(1000, 10000, 97),
        *(10**power for power in range(4, 10)),
        2 * 10**6,
        5 * 10**6,
    ):
        words = normalize(num2words(value, lang=lang), settings).split()
        (single if len(words) == 1 else parts).update(words)
    one = normalize(num2words(1, lang=lang), settings)
    # Joining words ("e", "et", "y") are short and never a number alone; the word for one is also
    # the article in most languages.
    return frozenset((single | {part for part in parts if len(part) > 3}) - {one})


def number_words(settings: TextSettings) -> frozenset[str]:
    """Normalised words that say a number in the language: the vocabulary of num2words, without the
    word for one.

    Used to count errors on numbers, also where the reference spells them out. Empty when the
    language has no `numbers`.
    """
    return _number_words(json.dumps(settings, sort_keys=True))
