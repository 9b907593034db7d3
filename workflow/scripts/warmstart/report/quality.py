"""What is known of the data: what was read, kept and dropped, what the leak guard took, what no
hypothesis can contain."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from warmstart.evidence.cells import number_cell, text_cell
from warmstart.evidence.display import Display
from warmstart.evidence.sheets import Field, Sheet, sheet
from warmstart.evidence.sheets import field as column


@dataclass(frozen=True)
class Quality:
    """Reports that were written beside the data.

    Attributes:
        pools: language -> contents of the pool's .qc.json.
        manifests: contents of the manifests' .qc.json.
        coverage: training set -> contents of the tokenizer's coverage.json.
    """

    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    manifests: Sequence[Mapping[str, Any]] = ()
    coverage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Corpus(NamedTuple):
    lang: str
    name: str
    read: Mapping[str, float]
    kept: Mapping[str, float]
    dropped: Mapping[str, Mapping[str, float]]


class _Drop(NamedTuple):
    lang: str
    corpus: str
    split: str
    stage: str
    reason: str
    tally: Mapping[str, float]


class _Character(NamedTuple):
    training_set: str
    test_set: str
    character: str
    times: int


def _corpora(quality: Quality) -> list[_Corpus]:
    return [
        _Corpus(lang, name, entry["read"], entry["kept"], entry["dropped"])
        for lang, pool in quality.pools.items()
        for name, entry in pool["corpora"].items()
    ]


def _language(display: Display) -> Field:
    return column("Language", lambda row: text_cell(display.language(row.lang)))


def data_sheet(quality: Quality, display: Display) -> Sheet:
    """Training cuts per corpus, with their licences."""

    def licence(row: _Corpus) -> str:
        return display.licences.get(row.lang, {}).get(row.name) or "not stated"

    def dropped(row: _Corpus, unit: str) -> float:
        return sum(tally[unit] for tally in row.dropped.values())

    fields = [
        _language(display),
        column("Corpus", lambda row: text_cell(row.name)),
        column("Read cuts", lambda row: number_cell(row.read["cuts"], 0)),
        column("Read h", lambda row: number_cell(row.read["hours"], 2)),
        column("Kept cuts", lambda row: number_cell(row.kept["cuts"], 0)),
        column("Kept h", lambda row: number_cell(row.kept["hours"], 2)),
        column("Dropped cuts", lambda row: number_cell(dropped(row, "cuts"), 0)),
        column("Dropped h", lambda row: number_cell(dropped(row, "hours"), 2)),
        column("Licence", lambda row: text_cell(licence(row), wide=True)),
    ]
    return sheet("data", fields, _corpora(quality))


def drops_sheet(quality: Quality, display: Display) -> Sheet:
    """What was dropped, by reason: damaged recordings from manifests, unfit cuts from pools."""
    rows = [
        _Drop(made["lang"], made["corpus"], made["split"], "manifest", reason, tally)
        for made in quality.manifests
        for reason, tally in made["dropped"].items()
    ]
    # The pool is made of one split a corpus; which one, its report does not say.
    rows += [
        _Drop(corpus.lang, corpus.name, "training", "pool", reason, tally)
        for corpus in _corpora(quality)
        for reason, tally in corpus.dropped.items()
    ]
    fields = [
        _language(display),
        column("Corpus", lambda row: text_cell(row.corpus)),
        column("Split", lambda row: text_cell(row.split)),
        column("Dropped from", lambda row: text_cell(row.stage)),
        column("Reason", lambda row: text_cell(row.reason.replace("_", " "))),
        column("Cuts", lambda row: number_cell(row.tally["cuts"], 0)),
        column("Hours", lambda row: number_cell(row.tally["hours"], 3)),
    ]
    return sheet("drops", fields, rows)


def unwritable_sheet(quality: Quality, display: Display) -> Sheet:
    """Characters of the references that a tokenizer has no piece for."""
    rows = [
        _Character(training_set, test_set, character, times)
        for training_set, coverage in quality.coverage.items()
        for test_set, found in coverage["tests"].items()
        for character, times in found["unwritable"].items()
    ]

    def name(row: _Character) -> str:
        return unicodedata.name(row.character, f"U+{ord(row.character):04X}").lower()

    fields = [
        column("Trained on", lambda row: text_cell(display.training_set(row.training_set))),
        column("Test set", lambda row: text_cell(display.test_set(row.test_set))),
        column("Character", lambda row: text_cell(row.character)),
        column("Name", lambda row: text_cell(name(row), wide=True)),
        column("Times in the references", lambda row: number_cell(row.times, 0)),
    ]
    return sheet("unwritable", fields, rows)


def guard_text(quality: Quality, display: Display) -> str:
    """What the leak guard looked at and took, in words."""
    parts = []
    for lang, pool in quality.pools.items():
        on = " and ".join(pool["guard"]["on"]) or "nothing"
        taken = ", ".join(
            f"{display.test_set(test_set)}: {_taken(reasons)}"
            for test_set, reasons in pool["guard"]["removed"].items()
        )
        parts.append(
            f"{display.language(lang)}: the leak guard compares {on} with the test sets"
            + (f" and removed {taken}" if taken else "")
        )
    return "; ".join(parts) + "." if parts else ""


def _taken(reasons: Mapping[str, Mapping[str, float]]) -> str:
    return (
        ", ".join(f"{tally['cuts']} cuts by {reason}" for reason, tally in reasons.items())
        or "nothing"
    )
