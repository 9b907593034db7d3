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
        coverage: what tokens cannot write.
    """

    pools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    manifests: Sequence[Mapping[str, Any]] = ()
    coverage: Sequence["Coverage"] = ()


class Coverage(NamedTuple):
    """What one kind of tokens was found to be unable to write.

    Attributes:
        report: contents of a tokenizer's coverage.json, or of an init's file in
            results/unwritable/.
        training_set: whose tokenizer it is; None: tokens of an init as it is.
        arms: that write so; of an init as it is the one as which it is decoded.
    """

    report: Mapping[str, Any]
    training_set: str | None
    arms: Sequence[str] = ()


def coverage_of(path: str, report: Mapping[str, Any], writers: Mapping[str, Any]) -> Coverage:
    """A report with whose it is.

    Args:
        path: of its file.
        writers: path -> `training_set` or `init`, and `arms`; without them the folder has the name
            of the training set.
    """
    if whose := writers.get(path):
        return Coverage(report, whose.get("training_set"), whose["arms"])
    return Coverage(report, path.rsplit("/", 2)[-2])


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
    of: Coverage
    text: str  # a test set, with its language for an init as it is; "" is the training text
    character: str
    times: int
    share: float | None


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
    """Characters and phones of the texts that an arm has no token for."""
    rows = [
        _Character(of, text, character, times, _share(found, times))
        for of in quality.coverage
        for text, found in _texts(of.report)
        for character, times in found["unwritable"].items()
    ]

    def name(row: _Character) -> str:
        # A phone may have several characters.
        names = [unicodedata.name(one, f"U+{ord(one):04X}").lower() for one in row.character]
        return " + ".join(names)

    def trained_on(row: _Character) -> str:
        known = row.of.training_set
        return display.training_set(known) if known is not None else "nothing: as it is"

    def text(row: _Character) -> str:
        lang, slash, test_set = row.text.rpartition("/")
        named = display.test_set(test_set) if row.text else "training text"
        return f"{named}, {display.language(lang)}" if slash else named

    fields = [
        column("Trained on", lambda row: text_cell(trained_on(row))),
        column(
            "Arms",
            lambda row: text_cell(", ".join(map(display.arm, row.of.arms)) or "all", wide=True),
        ),
        column("Text", lambda row: text_cell(text(row))),
        column("Character or phone", lambda row: text_cell(row.character)),
        column("Name", lambda row: text_cell(name(row), wide=True)),
        column("Times in the text", lambda row: number_cell(row.times, 0)),
        column("% of the text", lambda row: number_cell(100 * row.share, 3))
        if all(row.share is not None for row in rows)
        else None,
    ]
    return sheet("unwritable", [one for one in fields if one is not None], rows)


def _texts(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """(name, coverage) of the training text and of each test set."""
    trained = [("", report["train"])] if "train" in report else []
    return [*trained, *report["tests"].items()]


def _share(found: Mapping[str, Any], times: int) -> float | None:
    """Of the text; None in a report that does not count it."""
    return times / max(1, found["characters"]) if "characters" in found else None


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
