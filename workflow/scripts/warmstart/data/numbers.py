"""Numbers as a language says them: num2words, where it is proven, corrected and bounded by
`workflow/data/numbers.tsv`.

num2words 0.5.14 has no words for some numbers of some languages, the words of other numbers, and
loops without end; for decimals it takes floats and loses digits. So

- decimals are put together here: the whole, the language's word for the mark that stands in the
  text, the fraction;
- a number above the `limit` of its language is read digit by digit, and so is one on which
  num2words fails, whatever it raises;
- known misspellings are corrected by the table;
- a language is `check`ed against right values before anything runs.

Standard library only until a number is spoken, because a dry run reads this module.
"""

import csv
import dataclasses
import functools
import re
import threading
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from warmstart.data.characters import is_unspaced
from warmstart.run.errors import UserError

TABLE = Path(__file__).resolve().parents[3] / "data" / "numbers.tsv"
MARKS = ",.\u066b"
"""Decimal marks: comma, point and the Arabic one, which is spoken as a comma."""

_CHECK_TIME_S = 20.0  # num2words takes 0.1 s for what is checked, or forever
_MAX_DIGITS = 15  # more are identifiers, and num2words knows no words for them in most languages
_MAX_TENTHS = 3  # places for which num2words has been held against the number, see `check`
_NEEDED = 9999  # years and prices: a language without words for them is refused


@dataclasses.dataclass(frozen=True)
class Language:
    """What `numbers.tsv` says of a num2words language.

    Attributes:
        decimal: the mark that the language writes.
        marks: decimal mark -> the word for it.
        fraction: how the places behind the mark are read: `digits`, `cardinal` (one number, with
            its leading zeros) or `tenths` (num2words names the fraction).
        limit: the highest number that num2words says, inclusive.
        spellings: pattern and replacement, in order, for what num2words spells wrongly.
        endings: what may stand against a number and belongs to it, as English st, nd, rd, th.
        values: number -> right words.
    """

    decimal: str
    marks: dict[str, str]
    fraction: str
    limit: int
    spellings: tuple[tuple[re.Pattern[str], str], ...]
    endings: tuple[str, ...]
    values: dict[int, tuple[str, ...]]


@functools.cache
def _table() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with open(TABLE, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
            found.setdefault(row["lang"], []).append(row)
    return found


@functools.cache
def language(lang: str) -> Language:
    """What the table says of a language: of the code itself and, for one of a region (fr_CH), of
    its first two letters. Nothing but the defaults where it has no row."""
    table = _table()
    regional = lang[2:3] in ("_", "-") or lang not in known()
    rows = [*(table.get(lang[:2], []) if regional else []), *table.get(lang, [])]

    def of(kind: str) -> dict[str, str]:
        return {row["key"]: row["value"] for row in rows if row["kind"] == kind}

    marks = of("mark")
    if "," in marks:
        marks.setdefault("\u066b", marks[","])
    return Language(
        decimal=of("decimal").get("", ","),
        marks=marks,
        fraction=of("fraction").get("", "digits"),
        limit=min(int(of("limit").get("", 10**_MAX_DIGITS - 1)), 10**_MAX_DIGITS - 1),
        spellings=tuple((re.compile(pattern), right) for pattern, right in of("spelling").items()),
        endings=tuple(of("endings").get("", "").split()),
        values={int(number): tuple(right.split("|")) for number, right in of("value").items()},
    )


@functools.lru_cache(maxsize=1 << 16)
def spoken(lang: str, whole: str, mark: str = "", fraction: str = "") -> str:
    """Words of a number.

    Args:
        lang: num2words language.
        whole: digits before the mark, 0 to 9.
        mark: one of `MARKS`, or empty.
        fraction: digits behind the mark; zeros at its end are not read, but 1,0 is.

    Raises:
        UserError: num2words has no such language.
    """
    known = language(lang)
    long = max(len(whole), len(fraction)) > _MAX_DIGITS or (whole[0] == "0" and len(whole) > 2)
    if long or int(whole) > known.limit:
        return _with_mark(lang, _digits(lang, whole), mark, _digits(lang, fraction))
    if not fraction:
        return _cardinal(lang, whole)
    fraction = fraction.rstrip("0") or "0"
    if known.fraction == "tenths" and len(fraction) <= _MAX_TENTHS:
        words = _converted(lang, float(f"{whole}.{fraction}"))
        if words is not None:
            return words
    rest = fraction.lstrip("0")
    if known.fraction == "cardinal" and rest and len(rest) <= _MAX_TENTHS:
        zeros = _digits(lang, fraction[: len(fraction) - len(rest)])
        places = " ".join(part for part in (zeros, _cardinal(lang, rest)) if part)
    else:
        places = _digits(lang, fraction)
    return _with_mark(lang, _cardinal(lang, whole), mark, places)


def vocabulary(lang: str) -> Iterator[tuple[int, str]]:
    """Numbers and their words, enough of them to hold every word that a number is made of; as
    num2words says them too, where that is corrected, because synthetic speech has its words."""
    numbers = (
        *range(1000),
        *range(1000, 10000, 97),
        *(10**power for power in range(4, 10)),
        2 * 10**6,
        5 * 10**6,
    )
    for number in numbers:
        yield number, spoken(lang, str(number))
        if number <= language(lang).limit and (raw := _num2words(lang, number)) is not None:
            yield number, raw


@functools.cache
def check(lang: str) -> None:
    """Prove a language: right values, and no two numbers with the same words.

    Raises:
        UserError: num2words does not know the language, or says a number wrongly, or never ends.
    """
    faults = _within(_CHECK_TIME_S, lambda: _faults(lang))
    if faults is None:
        raise UserError(
            f"{lang!r}: num2words has not said a few hundred numbers in {_CHECK_TIME_S:g} s; write "
            "null (digits stay, and a cut with digits is dropped and counted)"
        )
    if faults:
        raise UserError(
            f"{lang!r}, in which num2words is wrong: {'; '.join(faults[:3])}; write null (digits "
            "stay, and a cut with digits is dropped and counted), or bring transcripts that spell "
            "numbers out"
        )


def known() -> list[str]:
    """Languages of num2words, in order."""
    from num2words import CONVERTER_CLASSES

    return sorted(CONVERTER_CLASSES)


def is_known(lang: str) -> bool:
    """Whether num2words has the language: itself, or that of a region (fr_XX).

    num2words alone takes the first two letters of anything, and would speak Spanish for Estonian
    (est) and Finnish for Filipino (fil).
    """
    return lang in known() or (lang[2:3] in ("_", "-") and lang[:2] in known())


def _num2words(lang: str, number: float) -> str | None:
    """Words as num2words says them; None where it fails."""
    from num2words import num2words

    try:
        words = num2words(number, lang=lang)
    except Exception:  # TypeError, KeyError, IndexError, ...: converters raise what they happen to
        return None
    return words if isinstance(words, str) and words.strip() else None


def _converted(lang: str, number: float) -> str | None:
    words = _num2words(lang, number)
    for wrong, right in language(lang).spellings if words is not None else ():
        words = wrong.sub(right, words)
    return words


def _cardinal(lang: str, digits: str) -> str:
    words = _converted(lang, int(digits))
    return _digits(lang, digits) if words is None else words


@functools.lru_cache(maxsize=1 << 12)
def _digits(lang: str, text: str) -> str:
    words = [_converted(lang, int(digit)) for digit in text]
    if None in words:
        raise UserError(
            f"text.numbers is {lang!r}, in which num2words cannot say {text!r}; write null (digits "
            "stay), or a language that it has"
        )
    return _joined(word for word in words if word)


def _with_mark(lang: str, whole: str, mark: str, places: str) -> str:
    return _joined(part for part in (whole, language(lang).marks.get(mark, ""), places) if part)


def _joined(words: Iterable[str]) -> str:
    parts = list(words)
    unspaced = all(is_unspaced(part[0]) and is_unspaced(part[-1]) for part in parts)
    return ("" if unspaced else " ").join(parts)


def _faults(lang: str) -> list[str]:
    known, faults = language(lang), []
    if not known.marks:
        return [f"{TABLE.name} has no rows for it"]
    for number, right in known.values.items():
        words = _cardinal(lang, str(number))
        if words not in right:
            faults.append(f"{number} is {words!r}, right: {right[0]!r}")
    if known.limit < _NEEDED:
        faults.append(f"it has no words for {known.limit + 1}")
    seen: dict[str, str] = {}
    for number in _sample(known.limit):
        words = _converted(lang, number)
        if words is None or any(char.isdigit() for char in words) or _is_mixed(words):
            faults.append(f"{number} is {words!r}")
        else:
            _note(seen, words, str(number), faults)
    seen = {}
    for whole in ("0", "1", "2", "3", "10"):
        for places in ("05", "5", "01", "1", "25", "28", "29", "125", "005", "333"):
            number = f"{whole}{next(iter(known.marks))}{places}"
            _note(seen, spoken(lang, whole, next(iter(known.marks)), places), number, faults)
    return faults


def _note(seen: dict[str, str], words: str, number: str, faults: list[str]) -> None:
    plain = " ".join(re.sub(r"[\s,'-]+", " ", words.casefold()).split())
    if (other := seen.setdefault(plain, number)) != number:
        faults.append(f"{other} and {number} are both {words!r}")


def _sample(limit: int) -> list[int]:
    numbers = {
        *range(111),
        *range(111, 1000, 37),
        *range(1000, 10_000, 373),
        *range(1900, 2031, 7),
        *(10_000, 10_001, 20_000, 21_000, 50_000, 100_000, 101_000, 123_456, 10**6, 2 * 10**6),
    }
    return sorted(number for number in numbers if number <= limit)


def _is_mixed(words: str) -> bool:
    """Whether letters of two scripts stand in it, as m and Ethiopic in one word."""
    return len({unicodedata.name(char, "").split(" ")[0] for char in words if char.isalpha()}) > 1


def _within(seconds: float, work: Callable[[], list[str]]) -> list[str] | None:
    """What `work` returns, or None if it takes longer.

    A thread that nobody waits for: Python ends it with the process, and unlike a signal it can be
    had outside the main thread.
    """
    result: Future[list[str]] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except Exception as error:  # whatever it is, the caller gets it
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(timeout=seconds)
    except TimeoutError:
        return None
