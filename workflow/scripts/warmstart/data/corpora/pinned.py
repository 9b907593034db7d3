"""What publishers say of their releases, pinned in workflow/data/: hours, utterances and sizes,
known before anything is downloaded. Standard library only."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Hours = float

FOLDER = Path(__file__).resolve().parents[4] / "data"
"""Folder of the tables; its README says where each figure comes from."""


@dataclass(frozen=True)
class Size:
    """Size of a download.

    Attributes:
        gigabytes: of 1e9 bytes.
        stated: whether the publisher states it; False is an estimate.
    """

    gigabytes: float
    stated: bool


NOTHING = Size(0.0, True)


@dataclass(frozen=True)
class Count:
    """How many utterances a split has.

    Attributes:
        utterances: of all.
        blocks: what intervals resample, speakers or sentences; None: nobody states it.
    """

    utterances: int
    blocks: int | None = None


@cache
def published_hours() -> dict[tuple[str, str, str], Hours]:
    """(kind, split, language) -> hours, as the publishers state them."""
    return {
        (row["kind"], row["split"], row["lang"]): float(row["hours"])
        for row in _rows("corpus_hours.tsv")
    }


@cache
def published_counts() -> dict[tuple[str, str, str], Count]:
    """(kind, split, language) -> utterances and blocks, as they are stated; of blocks no more than
    utterances."""
    found = {}
    for row in _rows("test_sizes.tsv"):
        utterances = int(row["utterances"])
        blocks = min(int(row["blocks"]), utterances) if row["blocks"] else None
        found[row["kind"], row["split"], row["lang"]] = Count(utterances, blocks)
    return found


def release_size(kind: str, variant: str, lang: str) -> Size | None:
    """Size of a release, in the form `variant`, in a language; None where the table has none."""
    for row in _rows("releases.tsv"):
        if row["kind"] == kind and row["variant"] == variant and row["lang"] in (lang, "each"):
            return Size(float(row["gigabytes"]), row["exact"] == "yes")
    return None


@cache
def codes(kind: str) -> dict[str, str]:
    """Code of a release -> the language that it is of, by ISO 639; empty for a kind whose codes
    nobody lists."""
    return {row["code"]: row["lang"] for row in _rows("codes.tsv") if row["kind"] == kind}


def language_of_country(country: str) -> str | None:
    """The language that somebody means who writes a country's code for it (`cz`), as FLEURS pairs
    the two (`cs_cz`); None where no language is meant, or several."""
    found = {lang for code, lang in codes("fleurs").items() if code == f"{lang}_{country}"}
    return found.pop() if len(found) == 1 else None


@cache
def _rows(name: str) -> list[dict[str, str]]:
    with open(FOLDER / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
