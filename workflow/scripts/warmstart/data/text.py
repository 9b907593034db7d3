"""One normaliser for training text, references and hypotheses, steered by the language block of the
configuration.

Practice followed: the multilingual track of the Open ASR Leaderboard
(huggingface/open_asr_leaderboard, `normalizer/`): NFKC, lower case, symbols and punctuation to
spaces, digits to words, diacritics kept. Where this module differs, and why:

- words in round brackets stay: readers of FLEURS and Common Voice speak them; only `<...>` and
  `[...]`, which mark noise, go;
- apostrophes and hyphens inside a word follow the language block: a tokenizer for French or Italian
  should see `l'uomo`;
- combining marks stay: they are vowels in some scripts;
- NFKC glues nothing to a number: `10²` is not 102, `3½` is not 31 and 2, `1º` is not "1o"
  (`characters.apart`);
- what shows nothing is no word (`characters.invisible`), nor is a mark without a letter.

docs/corpora.md, "What the normaliser does", has the rules for what stands against a number.

The settings of a language (block `text:`) are:

- `case`: `lower` or `keep`;
- `keep`: punctuation that stays when it stands between two letters, e.g. `"'"`;
- `hyphen`: what a hyphen between two word characters becomes: `space`, `keep` or `join`;
- `numbers`: num2words language for digits, or null to leave digits;
- `replace`: characters that become others before case is taken away: `{I: ı, İ: i}` for Turkish,
  whose capitals Unicode's general rule gets wrong, `{ş: ș, ţ: ț}` for Romanian written in two ways;
  an empty one deletes, as vowel signs that only some corpora write;
- `words`: words that become others when all else is done: `{förtio: fyrtio}`;
- `decimal`: decimal mark, `,` unless given (a study gives that of `numbers`); the other of `.` and
  `,` groups thousands;
- `alphabet`: look-alikes of the apostrophe and hyphens that it lists are letters and stay;
- `segment`: not used by `normalize` (see `segmented`), nor are `examples`, which `check_examples`
  checks.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Callable
from typing import Literal, Required, TypedDict

from warmstart.data import characters, numbers
from warmstart.run.errors import UserError

VERSION = 3
"""Raised whenever `normalize` can give another result for the same input; scores carry it."""

_ANNOTATION = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")
_DIGIT = re.compile(r"\d")
_FOREIGN_DIGIT = re.compile(r"[^\D0-9]")
_GROUPS = re.compile(r"[0-9][ ',.\u066c][0-9]{2}")
# R$ 5, US$5: these letters are a part of the sign.
_CURRENCY = re.compile(r"(?<!\w)[A-Z]{1,3}\$(?= ?[0-9])")
_LETTER = re.compile(r"[^\W\d_]")
_TO_CLEAN = re.compile(r"[^\w ]|_")  # \w is what isalnum() accepts, and the underscore


class TextSettings(TypedDict, total=False):
    """Block `text` of a language; the schema says what each key means."""

    alphabet: Required[str]
    keep: str
    hyphen: Literal["space", "keep", "join"]
    case: Literal["lower", "keep"]
    numbers: str | None
    decimal: Literal[",", "."]
    replace: dict[str, str]
    words: dict[str, str]
    segment: Literal["characters", "spaces"] | None
    examples: list[tuple[str, str]]


@functools.lru_cache(maxsize=64)
def _compiled(settings_json: str) -> "_Rules":
    return _Rules(json.loads(settings_json))


class _Rules:
    """The regular expressions that follow from one language's settings."""

    def __init__(self, settings: TextSettings):
        self.lower = settings.get("case", "lower") == "lower"
        self.keep = settings.get("keep") or ""
        self.fold = characters.folding(self.keep + (settings.get("alphabet") or ""))
        self.replace = str.maketrans(settings.get("replace") or {})
        self.words = settings.get("words") or {}
        self.hyphen = settings.get("hyphen", "space")
        self.numbers = settings.get("numbers")
        self.marked = characters.probe(characters.marks())
        marks = characters.inside(characters.marks())
        self.bare_mark = re.compile(rf"(?<![^\W_])(?<![{marks}])[{marks}]+")
        self.clean_marked = re.compile(rf"[^\w {marks}]|_")
        self.in_word = re.compile(rf"[^\W_]|[{marks}]")
        decimal = settings.get("decimal", ",")
        point, group = re.escape(decimal), re.escape("." if decimal == "," else ",")
        self.marks = f"{decimal}\u066b"
        # 10 000, 10.000 and 10'000, and what can be nothing else whatever the decimal mark is:
        # 1,234,567, the Indian 12,34,567 and the Arabic mark. Every group has three digits, and
        # neither side touches another digit. Patterns begin with a digit, which `re` seeks fast.
        self.thousands = re.compile(
            r"[0-9](?<![0-9.,\u066b\u066c][0-9])(?:"
            rf"[0-9]{{,2}}(?:(?:[ '][0-9]{{3}})+|(?:\u066c[0-9]{{3}})+)"
            rf"|[0-9]{{,2}}(?:{group}[0-9]{{3}})+(?!{group}[0-9])"
            rf"|[0-9]{{,2}}(?:{point}[0-9]{{3}}){{2,}}(?!{point}[0-9])"
            r"|[0-9]?(?:[,\u066c][0-9]{2})+[,\u066c][0-9]{3}"
            r")(?![0-9])"
        )
        # 1,234.56 where the decimal mark is a comma: both marks stand, so that it is one number.
        self.other_way = re.compile(
            r"[0-9](?<![0-9.,\u066b\u066c][0-9])"
            rf"[0-9]{{,2}}(?:{point}[0-9]{{3}})+(?P<mark>{group})(?P<fraction>[0-9]+)"
            r"(?![0-9]|[.,\u066b\u066c][0-9])"
        )
        # .5 is 0.5: without its zero, so that no other number has its words.
        self.bare = re.compile(
            rf"(?<![^\s($€£¥+-])(?P<mark>[{self.marks}])(?P<fraction>[0-9]+)"
            rf"(?![0-9]|[{self.marks}][0-9])"
        )
        self.number = re.compile(
            rf"(?P<whole>[0-9]+)(?:(?P<mark>[{self.marks}])(?P<fraction>[0-9]+)"
            rf"(?![0-9]|[{self.marks}][0-9])|{_ending(self.numbers, marks)})?"
        )


def _ending(lang: str | None, marks: str) -> str:
    """Pattern of what may stand against a number and belongs to it: the endings of the language
    (21st, 1er, 5-й), as they are or in capitals, and one behind a colon (1:a, 5:n)."""
    endings = numbers.language(lang).endings if lang else ()
    capitals = [ending.upper() for ending in endings if len(ending) > 1]
    listed = "|".join(sorted(map(re.escape, [*endings, *capitals]), key=len, reverse=True))
    own = rf"[-:.']?(?:{listed})|" if listed else ""
    return rf"(?:{own}:[^\W\d_]{{1,4}})(?![\w{marks}])"


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
    if not text.isascii():
        text = characters.apart(rules.fold(text))
        # NFKC makes an apostrophe and a letter of the Afrikaans ŉ, a filler of one in half width.
        text = rules.fold(unicodedata.normalize("NFKC", text))
    elif "`" in text:
        text = rules.fold(text)
    if rules.numbers and _DIGIT.search(text):
        text = _numbers_to_words(text, rules)
    if rules.replace:
        text = text.translate(rules.replace)
    if rules.lower:
        # lower() can leave a combining dot behind ("İ"), which NFKC then composes where it can.
        text = unicodedata.normalize("NFKC", text.lower())
    words = _clean(text, rules).split()
    if rules.words:
        words = [rules.words.get(word, word) for word in words]
        words = [word for word in words if word]
    return " ".join(words)


def _numbers_to_words(text: str, rules: _Rules) -> str:
    if not text.isascii():
        text = _FOREIGN_DIGIT.sub(lambda match: str(int(match[0])), text)
    if "$" in text:
        text = _CURRENCY.sub(" ", text)
    text = rules.bare.sub(r"0\g<mark>\g<fraction>", text)
    if _GROUPS.search(text):
        text = rules.other_way.sub(functools.partial(_other_way_in_words, rules), text)
        text = rules.thousands.sub(lambda match: re.sub(r"\D", "", match[0]), text)
    return rules.number.sub(functools.partial(_number_in_words, rules), text)


def _other_way_in_words(rules: _Rules, match: re.Match[str]) -> str:
    assert rules.numbers
    whole = re.sub(r"\D", "", match.string[match.start() : match.start("mark")])
    return f" {numbers.spoken(rules.numbers, whole, match['mark'], match['fraction'])} "


def _number_in_words(rules: _Rules, match: re.Match[str]) -> str:
    text, start, end, lang = match.string, match.start(), match.end(), rules.numbers
    whole, mark, fraction = match["whole"], match["mark"], match["fraction"]
    assert lang
    if not mark:
        spoken = numbers.spoken(lang, whole)
    elif start > 1 and text[start - 1] in rules.marks and text[start - 2].isdigit():
        # 1,2,3 is a list, 1.12.2024 a date.
        spoken = f"{numbers.spoken(lang, whole)} {numbers.spoken(lang, fraction)}"
    else:
        spoken = numbers.spoken(lang, whole, mark, fraction)
    before = "" if start and _stand_together(text[start - 1], spoken[0]) else " "
    # A Turkish suffix stays with its number where the language keeps the apostrophe.
    suffix = text[end : end + 1] in rules.keep and _LETTER.match(text, end + 1)
    after = suffix or (end < len(text) and _stand_together(text[end], spoken[-1]))
    return f"{before}{spoken}{'' if after else ' '}"


def _stand_together(neighbour: str, spoken: str) -> bool:
    """Whether two characters are of scripts that put no spaces between words."""
    return (
        not neighbour.isascii()
        and characters.is_unspaced(neighbour)
        and characters.is_unspaced(spoken)
    )


def _clean(text: str, rules: _Rules) -> str:
    """Turn every character that is no letter, mark or number into a space, except kept ones between
    word characters; and every mark that has no letter to stand on."""
    to_clean = _TO_CLEAN
    if not text.isascii() and rules.marked.search(text):
        text, to_clean = rules.bare_mark.sub(" ", text), rules.clean_marked
    last = len(text) - 1

    def cleaned(match: re.Match[str]) -> str:
        char, place = match[0], match.start()
        if char != "-" and char not in rules.keep:
            return " "
        inside = (
            0 < place < last
            and rules.in_word.match(text, place - 1)
            and rules.in_word.match(text, place + 1)
        )
        if not inside:
            return " "
        if char == "-":
            return {"space": " ", "keep": "-", "join": ""}[rules.hyphen]
        return char

    return to_clean.sub(cleaned, text)


def written_without_spaces(settings: TextSettings) -> bool:
    """Whether most letters of the alphabet are of scripts that put no spaces between words.

    What stands between spaces is a whole sentence there.
    """
    letters = [char for char in settings.get("alphabet", "") if char.isalpha()]
    return 2 * sum(map(characters.is_unspaced, letters)) > len(letters)


def counts_characters(settings: TextSettings) -> bool:
    """Whether each letter of a script without spaces counts as a word of WER: as `segment` says,
    and unless it says so where the language is written without spaces."""
    segment = settings.get("segment")
    return written_without_spaces(settings) if segment is None else segment == "characters"


def segmented(text: str, settings: TextSettings) -> str:
    """A normalised text with spaces between what counts as a word.

    Where `counts_characters`, each letter of a script without spaces is a word, with the marks on
    it; words of other scripts stay whole. Elsewhere the text stays as it is.
    """
    if not counts_characters(settings):
        return text
    found = _letters().sub(
        lambda match: f" {match[0]} " if characters.is_unspaced(match[0][0]) else match[0], text
    )
    return " ".join(found.split())


@functools.cache
def _letters() -> re.Pattern[str]:
    return re.compile(rf"\w[{characters.inside(characters.marks())}]*")


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
    settings = json.loads(settings_json)
    lang = settings.get("numbers")
    if not lang:
        return frozenset()
    single, parts, ones = set(), set(), set()
    for value, spoken in numbers.vocabulary(lang):
        words = normalize(spoken, settings).split()
        if value == 1:
            ones.update(words)
        else:
            (single if len(words) == 1 else parts).update(words)
    # Joining words ("e", "et", "y") are short and never a number alone; the word for one is also
    # the article in most languages.
    return frozenset((single | {part for part in parts if len(part) > 3}) - ones)


def number_words(settings: TextSettings) -> frozenset[str]:
    """Normalised words that say a number in the language: the vocabulary of num2words, without the
    word for one.

    Used to count errors on numbers, also where the reference spells them out. Empty when the
    language has no `numbers`.
    """
    return _number_words(json.dumps(settings, sort_keys=True))
