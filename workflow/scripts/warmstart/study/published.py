"""How much speech there is before anything is downloaded; standard library only."""

import csv
import json
from functools import cache
from pathlib import Path
from typing import Any

_DATA = Path(__file__).resolve().parents[3] / "data"


def format_hours(hours: float) -> str:
    """A budget as it stands in paths: `100`, `0.02`; never an exponent, never trailing zeros."""
    return f"{hours:.6f}".rstrip("0").rstrip(".")


def replayed_hours(budget_hours: float, fraction: float) -> float:
    """Hours of another language that lie beside a budget when they are `fraction` of both
    together."""
    return budget_hours * fraction / (1 - fraction)


@cache
def published_hours() -> dict[tuple[str, str, str], float]:
    """(kind, split, lang) -> hours, as the publishers state them (workflow/data/README.md)."""
    with open(_DATA / "corpus_hours.tsv", encoding="utf-8", newline="") as stream:
        return {
            (row["kind"], row["split"], row["lang"]): float(row["hours"])
            for row in csv.DictReader(stream, delimiter="\t")
        }


def available_hours(settings: dict[str, Any], lang: str) -> float | None:
    """Hours of a corpus's training split in a language, before cleaning.

    Args:
        settings: the corpus block of the configuration.
        lang: ISO 639-1 code of the study.

    Returns:
        None where nobody can know before the data are read: somebody's own recordings without
            `hours`.
    """
    if settings["kind"] == "synthetic":
        return settings.get("hours", {}).get(settings["train_split"])
    if "hours" in settings:
        return settings["hours"].get(lang)
    return published_hours().get((settings["kind"], settings["train_split"], lang))


def table(name: str) -> list[dict[str, str]]:
    """Rows of a pinned table in workflow/data/."""
    with open(_DATA / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def licence(settings: dict[str, Any]) -> str | None:
    """Licence of a corpus with the source that it asks to name: what its block says, else what its
    publisher does.

    None: recordings whose licence nobody has stated.
    """
    if settings.get("licence"):
        return settings["licence"]
    row = next((row for row in table("licences.tsv") if row["kind"] == settings["kind"]), None)
    if row is None or row["licence"] == "yours":
        return None
    _, named, source = row["to_do"].partition("name the source: ")
    return f"{row['licence']} ({source})" if named else row["licence"]


def gigabytes(settings: dict[str, Any], code: str, lang: str) -> tuple[float | None, bool]:
    """Size of a corpus's download in one language, in GB (1e9 bytes), and whether the publisher
    states it.

    None: nothing is downloaded, or nobody knows. VoxPopuli counts as nothing here:
    `shared_gigabytes`.
    """
    kind = settings["kind"]
    if kind == "commonvoice":
        entry = json.loads((_DATA / "commonvoice-25.json").read_text(encoding="utf-8")).get(code)
        return (entry["size"] / 1e9, True) if entry else (None, False)
    for row in table("releases.tsv"):
        fits = row["lang"] in (lang, "each") and row["variant"] in (
            settings.get("format", "opus"),
            "hub",
        )
        if row["kind"] == kind and fits:
            return float(row["gigabytes"]), row["exact"] == "yes"
    return None, False


def shared_gigabytes(kind: str) -> tuple[float | None, bool]:
    """Size of what all languages of a corpus share."""
    for row in table("releases.tsv"):
        if row["kind"] == kind and row["lang"] == "all":
            return float(row["gigabytes"]), row["exact"] == "yes"
    return None, False
