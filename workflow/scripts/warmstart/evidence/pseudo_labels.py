"""What rounds made of speech, as tables read it: a row for each cut that a model labelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from warmstart.data import text
from warmstart.evidence import row_files
from warmstart.evidence.scoring import align_counts
from warmstart.run import files

COLUMNS = {
    **{"training_set": "string", "arm": "string", "hours": "float64", "seed": "int64"},
    **{"round": "int32", "data": "string", "lang": "string", "id": "string", "block": "string"},
    **{"duration_s": "float64", "confidence": "float64", "reason": "string"},
    **{"words": "int32", "errors": "int32"},
}
"""Of results/runs/{run}/labels{round}/labels.parquet, with their types of Arrow. `reason` is why a
cut is not in the round, empty of one that is. `words` are of the cut's own text, and `errors` those
of the model against it, counted once the choice was made. `confidence` is empty where agreement
with the cut's text decided."""


@dataclass(frozen=True)
class Material:
    """What the rounds of a study left.

    Attributes:
        counts: of the models of earlier rounds, as `collected.read_scores` gives them.
        labels: of `COLUMNS`; None: no model chose anything.
    """

    counts: pd.DataFrame
    labels: pd.DataFrame | None


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of `COLUMNS`."""
    with row_files.writing(path, COLUMNS.items()) as written:
        written.add({name: [row[name] for row in rows] for name in COLUMNS})


def read(paths: Sequence[Path]) -> pd.DataFrame | None:
    """All of a study; None: no round labelled anything.

    Raises:
        Damaged: a file is not whole.
    """
    import pyarrow.parquet

    parts = []
    for path in paths:
        with files.reading(path):
            parts.append(
                pyarrow.parquet.read_table(path, page_checksum_verification=True).to_pandas()
            )
    return pd.concat(parts, ignore_index=True) if parts else None


def errors(
    references: Sequence[str], hypotheses: Sequence[str], settings: text.TextSettings
) -> list[tuple[int, int, float]]:
    """Of each pair of normalised texts the words of the first, the errors of the second, and its
    errors in characters for each character of the first. In scripts without spaces a character is
    a word.
    """
    if not references:
        return []
    spaced = [text.segmented(one, settings) for one in references]
    heard = [text.segmented(one, settings) for one in hypotheses]
    if not text.counts_characters(settings):
        spaced, heard = list(references), list(hypotheses)
    words, _, _ = align_counts(spaced, heard)
    _, _, characters = align_counts(list(references), list(hypotheses))

    def wrong(counts: dict[str, int]) -> int:
        return counts["substitutions"] + counts["deletions"] + counts["insertions"]

    return [
        (len(one.split()), wrong(counts), wrong(letters) / max(1, len(reference)))
        for one, counts, letters, reference in zip(
            spaced, words, characters, references, strict=True
        )
    ]
