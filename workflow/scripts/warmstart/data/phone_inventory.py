"""Which phones a language uses, and how often: counted in text, by espeak-ng's pronunciation.

An inventory is only as good as its text. Number words lack phones that the language has (Italian
ones have no `ʎ`), so the text should be what models hear of the language.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from warmstart.data import cut_lines, phones
from warmstart.data.text import TextSettings, normaliser
from warmstart.run.errors import UserError
from warmstart.run.files import read_json

LEAST_SHARE = 1e-4
"""Share of a text's phones from which on a phone is one of the language. What is rarer is mostly
of foreign names, which voices read by the rules of another language."""

NUMBERS = (*range(101), *range(200, 1001, 100), 10**6, 10**9)
"""Numbers whose words are read where a language has no text: each word of theirs a few times."""

Inventory = Mapping[str, int]
"""Phone -> how often."""


def count(texts: Iterable[str], voice: str) -> dict[str, int]:
    """Phones of normalised texts, the commonest first. A text that comes again counts again.

    Raises:
        UserError: espeak-ng has no such voice.
    """
    phonemiser = phones.Phonemiser(voice)
    found: collections.Counter[str] = collections.Counter()
    for text, times in collections.Counter(texts).items():
        for phone in phones.flat(phonemiser.phones(text)):
            found[phone] += times
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def of_language(lang: str, cuts: Sequence[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the phones of a language.

    Args:
        lang: its code, also that of num2words.
        cuts: CutSets of its text; none: number words are read instead.
        settings: `text`, which normalises texts, and `espeak_voice`; either may be absent.

    Returns:
        `lang`, `voice`, `source` (`text` or `numbers`), `texts` (how many were read), `phones`
        (`count`), versions; with a `reason` where there are none, because the tables of a study do
        not fail over a language that espeak-ng or num2words does not know.
    """
    voice = settings.get("espeak_voice") or lang
    about = {
        "lang": lang,
        "voice": voice,
        "source": "text" if cuts else "numbers",
        "phones_version": phones.VERSION,
        "texts": 0,
        "phones": {},
    }
    heard = [text for path in cuts for text in texts_of(path)]
    try:
        texts = _normalised(heard or _number_words(lang), settings.get("text"))
        return {**about, "texts": len(texts), "phones": count(texts, voice)}
    except UserError as error:
        return {**about, "reason": str(error)}


def _number_words(lang: str) -> list[str]:
    from num2words import num2words

    try:
        return [num2words(number, lang=lang) for number in NUMBERS]
    except Exception as error:  # converters raise what they happen to
        raise UserError(
            f"the study has no text of {lang}, and num2words does not spell its numbers "
            f"({type(error).__name__})"
        ) from None


def _normalised(texts: Sequence[str], settings: TextSettings | None) -> list[str]:
    if settings is None:
        return [text.lower() for text in texts]
    return list(map(normaliser(settings), texts))


def texts_of(cuts: str | Path) -> Iterable[str]:
    """Texts of a CutSet."""
    return (cut_lines.supervision(cut).get("text") or "" for cut in cut_lines.read(cuts))


def read(path: str | Path) -> dict[str, int]:
    """The inventory in a file of `list_phones.py`.

    Raises:
        UserError: the file is damaged.
    """
    about: dict[str, Any] = read_json(path, "delete it and run the workflow again")
    return about["phones"]


def used(inventory: Inventory) -> frozenset[str]:
    """Phones that a language uses: `LEAST_SHARE` of all or more."""
    least = LEAST_SHARE * sum(inventory.values())
    return frozenset(phone for phone, times in inventory.items() if times >= least)


def coverage(target: Inventory, had: Iterable[Inventory]) -> tuple[float, list[str]]:
    """How much of a language is known from others.

    Args:
        target: inventory of the language.
        had: those of the others.

    Returns:
        Share of its phone tokens, 0 to 1, whose phone one of the others uses, and the phones that
        it uses and none of them has, the commonest first. NaN of a language without phones.
    """
    known = frozenset().union(*map(used, had))
    total = sum(target.values())
    covered = sum(times for phone, times in target.items() if phone in known)
    own = used(target)
    missing = [phone for phone in target if phone in own and phone not in known]
    return (covered / total if total else float("nan")), missing
