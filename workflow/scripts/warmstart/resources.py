"""How much speech there is before anything is downloaded; standard library only."""

import csv
from functools import cache
from pathlib import Path
from typing import Any

_STATISTICS = Path(__file__).resolve().parents[2] / "data" / "corpus_hours.tsv"


def format_hours(hours: float) -> str:
    """A budget as it stands in paths: `100`, `0.02`; never an exponent, never trailing zeros."""
    return f"{hours:.6f}".rstrip("0").rstrip(".")


@cache
def published_hours() -> dict[tuple[str, str, str], float]:
    """(kind, split, lang) -> hours, as the publishers state them (workflow/data/README.md)."""
    with open(_STATISTICS, encoding="utf-8", newline="") as stream:
        return {(row["kind"], row["split"], row["lang"]): float(row["hours"]) for row in csv.DictReader(stream, delimiter="\t")}


def available_hours(settings: dict[str, Any], lang: str) -> float | None:
    """Hours of a corpus's training split in a language, before cleaning.

    Args:
        settings: the corpus block of the configuration.
        lang: ISO 639-1 code of the study.

    Returns:
        None where nobody can know before the data are read: somebody's own recordings without `hours`.
    """
    if settings["kind"] == "synthetic":
        return settings["hours"][settings["train_split"]]
    if "hours" in settings:
        return settings["hours"].get(lang)
    return published_hours().get((settings["kind"], settings["train_split"], lang))
