"""What models were tested on: who speaks in each test set, how much of it there is, what intervals
resample."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from warmstart.evidence.cells import number_cell, text_cell
from warmstart.evidence.display import Display, TestRecordings, listed
from warmstart.evidence.keys import MEAN
from warmstart.evidence.sheets import Sheet, field, sheet
from warmstart.report.quality import Quality

_UNITS = {"speaker": "speakers", "sentence": "sentences", "utterance": "utterances"}
_RESAMPLED = {
    "speaker": "speakers are drawn anew, each with all that it says. Intervals are about other "
    "speakers of the same kind.",
    "sentence": "sentences are drawn anew, each with all its readings. Who reads them is not drawn "
    "anew, because the corpus does not say it: intervals are about other sentences read by the "
    "same people, and are too short for other people.",
    "readers": "blocks and speakers are both drawn anew. Intervals are about other sentences, read "
    "by other people of the same kind.",
    "utterance": "utterances are drawn anew, one by one, as if each had a speaker of its own. Who "
    "speaks is not drawn anew: intervals are about other utterances of the same people, and are "
    "too short for other people.",
}
"""Unit of resampling -> what intervals say, and what not."""
_UNKNOWN = "blocks are drawn anew, all utterances of one together; their kind is not stated."


class _Row(NamedTuple):
    test_set: str
    lang: str
    recordings: TestRecordings | None
    kept: Mapping[str, Any]
    utterances: float
    words: float
    blocks: float
    readers: float


def rows_of(tables: Mapping[str, pd.DataFrame], quality: Quality, display: Display) -> list[_Row]:
    """A row for each test set in each language that something was scored in."""
    kept = {
        (made["corpus"], made["lang"], made["split"]): made.get("kept", {})
        for made in quality.manifests
    }
    wer = tables["wer"]
    wer = wer[wer.lang != MEAN]
    order = [*display.languages, *display.other_languages]
    rows = []
    for test_set in display.test_sets:
        own = wer[wer.test_set == test_set]
        for lang in sorted(set(own.lang), key=lambda one: order.index(one) if one in order else 99):
            first = own[own.lang == lang].iloc[0]
            known = display.described.get(test_set)
            of = known.recordings.get(lang) if known else None
            rows.append(
                _Row(
                    test_set,
                    lang,
                    of,
                    kept.get((of.corpus, lang, of.split), {}) if of else {},
                    first.utterances / first.seeds,
                    first.words / first.seeds,
                    first.blocks,
                    first.readers,
                )
            )
    return rows


def descriptions(display: Display, rows: list[_Row]) -> list[str]:
    """A line for each test set of which it is known who speaks."""
    scored = {row.test_set for row in rows}
    return [
        f"{known.title[:1].upper()}{known.title[1:]}: {known.description.rstrip('.')}."
        for name, known in display.described.items()
        if name in scored and known.description
    ]


def resampled(display: Display, rows: list[_Row]) -> list[str]:
    """A line for each unit of resampling that the test sets have: what is drawn anew in it, and
    what is not."""
    units: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        unit = row.recordings.unit if row.recordings else ""
        of = units.setdefault("readers" if row.readers > 0 else unit, {})
        of.setdefault(row.test_set, []).append(row.lang)
    found = []
    for unit, test_sets in units.items():
        said = _RESAMPLED.get(unit, _UNKNOWN)
        names = []
        for test_set, langs in test_sets.items():
            # One test set may have other units in other languages.
            elsewhere = sum(test_set in other for other in units.values()) > 1
            where = f" in {listed(map(display.language, langs))}" if elsewhere else ""
            names.append(display.test_set(test_set) + where)
        found.append(f"{listed(names)}: {said}" if len(units) > 1 else _capital(said))
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def sheet_of(display: Display, rows: list[_Row]) -> Sheet:
    """Size, speakers and licence of every test set."""

    def speakers(row: _Row) -> Any:
        known = row.kept.get("speakers")
        return number_cell(known, 0) if known else text_cell("not named")

    def resampled(row: _Row) -> Any:
        unit = _UNITS.get(row.recordings.unit, "blocks") if row.recordings else "blocks"
        return text_cell(f"{row.blocks:,.0f} {unit}")

    def licence(row: _Row) -> Any:
        return text_cell((row.recordings and row.recordings.licence) or "not stated", wide=True)

    fields = [
        field("Test set", lambda row: text_cell(display.test_set(row.test_set))),
        field("Language", lambda row: text_cell(display.language(row.lang))),
        field("Hours", lambda row: number_cell(row.kept.get("hours"), 2)),
        field("Utterances", lambda row: number_cell(row.utterances, 0)),
        field("Words", lambda row: number_cell(row.words, 0)),
        field("Speakers", speakers),
        field("Intervals resample", resampled, "What is drawn anew in each replicate"),
        field("Licence", licence),
    ]
    return sheet("tests", fields, rows)
