"""Characters by what Unicode says of them: invisible ones, marks, look-alikes of the apostrophe,
signs that NFKC would make letters or digits of, scripts that put no spaces between words.

Unicode properties come from `unicodedata`; those that it lacks stand here with their source.
Standard library only.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt (the same from 6.0 to 16.0),
# inclusive. Only part of it is of category Cf: variation selectors are marks, Hangul fillers are
# letters.
_DEFAULT_IGNORABLE = (
    *((0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5)),
    *((0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164)),
    *((0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3)),
    *((0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)),
)

# What Unicode's confusables.txt (UTS #39) takes for U+0027, without letters of a script (Hebrew
# yod, Canadian Aboriginal and Runic ones) and tone marks of Bopomofo; the saltillo too.
APOSTROPHES = frozenset(
    "\u0060\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02f4\u0374\u0384\u055a\u055d\u05f3"
    "\u07f4\u07f5\u1fbd\u1fbf\u1fef\u1ffd\u1ffe\u2018\u2019\u201b\u2032\u2035\ua78b\ua78c\uff07"
    "\uff40"
)
"""Look-alikes of the apostrophe, without the apostrophe itself."""

HYPHENS = frozenset("\u2010\u2011\u2043")
"""Hyphens, without U+002D. Dashes separate phrases and are punctuation."""

# Signs that NFKC spells out: ordinal signs and the raised o and a that are typed for them, the
# rupee and numero signs, trade marks.
_SIGNS = "\u00ba\u00aa\u1d52\u1d43\u20a8\u2116\u2122\u2120\U0001f16a\U0001f16b\U0001f16c"

BREAK = "\n"
"""Separates what must not be joined: digits around a space can be one number."""

# Scripts whose words are not separated by spaces: Unicode's line-breaking classes SA (South East
# Asian) and ID with its neighbours (UAX #14), by the first word of the characters' names.
_UNSPACED = {
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO", "THAI", "LAO"),
    *("KHMER", "MYANMAR", "TAI", "BALINESE", "JAVANESE"),
}


@functools.lru_cache(maxsize=1 << 16)
def is_unspaced(char: str) -> bool:
    """Whether it is a letter, mark or number of a script that puts no spaces between words."""
    name = unicodedata.name(char, "").removeprefix("NEW ").split(" ")[0]
    return name in _UNSPACED and unicodedata.category(char)[0] in "LMN"


@functools.cache
def invisible() -> frozenset[int]:
    """Characters that show nothing of their own: ignorable ones, format characters (Cf) and
    enclosing marks (Me), for instance of a keycap."""
    ignorable = (char for low, high in _DEFAULT_IGNORABLE for char in range(low, high + 1))
    return frozenset(ignorable) | _of_category("Cf", "Me")


@functools.cache
def marks() -> frozenset[int]:
    """Combining marks (Mn, Mc) that are not invisible."""
    return _of_category("Mn", "Mc") - invisible()


@functools.cache
def _apart() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What `apart` looks for: any of its characters; and each with what follows it."""
    raised, letters, single, squared = set(), set(), set(), set()
    for code in (*range(0xA0, 0x3400), *range(0xA700, 0xA800), *range(0x1F100, 0x1F200)):
        char = chr(code)
        kind, digits = _spelled(char)
        if kind in ("<super>", "<sub>"):
            (raised if digits.isdigit() else letters).add(code)
        elif unicodedata.category(char) == "No" and digits:
            single.add(code)
        elif kind in ("<compat>", "<square>") and (digits[0].isdigit() or digits[-1].isdigit()):
            squared.add(code)
    letters -= {ord(char) for char in _SIGNS}
    return probe({*raised, *letters, *single, *squared, *map(ord, _SIGNS), 0x2044}), re.compile(
        rf"(?P<raised>[{inside(raised)}]+)"
        rf"|(?<=\d)\.?[{inside({*letters, *map(ord, _SIGNS)})}]+"
        rf"|\b(?P<roman>[IVX]+|[IVXLCDM]{{2,}})[{inside(letters)}]+"
        rf"|(?P<single>[{inside(single)}])"
        rf"|(?P<squared>[{inside(squared)}])"
        rf"|[{_SIGNS}\u2044]"
    )


def _spelled(char: str) -> tuple[str, str]:
    """Kind of a character's compatibility decomposition, and what it spells; of numbers in circles
    that have none, their value."""
    kind, *codes = unicodedata.decomposition(char).split(" ")
    if kind.startswith("<"):
        return kind, "".join(chr(int(code, 16)) for code in codes)
    name = unicodedata.name(char, "")
    if unicodedata.category(char) == "No" and ("CIRCLED" in name or "DINGBAT" in name):
        return "", f"{unicodedata.numeric(char):.0f}"
    return "", ""


def apart(text: str) -> str:
    """Keep apart what NFKC would glue to a number or make a word of.

    - Raised and lowered digits, fractions and digits in circles or brackets are numbers of their
      own: `10²` is 10 and 2, `3½` is 3, 1 and 2.
    - So are those of what is written in one square: `2024㋀` is 2024 and 1月.
    - Ordinal signs, the numero sign and trade marks go, and so do raised letters behind a digit or
      a Roman numeral: `1º`, `2.ª` and `1ᵉʳ` are the number alone, `XIXᵉ` is XIX.
    """
    search, split = _apart()
    return split.sub(_split, text) if search.search(text) else text


def _split(match: re.Match[str]) -> str:
    if match["roman"]:
        return match["roman"] + BREAK
    if match["raised"]:
        numbers = ["".join(_spelled(char)[1] for char in match["raised"])]
    elif match["single"]:
        numbers = re.findall(r"\d+", _spelled(match["single"])[1])
    elif match["squared"]:
        numbers = [_spelled(match["squared"])[1]]
    else:
        return BREAK
    text, start, end = match.string, match.start(), match.end()
    before = BREAK if start and text[start - 1].isnumeric() else ""
    after = BREAK if end < len(text) and text[end].isnumeric() else ""
    return before + BREAK.join(numbers) + after


def folding(kept: Iterable[str]) -> Callable[[str], str]:
    """A function that removes what is invisible and writes hyphens and apostrophes in one way.

    Args:
        kept: characters that are letters of the language and stay as they are.
    """
    stay = set(kept)
    one_way = str.maketrans(
        {**dict.fromkeys(APOSTROPHES - stay, "'"), **dict.fromkeys(HYPHENS - stay, "-")}
    )
    nothing = re.compile(f"[{inside(invisible())}]+")
    # str.translate costs 60 ns a character, a search that finds nothing 5.
    anything = probe(invisible() | set(one_way))

    def fold(text: str) -> str:
        return nothing.sub("", text).translate(one_way) if anything.search(text) else text

    return fold


def _of_category(*wanted: str) -> frozenset[int]:
    # Planes without letters and marks are left out: a look at every code point takes 0.1 s.
    codes = (*range(0x20000), *range(0xE0000, 0xE1000))
    return frozenset(code for code in codes if unicodedata.category(chr(code)) in wanted)


def probe(codes: Iterable[int]) -> re.Pattern[str]:
    """Finds any of some characters, and any character beyond U+FFFF: `re` looks up those below in a
    table, and goes through the ranges above one by one at each letter of a text."""
    return re.compile(f"[{inside(code for code in codes if code < 0x10000)}\U00010000-\U0010ffff]")


def inside(codes: Iterable[int]) -> str:
    """Some characters as the inside of a character class."""
    ranges: list[list[int]] = []
    for code in sorted(codes):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(low))}-{re.escape(chr(high))}" for low, high in ranges)
